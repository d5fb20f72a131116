/** What a program may give an exchange, what it shows, and control over a bare byte stream. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { inspect } from "node:util";
import { describe, expect, it } from "@jest/globals";
import { WebSocket, WebSocketServer } from "ws";
import { createHelixExchange, type HelixExchange, helixWebSocketServerOptions } from "../src/helix/index.ts";
import type { Tunnel } from "../src/index.ts";
import { ManualClock, memoryTransportPair } from "../src/testing/index.ts";
import { afterwards, ask, pickUp, type RawPeer, rawControl } from "./helix-support.ts";
import { RawClient } from "./raw-http.ts";
import { failure, get, until } from "./support.ts";

const thrown = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
};
const ARGUMENT = { code: "ARGUMENT" };

/** One WebSocket that a server with its options has accepted. */
async function accepted(): Promise<WebSocket> {
  const server = new WebSocketServer({ ...helixWebSocketServerOptions, port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = new WebSocket(`ws://127.0.0.1:${port}`, ["revdial.v3", "other"]);
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [WebSocket];
  afterwards(() => {
    client.terminate();
    socket.terminate();
    server.close();
  });
  return socket;
}

describe("an exchange", () => {
  it.each([
    ["no object", null],
    ["a keepAliveMs of 0", { keepAliveMs: 0 }],
    ["a pingMs that is no number", { pingMs: "10" }],
    ["a readTimeoutMs without end", { readTimeoutMs: Number.POSITIVE_INFINITY }],
    ["no pick-ups at all", { pickupsInFlightMax: 0 }],
    ["half a connection", { connectionsMax: 0.5 }],
    ["a negative pickupTimeoutMs", { pickupTimeoutMs: -1 }],
    ["a clock that is none", { clock: {} }],
    ["dice that are none", { randomBytes: 4 }],
  ])("does not take %s", (_what, options) => {
    expect(thrown(() => createHelixExchange(options as never))).toMatchObject(ARGUMENT);
  });

  it.each([
    ["no options", undefined],
    ["no credential", {}],
    ["a credential that is no text", { credential: 1 }],
    ["a stand-in that is no function", { credential: "", standIn: {} }],
    ["a stand-in that makes no handler", { credential: "", standIn: () => undefined }],
    ["an onFault that is no function", { credential: "", onFault: "log" }],
    ["idle connections below none", { credential: "", idleConnectionsMax: -1 }],
    ["limits that do not fit", { credential: "", limits: { channelsMax: 0 } }],
    ["an agent's name that is none", { credential: "", agent: 7 }],
  ])("accepts nothing with %s, and starts nothing", async (_what, options) => {
    const clock = new ManualClock();
    const exchange = createHelixExchange({ clock });
    const socket = await accepted();
    expect(thrown(() => exchange.accept(socket, options as never))).toMatchObject(ARGUMENT);
    expect(exchange.dialers).toBe(0);
    await until(() => clock.pending === 0);
    const tunnel = exchange.accept(socket, { credential: "" });
    tunnel.destroy();
    await tunnel.closed;
  });

  it("accepts nothing but WebSockets and streams, and neither twice", async () => {
    const exchange = createHelixExchange();
    const options = { credential: "" };
    const { left } = memoryTransportPair();
    for (const wrong of [undefined, null, {}, left])
      for (const how of ["accept", "acceptStream"] as const)
        expect(thrown(() => exchange[how](wrong as never, options))).toMatchObject(ARGUMENT);
    const socket = await accepted();
    const tunnel = exchange.accept(socket, options);
    expect(thrown(() => exchange.accept(socket, options))).toMatchObject(ARGUMENT);
    expect(exchange.dialers).toBe(1);
    tunnel.destroy();
    await tunnel.closed;
  });

  it("chooses no subprotocol, whatever a client offers", async () => {
    expect((await accepted()).protocol).toBe("");
  });

  it("ends a tunnel whose WebSocket is closed already", async () => {
    const exchange = createHelixExchange();
    const socket = await accepted();
    socket.terminate();
    await once(socket, "close");
    const tunnel = exchange.accept(socket, { credential: "" });
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(exchange.dialers).toBe(0);
  });

  it("shows no credential and no id, neither as text nor as JSON", async () => {
    const { gateway, control, tunnel } = await rawControl();
    tunnel.request(get("/")).catch(() => undefined);
    await until(() => control.connPaths.length === 1);
    const shown = [gateway.exchange, tunnel]
      .map((one) => inspect(one, { depth: 9 }) + JSON.stringify(one))
      .join();
    const ids = control.connPaths[0]?.match(/[0-9a-f]{16,}/g) ?? [];
    expect(ids).toHaveLength(2);
    for (const secret of ["secret", ...ids]) expect(shown).not.toContain(secret);
    expect(JSON.parse(JSON.stringify(gateway.exchange))).toEqual({ pending: 1, connections: 0, dialers: 1 });
  });

  it("makes ids of what it is given", async () => {
    const { control, tunnel } = await rawControl({ randomBytes: (size) => Buffer.alloc(size, size) });
    tunnel.request(get("/")).catch(() => undefined);
    await until(() => control.connPaths.length === 1);
    expect(control.connPaths[0]).toBe(
      `/revdial?revdial.dialer=${"10".repeat(16)}&revdial.req=${"08".repeat(8)}`,
    );
  });

  it("survives an onFault that throws, and reports it", async () => {
    const { control, tunnel, gateway } = await rawControl({
      accept: {
        onFault() {
          throw new Error("no log today");
        },
      },
    });
    control.send(0x82, "\n");
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(gateway.failures).toEqual([new Error("no log today")]);
  });

  it("fails a request whose data connection is closed before its first use as not sent", async () => {
    const made = await rawControl({ unchecked: true });
    const asking = failure(made.tunnel.request(get("/")));
    await until(() => made.control.connPaths.length === 1);
    const { exchange } = made.gateway;
    const socket = await accepted();
    socket.terminate();
    await once(socket, "close");
    const query = new URLSearchParams(made.control.connPaths[0]?.split("?")[1]);
    exchange.pickUp(query.get("revdial.dialer") ?? "", query.get("revdial.req") ?? "", socket);
    expect(await asking).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(exchange).toMatchObject({ pending: 0, connections: 0 });
  });
});

/** Hands over a WebSocket for the dial that this client was told of first. */
async function pickUpOf(exchange: HelixExchange, client: RawClient): Promise<void> {
  const { connPath } = JSON.parse(client.heard.split("\n").find((line) => line.includes("req")) ?? "");
  const query = new URLSearchParams(connPath.split("?")[1]);
  const socket = await accepted();
  exchange.pickUp(query.get("revdial.dialer") ?? "", query.get("revdial.req") ?? "", socket);
}

describe("control over a byte stream", () => {
  async function streamed() {
    const clock = new ManualClock();
    const exchange = createHelixExchange({ clock });
    const faults: string[] = [];
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = new RawClient((server.address() as { port: number }).port);
    const [socket] = (await once(server, "connection")) as [Socket];
    const tunnel: Tunnel = exchange.acceptStream(socket, {
      credential: "secret",
      onFault: ({ code }) => faults.push(code),
    });
    afterwards(async () => {
      tunnel.destroy();
      client.socket.destroy();
      server.close();
      await tunnel.closed;
    });
    await tunnel.ready;
    await clock.advance(0);
    await tunnel.reached;
    return { clock, exchange, faults, client, socket, tunnel };
  }

  it("says lines and nothing else, and is reached at once", async () => {
    const { client, tunnel, clock, exchange } = await streamed();
    expect(tunnel).toMatchObject({ transport: "helix-stream", peer: { agent: "helix" } });
    await client.until(/\n/);
    tunnel.request(get("/")).catch(() => undefined);
    await client.until(/req/);
    await clock.advance(17_000);
    await client.until(/keep-alive.*\n.*\n.*keep-alive/);
    expect(client.heard.split("\n").map((line) => (line === "" ? "" : JSON.parse(line).command))).toEqual([
      "keep-alive",
      "conn-ready",
      "keep-alive",
      "",
    ]);
    expect(exchange.dialers).toBe(1);
  });

  it("reads lines, and fails what they say has failed", async () => {
    const { client, tunnel, faults } = await streamed();
    const asking = failure(tunnel.request(get("/")));
    await client.until(/req/);
    const { connPath } = JSON.parse(client.heard.split("\n")[1] ?? "");
    client.say(`${JSON.stringify({ command: "pickup-failed", connPath, err: "no" })}\n`);
    expect(await asking).toMatchObject({ sent: "not-sent" });
    expect(faults).toEqual(["pickup-failed"]);
  });

  it("is not dead because it is silent, for nobody asks it anything", async () => {
    const { tunnel, clock } = await streamed();
    await clock.advance(600_000);
    expect(tunnel.draining).toBe(false);
  });

  it("is dead when it takes nothing any more", async () => {
    const { tunnel, clock, socket, client } = await streamed();
    client.socket.pause();
    // What the kernel holds is no sign: then more is written than it takes.
    while (socket.writableLength === 0) socket.write(Buffer.alloc(2 ** 20, " "));
    await clock.advance(17_000);
    expect(tunnel.draining).toBe(false);
    await clock.advance(17_000);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST", reason: /takes nothing/ });
    expect(clock.pending).toBe(0);
  });

  it("is dead when it has answered neither of two dials, one after the other, though it seems to take all", async () => {
    const { tunnel, clock, faults, exchange } = await streamed();
    const first = Array.from({ length: 5 }, () => failure(tunnel.request(get("/"))));
    await until(() => exchange.pending === 5);
    await clock.advance(20_000);
    await Promise.all(first);
    // However many at once: they may have been one standstill of the network.
    expect(tunnel.draining).toBe(false);
    const second = failure(tunnel.request(get("/")));
    await until(() => exchange.pending === 1);
    await clock.advance(19_999);
    expect(tunnel.draining).toBe(false);
    await clock.advance(1);
    expect(await second).toMatchObject({ sent: "not-sent" });
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST", reason: /answers no dial/ });
    expect(faults).toEqual(Array(6).fill("pickup-timeout"));
    expect(exchange.dialers).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("is dead then also when those who asked did not wait for so long", async () => {
    const { tunnel, clock, exchange } = await streamed();
    for (let round = 0; round < 2; round += 1) {
      const abort = new AbortController();
      const asked = failure(tunnel.request({ ...get("/"), signal: abort.signal }));
      await until(() => exchange.pending === 1);
      await clock.advance(1000);
      abort.abort();
      await asked;
      await clock.advance(19_000);
    }
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST", reason: /answers no dial/ });
  });

  it.each<[string, (made: Awaited<ReturnType<typeof streamed>>) => Promise<unknown>]>([
    [
      "a line",
      async ({ client, socket }) => {
        const read = socket.bytesRead;
        client.say('{"command":"anything"}\n');
        await until(() => socket.bytesRead > read);
      },
    ],
    ["a pick-up, though it comes late", async ({ exchange, client }) => pickUpOf(exchange, client)],
  ])("is not dead when %s has come between two dials without an answer", async (_what, speak) => {
    const made = await streamed();
    for (let round = 0; round < 4; round += 1) {
      const asked = failure(made.tunnel.request(get("/")));
      await until(() => made.exchange.pending === 1);
      await made.clock.advance(20_000);
      expect(await asked).toMatchObject({ sent: "not-sent" });
      await speak(made);
    }
    expect(made.tunnel.draining).toBe(false);
  });

  it("with a wrong line ends, and is one fault", async () => {
    const { client, tunnel, faults } = await streamed();
    client.say("\n\n");
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(faults).toEqual(["line-invalid"]);
    await client.rest();
  });

  it.each<[string, (client: RawClient) => void]>([
    ["ends", (client) => client.socket.end()],
    ["is cut", (client) => client.socket.resetAndDestroy()],
  ])("that %s ends its tunnel", async (_how, end) => {
    const { client, tunnel, exchange, clock } = await streamed();
    end(client);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(exchange.dialers).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("ends with its tunnel, in order or not", async () => {
    for (const how of ["close", "destroy"] as const) {
      const { client, tunnel, clock } = await streamed();
      void tunnel[how]();
      await client.rest();
      client.socket.end();
      await tunnel.closed;
      expect(clock.pending).toBe(0);
    }
  });
});

describe("keep-alive generations of agents", () => {
  const silent = (_control: RawPeer) => undefined;
  it.each<[string, number, (control: RawPeer) => void]>([
    ["that pings every 15 s, and reads", 15_000, (control) => control.send(0x89, "c")],
    ["that pings every 30 s, and answers ours", 10_000, (control) => control.pong()],
    ["that only answers our pings", 10_000, (control) => control.pong()],
  ])("one %s stays for two minutes, and then leaves silently", async (_what, everyMs, speak) => {
    const made = await rawControl();
    const { control, gateway, tunnel } = made;
    for (let at = 0; at < 120_000; at += everyMs) {
      await gateway.clock.advance(everyMs);
      const before = control.frames.length;
      speak(control);
      control.send(0x82, '{"command":"?"}\n');
      control.send(0x89, "?");
      await until(() => control.frames.length > before);
      await gateway.clock.advance(0);
    }
    expect(tunnel.draining).toBe(false);
    const asking = ask(tunnel);
    const data = await pickUp(made);
    await until(() => data.bytes.includes("\r\n\r\n"));
    data.send(0x82, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect(await asking).toBe("200 ok");
    silent(control);
    await gateway.clock.advance(25_000);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
  });
});
