/** What a doctor needs of a control plane: readiness, version, a credential's owner, tunnels that serve echo. */
import { once } from "node:events";
import { createServer as createHttp, type RequestListener } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { acceptTunnel, createHttpAcceptor, type Tunnel, webSocketServerOptions } from "revdial";
import type { MadeCertificate } from "revdial/testing";
import { WebSocketServer } from "ws";
import type { AgentKeys } from "./agent-keys.ts";
import { TOKEN } from "./control-plane.ts";

export interface DoctorPlane {
  url: string;
  ready: boolean;
  version: string;
  /** How many tunnels are open. */
  readonly tunnels: number;
  /** Runner ids that opened a tunnel. */
  runnerIds: string[];
  stop(): Promise<void>;
}

/** With `keys` only a proof opens a tunnel. */
export async function doctorPlane(certificate?: MadeCertificate, keys?: AgentKeys): Promise<DoctorPlane> {
  const open = new Set<Tunnel>();
  const acceptor = createHttpAcceptor();
  const silent = { pingIntervalMs: 600_000, deadAfterMs: 600_000, agent: "wolfpack-control-plane/0.1.0" };
  const accept = (url: string | undefined, tunnel: Tunnel) => {
    plane.runnerIds.push(new URL(url ?? "", "http://x").searchParams.get("runnerid") ?? "");
    open.add(tunnel);
    void tunnel.closed.then(() => open.delete(tunnel));
    tunnel.serve(async ({ body }) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      return { status: 200, body: Buffer.concat(chunks) };
    });
  };
  const answer: RequestListener = (request, response) => {
    const kind = acceptor.kindOf(request);
    if (kind === "post") return acceptor.receive(request, response);
    const known = request.method === "POST" ? keys?.answer(request, "") : undefined;
    if (known) return void response.writeHead(known.status).end(JSON.stringify(known.json));
    if (kind === "open") {
      const refusal = keys?.refuse(request);
      if (refusal) return void response.writeHead(refusal.status).end(JSON.stringify(refusal.json));
      const tunnel = acceptor.open(request, response, silent);
      if (tunnel) accept(request.url, tunnel);
      return;
    }
    if (request.url === "/readyz" && plane.ready) response.end('{"status":"ok"}');
    else if (request.url === "/healthz") response.end(`{"status":"ok","version":"${plane.version}"}`);
    else if (request.url === "/api/v1/me") {
      const { authorization } = request.headers;
      response.writeHead(
        authorization === `Bearer ${TOKEN}` ? 403 : authorization === "Bearer key-of-ann" ? 200 : 401,
      );
      response.end("{}");
    } else response.writeHead(503).end(`\u001b[31mnot here ${TOKEN}`);
  };
  const server = certificate === undefined ? createHttp(answer) : createHttps(certificate, answer);
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => undefined);
    const refusal = keys?.refuse(request);
    if (refusal) {
      const body = JSON.stringify(refusal.json);
      return void socket.end(
        `HTTP/1.1 ${refusal.status} No\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    }
    upgrades.handleUpgrade(request, socket, head, (webSocket) =>
      accept(request.url, acceptTunnel(webSocket, silent)),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const scheme = certificate === undefined ? "http" : "https";
  const plane: DoctorPlane = {
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ready: true,
    version: "0.1.0",
    get tunnels() {
      return open.size;
    },
    runnerIds: [],
    async stop() {
      for (const tunnel of open) tunnel.destroy();
      acceptor.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return plane;
}
