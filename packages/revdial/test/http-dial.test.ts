/** The dialling side over HTTP when POSTs fail: what is sent again, over which connection, and when it goes on over HTTP at all. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WebSocketServer } from "ws";
import {
  createHttpAcceptor,
  dialTunnel,
  type HttpAcceptor,
  type Tunnel,
  webSocketServerOptions,
} from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { httpGateway } from "./http-gateway.ts";
import { failure, get, signal, until } from "./support.ts";

let server: Server;
let url: string;
let acceptor: HttpAcceptor;
let accepted: Tunnel;
/** Answers a POST in the acceptor's place when it returns true. */
let instead: (request: IncomingMessage, response: ServerResponse) => boolean;

beforeEach(async () => {
  acceptor = createHttpAcceptor();
  instead = () => false;
  server = createServer((request, response) => {
    if (acceptor.kindOf(request) === "open") accepted = acceptor.open(request, response) as Tunnel;
    else if (!instead(request, response)) acceptor.receive(request, response);
  });
  url = await listen(server);
});

afterEach(async () => {
  acceptor.close();
  await stopServer(server);
});

const answers = (asked: Tunnel) => asked.serve(() => ({ status: 204 }));

describe("a POST of a dialler over HTTP", () => {
  it.each([408, 500, 502, 503, 504])(
    "that an intermediary answered with %i is sent again, over another connection, and taken once",
    async (status) => {
      const dialled = await dialTunnel(url, { transport: "http" });
      await dialled.reached;
      const used: Socket[] = [];
      instead = (request, response) => {
        used.push(request.socket);
        if (used.length > 1) return false;
        request.resume();
        response.writeHead(status).end("lost my way");
        return true;
      };
      answers(accepted);
      expect((await dialled.request(get("/"))).status).toBe(204);
      expect(accepted.metrics.openedInbound).toBe(1);
      expect(used[1]).not.toBe(used[0]);
      dialled.destroy();
      await accepted.closed;
    },
  );

  it("that is not answered within 10 s is sent again, over another connection", async () => {
    const clock = new ManualClock();
    const dialled = await dialTunnel(url, { transport: "http", clock });
    await clock.advance(0);
    await dialled.reached;
    answers(accepted);
    const used: Socket[] = [];
    const first = signal();
    instead = (request) => {
      used.push(request.socket);
      if (used.length > 1) return false;
      request.resume();
      first.give();
      return true;
    };
    const asked = dialled.request(get("/"));
    await first.seen;
    const before = clock.now();
    await clock.advance(9999);
    expect(used).toHaveLength(1);
    await clock.advance(1);
    expect((await asked).status).toBe(204);
    expect(clock.now()).toBe(before + 10_000);
    expect(used[1]).not.toBe(used[0]);
    expect(used[0]?.destroyed).toBe(true);
    dialled.destroy();
    await accepted.closed;
    await until(() => clock.pending === 0);
  });
});

describe("an acceptor that is closed", () => {
  it("ends its tunnels and takes no more: who dials is told to come back", async () => {
    const dialled = await dialTunnel(url, { transport: "http" });
    acceptor.close();
    expect((await dialled.closed).code).toBe("TRANSPORT_LOST");
    const error = await failure(dialTunnel(url, { transport: "http" }));
    expect(error).toMatchObject({ code: "DIAL_REFUSED", status: 503, retryAfterMs: 5000 });
  });
});

describe('dialling with "auto"', () => {
  it("goes on over HTTP when the WebSocket is cut after its upgrade", async () => {
    const gateway = await httpGateway();
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    gateway.server.removeAllListeners("upgrade");
    gateway.server.on("upgrade", (request, socket, head) =>
      upgrades.handleUpgrade(request, socket, head, (webSocket) => webSocket.terminate()),
    );
    const reasons: string[] = [];
    const onFallback = ({ code }: { code: string }) => void reasons.push(code);
    const dialled = await dialTunnel(gateway.url, { transport: "auto", onFallback });
    expect([dialled.transport, reasons]).toEqual(["http", ["TRANSPORT_LOST"]]);
    dialled.destroy();
    await dialled.closed;
    await gateway.stop();
  });
});

describe("a dialler over a WebSocket", () => {
  it("does not take a message above its messageBytesMax off the socket", async () => {
    const gateway = await httpGateway();
    const upgrades = new WebSocketServer({ ...webSocketServerOptions, noServer: true });
    gateway.server.removeAllListeners("upgrade");
    gateway.server.on("upgrade", (request, socket, head) =>
      upgrades.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on("error", () => undefined);
        webSocket.send(Buffer.alloc(1024 * 1024 + 1));
      }),
    );
    const error = await failure(dialTunnel(gateway.url));
    expect(error.message).toMatch(/^TRANSPORT_LOST: .*max payload/i);
    await gateway.stop();
  });
});
