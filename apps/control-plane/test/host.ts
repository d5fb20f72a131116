/** A GPU host for tests: a real Wolf emulator on a Unix socket, and a tunnel that serves it as an agent does, in this process. */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { agentNoticeTypes } from "@wolfpack/api-contract";
import { parseEventStream } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator, type WolfEmulatorOptions } from "@wolfpack/wolf-api/emulator";
import {
  dialTunnel,
  type IncomingRequest,
  type OutgoingResponse,
  type Reply,
  type RequestHandler,
  type Tunnel,
} from "revdial";
import { RUNNER_TOKEN, type TestControlPlane } from "./control-plane.ts";
import { whenThereIsRoom } from "./tunnel-requests.ts";

export interface TestHost {
  name: string;
  wolfId: string;
  wolf: WolfEmulator;
  tunnel: Tunnel;
  /** Dials again, also while the tunnel of before is up: the control plane ends that one. */
  dial(transport?: "websocket" | "http"): Promise<void>;
  /** Answers the screen service in the sandbox's place. */
  screen: RequestHandler | undefined;
  /** Answers in Wolf's place. */
  lobbies: RequestHandler | undefined;
  stop(): Promise<void>;
}

export interface TestHostOptions extends Partial<WolfEmulatorOptions> {
  name: string;
  gpuType?: "nvidia" | "amd" | "none";
  maxSandboxes?: number;
  /** What carries the first tunnel. Default "websocket". */
  transport?: "websocket" | "http";
}

export async function startHost(
  plane: TestControlPlane,
  {
    name,
    gpuType = "nvidia",
    maxSandboxes = 4,
    transport: first = "websocket",
    ...wolfOptions
  }: TestHostOptions,
): Promise<TestHost> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "wh-"));
  const socketPath = path.join(folder, "wolf.sock");
  const wolf = await startWolfEmulator({
    listen: { unixSocket: socketPath },
    stateFolder: folder,
    containerStartDelayMs: 5,
    ...wolfOptions,
  });
  const authorization = `Bearer ${RUNNER_TOKEN}`;
  const registered = await fetch(`${plane.url}/api/v1/wolf-instances/register`, {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ name, gpu_type: gpuType, max_sandboxes: maxSandboxes }),
  });
  const { id } = (await registered.json()) as { id: string };
  let events: Socket | undefined;

  const host: TestHost = {
    name,
    wolfId: id,
    wolf,
    tunnel: undefined as unknown as Tunnel,
    screen: undefined,
    lobbies: undefined,
    async dial(transport = "websocket") {
      const url = `${plane.url.replace("http", "ws")}/api/v1/revdial?runnerid=wolf-${name}`;
      const tunnel = await whenThereIsRoom(() => dialTunnel(url, { headers: { authorization }, transport }));
      tunnel.serve((request, reply) => {
        if (request.service !== "wolf") return screenOf(request, reply);
        return host.lobbies ? host.lobbies(request, reply) : forward(socketPath, request.path, request);
      });
      host.tunnel = tunnel;
      events ??= subscribe(socketPath, (notice) =>
        host.tunnel.notify(agentNoticeTypes.wolfEvent, Buffer.from(JSON.stringify(notice))),
      );
      await untilConnected(plane, id, tunnel);
    },
    async stop() {
      host.tunnel.destroy();
      await host.tunnel.closed;
      events?.destroy();
      await wolf.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };

  function screenOf(request: IncomingRequest, reply: Reply): ReturnType<RequestHandler> {
    if (host.screen) return host.screen(request, reply);
    const [, session = "", what = ""] = request.path.split("/");
    return forward(path.join(folder, "wolfpack", session, "screen.sock"), `/${what}`, request);
  }

  await host.dial(first);
  return host;
}

/** The registry sees a tunnel a moment after both ends are ready, and sessions come once its Wolf was asked what it runs. */
async function untilConnected(plane: TestControlPlane, wolfId: string, tunnel: Tunnel): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    const wolf = (await (
      await fetch(`${plane.url}/api/v1/wolf-instances/${wolfId}`, {
        headers: { authorization: `Bearer ${plane.adminKey}` },
      })
    ).json()) as {
      tunnel: { epoch: number; rtt_ms: number | null } | null;
      reconciled: boolean;
    };
    if (wolf.reconciled || tunnel.draining) return;
    // A Wolf that answers nothing is never compared.
    if (wolf.tunnel !== null && tries > 100) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error("the tunnel never showed up");
}

function forward(socketPath: string, target: string, incoming: IncomingRequest): Promise<OutgoingResponse> {
  return new Promise((resolve, reject) => {
    void (async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of incoming.body) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const request = httpRequest(
        {
          socketPath,
          method: incoming.method,
          path: target,
          agent: false,
          headers: { "content-length": body.length },
          signal: incoming.signal,
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on("data", (part: Buffer) => parts.push(part));
          response.on("error", reject);
          response.on("end", () =>
            response.complete
              ? resolve({
                  status: response.statusCode ?? 500,
                  headers: [["content-type", response.headers["content-type"] ?? "application/json"]],
                  body: Buffer.concat(parts),
                })
              : reject(new Error("cut off")),
          );
        },
      );
      request.on("error", reject);
      request.end(body);
    })().catch(reject);
  });
}

function subscribe(socketPath: string, notify: (notice: object) => void): Socket {
  const socket = connect(socketPath);
  socket.on("error", () => socket.destroy());
  socket.write("GET /api/v1/events HTTP/1.0\r\n\r\n");
  let seq = 0;
  void (async () => {
    for await (const item of parseEventStream(socket as AsyncIterable<Uint8Array>)) {
      seq += 1;
      if ("event" in item) notify({ seq, event: item.event, data: JSON.parse(item.data) as object });
    }
  })().catch(() => undefined);
  return socket;
}

/** Asks until the answer is the wanted one; real processes and sockets give no event for it. */
export async function eventually<T>(ask: () => Promise<T> | T, wanted: (value: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 2000; tries += 1) {
    const value = await ask();
    if (wanted(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("waited in vain");
}
