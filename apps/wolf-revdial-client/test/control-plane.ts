/** What an agent needs of a control plane, in this process: registration, tunnels both ways, notices, and ways to refuse. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { acceptTunnel, createHttpAcceptor, type Tunnel, webSocketServerOptions } from "revdial";
import { type WebSocket, WebSocketServer } from "ws";
import type { AgentKeys, Answer } from "./agent-keys.ts";

export interface Refusal {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

export interface FakeControlPlane {
  url: string;
  /** Bodies of registrations so far. */
  registrations: Record<string, unknown>[];
  notices: { type: string; json: Record<string, unknown> }[];
  /** Answer registrations with this status instead. */
  refuseRegistration: number | undefined;
  /** Header fields of a refused registration. */
  refusalHeaders: Record<string, string>;
  /** Answer upgrades with this status instead. */
  refuseUpgrade: Refusal | undefined;
  /** Answer open requests over HTTP with this status instead. */
  refuseOpen: Refusal | undefined;
  /** Done before an upgrade is answered. */
  beforeUpgrade: (() => Promise<unknown>) | undefined;
  /** Upgrades so far, refused ones too. */
  upgrades: number;
  /** Keys of tunnels over HTTP so far. */
  keys: Set<string>;
  /** Takes the next WebSockets instead of a tunnel. */
  hostile: ((webSocket: WebSocket) => void) | undefined;
  /** Every tunnel that came up. */
  tunnels: Tunnel[];
  /** The next tunnel that comes up. */
  nextTunnel(): Promise<Tunnel>;
  /** The first notice, from now or before, that fits. */
  notice(fits: (type: string, json: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  stop(): Promise<void>;
}

export const TOKEN = "the-runner-token-of-these-tests";

/** Without `keys` it is one of before agents had any. */
export async function fakeControlPlane(port = 0, keys?: AgentKeys): Promise<FakeControlPlane> {
  const tunnels: Tunnel[] = [];
  const waiting: ((tunnel: Tunnel) => void)[] = [];
  const watchers = new Set<() => void>();
  const authorised = (request: IncomingMessage) => request.headers.authorization === `Bearer ${TOKEN}`;
  const refused = (request: IncomingMessage): Refusal | undefined => {
    if (keys === undefined) return authorised(request) ? undefined : { status: 401 };
    const answer = keys.refuse(request);
    return answer && { status: answer.status, body: JSON.stringify(answer.json) };
  };
  const plane: FakeControlPlane = {
    url: "",
    registrations: [],
    notices: [],
    refuseRegistration: undefined,
    refusalHeaders: {},
    refuseUpgrade: undefined,
    refuseOpen: undefined,
    beforeUpgrade: undefined,
    upgrades: 0,
    keys: new Set(),
    hostile: undefined,
    tunnels: [],
    nextTunnel: () =>
      new Promise((resolve) => {
        const ready = tunnels.shift();
        if (ready) resolve(ready);
        else waiting.push(resolve);
      }),
    notice: (fits) =>
      new Promise((resolve) => {
        const look = () => {
          const found = plane.notices.find(({ type, json }) => fits(type, json));
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found.json);
        };
        watchers.add(look);
        look();
      }),
    async stop() {
      for (const tunnel of live) tunnel.destroy();
      acceptor.close();
      for (const webSocket of hostileSockets) webSocket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const live = new Set<Tunnel>();
  const hostileSockets = new Set<WebSocket>();
  const acceptor = createHttpAcceptor();
  const accepted = (tunnel: Tunnel) => {
    live.add(tunnel);
    if (keys !== undefined) tunnel.serve(keys.service(keys.admitted.at(-1)?.keyId));
    tunnel.onNotice((type, payload) => {
      plane.notices.push({
        type,
        json: JSON.parse(Buffer.from(payload).toString()) as Record<string, unknown>,
      });
      for (const look of [...watchers]) look();
    });
    tunnel.ready.then(
      () => {
        plane.tunnels.push(tunnel);
        const next = waiting.shift();
        if (next) next(tunnel);
        else tunnels.push(tunnel);
      },
      () => undefined,
    );
  };
  const open = (request: IncomingMessage, response: ServerResponse) => {
    const refusal = refused(request) ?? plane.refuseOpen;
    if (refusal) return void response.writeHead(refusal.status, refusal.headers).end(refusal.body);
    const tunnel = acceptor.open(request, response);
    if (tunnel) accepted(tunnel);
  };
  const server = createServer(async (request, response) => {
    const kind = acceptor.kindOf(request);
    if (kind === "open") return open(request, response);
    if (kind === "post") {
      plane.keys.add(String(request.headers["revdial-tunnel"]));
      return acceptor.receive(request, response);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const answer = answerOf(request, Buffer.concat(chunks).toString(), keys);
    if (answer !== undefined) {
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
      return void response.end(JSON.stringify(answer.json));
    }
    const status = authorised(request) ? (plane.refuseRegistration ?? 200) : 401;
    if (status !== 200) {
      const code = status === 401 ? "unauthenticated" : status === 403 ? "forbidden" : "internal";
      response.writeHead(status, {
        "content-type": "application/problem+json",
        ...plane.refusalHeaders,
      });
      response.end(
        JSON.stringify({
          type: `/problems/${code}`,
          title: code,
          status,
          detail: "Refused.",
          instance: "r",
          code,
        }),
      );
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
    plane.registrations.push(body);
    const now = new Date().toISOString();
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      JSON.stringify({
        ...body,
        id: "wlf_00000000000000000000000000",
        status: "online",
        connectivity: "connected",
        health: "ok",
        health_reasons: [],
        host: null,
        usage: null,
        wolf_restarts: 0,
        intent: "active",
        connected_sandboxes: 0,
        last_heartbeat: now,
        region: null,
        cost_per_hour: null,
        tunnel: null,
        created_at: now,
        updated_at: now,
      }),
    );
  });
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", async (request, socket, head) => {
    socket.on("error", () => undefined);
    plane.upgrades += 1;
    const refusal = refused(request) ?? plane.refuseUpgrade;
    if (refusal) {
      const headers = Object.entries(refusal.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(
        `HTTP/1.1 ${refusal.status} No\r\n${headers.join("")}content-length: ${Buffer.byteLength(refusal.body ?? "")}\r\nconnection: close\r\n\r\n${refusal.body ?? ""}`,
      );
      return;
    }
    await plane.beforeUpgrade?.();
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      if (plane.hostile) {
        hostileSockets.add(webSocket);
        return plane.hostile(webSocket);
      }
      accepted(acceptTunnel(webSocket));
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  plane.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return plane;
}

function answerOf(request: IncomingMessage, body: string, keys: AgentKeys | undefined): Answer | undefined {
  if (keys !== undefined) return keys.answer(request, body);
  if (!request.url?.startsWith("/api/v1/agents/")) return undefined;
  const json = { type: "/problems/not-found", title: "Not found", status: 404, detail: "No such route." };
  return { status: 404, json: { ...json, instance: "r", code: "not-found" } };
}
