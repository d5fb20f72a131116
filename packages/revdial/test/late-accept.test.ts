/** A WebSocket that is accepted some time after its upgrade, as when somebody is asked first. */
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import { acceptTunnel, REVDIAL_SUBPROTOCOL, type Tunnel, webSocketServerOptions } from "../src/index.ts";
import { hello, open, write } from "./cores.ts";
import { listen, stopServer } from "./gateway.ts";
import { FIN, opcodes, rawWebSocket, webSocketFrame } from "./raw-websocket.ts";
import { signal } from "./support.ts";

let server: Server;
let url: string;
let upgraded: ReturnType<typeof signal<WebSocket>>;
let tunnel: Tunnel | undefined;

beforeEach(async () => {
  server = createServer();
  upgraded = signal();
  tunnel = undefined;
  const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
  server.on("upgrade", (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (webSocket) => upgraded.give(webSocket)),
  );
  url = await listen(server);
});

afterEach(async () => {
  tunnel?.destroy();
  await tunnel?.closed;
  (await upgraded.seen).terminate();
  await stopServer(server);
});

describe("a WebSocket of a server with our options", () => {
  it("loses nothing of what its peer says before it is accepted", async () => {
    const early = webSocketFrame(FIN | opcodes.binary, write(hello, open(1, { end: true, path: "/early" })));
    const raw = await rawWebSocket(url, [], early);
    expect(raw.answer).toMatch(/^HTTP\/1.1 101 /);
    raw.socket.write(webSocketFrame(FIN | opcodes.binary, write(open(3, { end: true, path: "/later" }))));
    const paths: string[] = [];
    const both = signal();
    tunnel = acceptTunnel(await upgraded.seen);
    tunnel.serve(({ path }) => {
      if (paths.push(path) === 2) both.give();
      return { status: 204 };
    });
    await tunnel.ready;
    await both.seen;
    expect(paths).toEqual(["/early", "/later"]);
  });

  it("gives its first message to whoever listens to it first", async () => {
    await rawWebSocket(url, [], webSocketFrame(FIN | opcodes.text, Buffer.from("hello")));
    const heard = signal<string>();
    (await upgraded.seen).on("message", (message) => heard.give(String(message)));
    expect(await heard.seen).toBe("hello");
  });

  it("ends in order when it is closed instead", async () => {
    const client = new WebSocket(url, REVDIAL_SUBPROTOCOL);
    const codes = Promise.all(
      [client, await upgraded.seen].map((side) => new Promise((resolve) => side.once("close", resolve))),
    );
    (await upgraded.seen).close(4001);
    expect(await codes).toEqual([4001, 4001]);
  });

  it("ends at once when it is cut instead", async () => {
    const raw = await rawWebSocket(url);
    (await upgraded.seen).terminate();
    expect(await raw.closed).toBeUndefined();
  });

  it("that its peer has left before is a tunnel that has ended", async () => {
    const raw = await rawWebSocket(url);
    const webSocket = await upgraded.seen;
    raw.socket.destroy();
    await raw.closed;
    tunnel = acceptTunnel(webSocket);
    expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
  });
});
