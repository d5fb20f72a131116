/** Dialling a server whose certificate nobody has vouched for: over either transport it is refused, unless the caller says otherwise. */
import { createServer, type Server } from "node:https";
import { afterEach, describe, expect, it } from "@jest/globals";
import { WebSocketServer } from "ws";
import {
  acceptTunnel,
  createHttpAcceptor,
  dialTunnel,
  type Tunnel,
  webSocketServerOptions,
} from "../src/index.ts";
import { makeCertificate } from "../src/testing/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { failure } from "./support.ts";

const valid = { from: new Date("2000-01-01"), to: new Date("2049-12-31") };
const own = makeCertificate({ ...valid, ip: "127.0.0.1" });
const other = makeCertificate({ ...valid, ip: "127.0.0.1" });
const elsewhere = makeCertificate({ ...valid, ip: "192.0.2.1" });

let server: Server | undefined;
const accepted: (Tunnel | undefined)[] = [];

afterEach(async () => {
  for (const tunnel of accepted.splice(0)) {
    tunnel?.destroy();
    await tunnel?.closed;
  }
  if (server) await stopServer(server);
  server = undefined;
});

async function secure(certificate: { cert: string; key: string }): Promise<string> {
  const acceptor = createHttpAcceptor();
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server = createServer(certificate, (request, response) => {
    if (acceptor.kindOf(request) === "open") accepted.push(acceptor.open(request, response));
    else acceptor.receive(request, response);
  });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => accepted.push(acceptTunnel(webSocket))),
  );
  return (await listen(server)).replace("ws:", "wss:");
}

describe.each(["websocket", "http", "auto"] as const)("dialling by TLS over %s", (transport) => {
  it.each([
    ["that no authority has signed", own, {}, "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["that another one than the given has signed", own, { ca: other.cert }, "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["of another host", elsewhere, { ca: elsewhere.cert }, "ERR_TLS_CERT_ALTNAME_INVALID"],
  ])("refuses a certificate %s, and sends nothing", async (_what, certificate, options, code) => {
    const url = await secure(certificate);
    const headers = { authorization: "Bearer secret" };
    const error = await failure(dialTunnel(url, { transport, headers, ...options }));
    expect(error).toMatchObject({ code: "DIAL_FAILED", cause: { code } });
    expect(accepted).toEqual([]);
  });

  it.each([
    ["the one it was given", own, { ca: own.cert }],
    ["one of several it was given", own, { ca: `# ours\n${other.cert}${own.cert}` }],
    ["any, when it is told to", elsewhere, { insecure: true }],
  ])("takes %s, both ways", async (_what, certificate, options) => {
    const tunnel = await dialTunnel(await secure(certificate), { transport, ...options });
    await tunnel.reached;
    expect(tunnel.transport).toBe(transport === "http" ? "http" : "websocket");
    tunnel.destroy();
    await tunnel.closed;
  });
});
