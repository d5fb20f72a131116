/** Requests over data connections: how many there are, what ends them, and what the peers of the original make of messages. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { describe, expect, it } from "@jest/globals";
import type { Tunnel } from "../src/index.ts";
import {
  ask,
  asked,
  helixGateway,
  host,
  joined,
  pickUp,
  type RawPeer,
  rawControl,
  scriptedAgent,
  settled,
} from "./helix-support.ts";
import { collect, failure, get, text, until } from "./support.ts";

const BINARY = 0x82;
const TEXT = 0x81;

describe("requests through an agent", () => {
  it("share a data connection one after the other", async () => {
    const { tunnel, agent, gateway } = await joined((request, response) => void response.end(request.url));
    for (let number = 0; number < 20; number += 1)
      expect(await ask(tunnel, `/${number}`)).toBe(`200 /${number}`);
    expect(agent.brought).toBe(1);
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 1, dialers: 1 });
  });

  it("that come while others wait for theirs take what becomes free: 200 at 32 parallel need few", async () => {
    const { tunnel, agent, gateway } = await joined((request, response) => void response.end(request.url));
    let next = 0;
    const worker = async () => {
      for (let number = next++; number < 200; number = next++)
        expect(await ask(tunnel, `/${number}`)).toBe(`200 /${number}`);
    };
    await Promise.all(Array.from({ length: 32 }, worker));
    expect(agent.brought).toBeLessThanOrEqual(44);
    await until(() => gateway.exchange.pending === 0);
    expect(gateway.faults).toEqual([]);
    expect(gateway.pickups.every((status) => status === 101)).toBe(true);
  });

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void]>([
    [
      "closes after each reply",
      (_request, response) => void response.setHeader("connection", "close").end("ok"),
    ],
    [
      "speaks HTTP/1.0 and closes",
      (request, response) => {
        response.detachSocket(request.socket);
        request.socket.end("HTTP/1.0 200 OK\r\n\r\nok");
      },
    ],
  ])("to a host that %s need one each, and nothing is left", async (_what, answer) => {
    const { tunnel, agent, gateway } = await joined(answer);
    for (let number = 0; number < 5; number += 1) expect(await ask(tunnel)).toBe("200 ok");
    expect(await Promise.all(Array.from({ length: 32 }, () => ask(tunnel)))).toEqual(
      Array(32).fill("200 ok"),
    );
    expect(agent.brought).toBe(37);
    await until(() => gateway.exchange.connections === 0 && agent.open.size === 0);
    expect(gateway.faults).toEqual([]);
  });

  it("need one each where none may be kept, as with the original", async () => {
    const { tunnel, agent, gateway } = await joined((_request, response) => void response.end("ok"), {
      accept: { idleConnectionsMax: 0 },
    });
    await Promise.all(Array.from({ length: 40 }, () => ask(tunnel)));
    expect(agent.brought).toBe(40);
    await until(() => gateway.exchange.connections === 0);
  });

  it("say Host: localhost, and what the caller says beside", async () => {
    const { data } = await asked();
    expect(data.bytes.toString("latin1")).toMatch(/^GET \/ HTTP\/1\.1\r\nhost: localhost\r\n/);
  });

  it("of 1 MB reach the host in messages of one frame, none of more than 4,096 bytes with its header", async () => {
    const made = await rawControl();
    const body = Buffer.alloc(1_000_000, "0123456789abcdef-");
    const answer = made.tunnel.request({ ...get("/"), method: "POST", body });
    const data = await pickUp(made);
    await until(
      () => data.bytes.byteLength > 1_000_000 && data.bytes.subarray(-100).equals(body.subarray(-100)),
    );
    expect(data.bytes.subarray(-body.byteLength).equals(body)).toBe(true);
    expect(data.frames.every(({ fin, masked, opcode }) => fin && !masked && opcode === 2)).toBe(true);
    expect(Math.max(...data.frames.map(({ payload }) => payload.byteLength))).toBe(4092);
    data.send(BINARY, "HTTP/1.1 204 No Content\r\n\r\n");
    expect((await answer).status).toBe(204);
  });

  it("in chunks reach the host whole, with what is said between", async () => {
    const { tunnel } = await joined(async (request, response) => {
      response.end(await collect(request));
    });
    async function* chunks() {
      for (let number = 0; number < 200; number += 1)
        yield text.encode(`chunk ${number} ${"x".repeat(number * 40)}`);
    }
    const { body } = await tunnel.request({ ...get("/"), method: "POST", body: chunks() });
    expect((await collect(body)).equals(await collect(chunks()))).toBe(true);
  });

  it("may be upgraded, and each side's bytes arrive", async () => {
    const server = await host(() => undefined);
    server.on("upgrade", (_request, socket: Socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ");
      socket.pipe(socket);
    });
    const gateway = await helixGateway({ real: true });
    const agent = await scriptedAgent(gateway.url, server);
    const tunnel = gateway.tunnels[0] as Tunnel;
    const socket = await tunnel.connect("wolf", { protocol: "echo" });
    socket.write("world");
    let heard = "";
    socket.on("data", (bytes) => {
      heard += bytes;
    });
    await until(() => heard === "hello world");
    // There is no half-close: the end of one side is the end of both.
    socket.end();
    await until(() => gateway.exchange.connections === 0 && agent.open.size === 0);
    await until(() => socket.closed);
  });

  it("may be plain byte streams", async () => {
    const server = await host(() => undefined);
    server.on("connection", (socket: Socket) => {
      socket.removeAllListeners("data");
      socket.on("data", (bytes) => void socket.write(`echo ${bytes}`));
    });
    const gateway = await helixGateway({ real: true });
    await scriptedAgent(gateway.url, server);
    const socket = await (gateway.tunnels[0] as Tunnel).connect("wolf");
    socket.write("x");
    expect(String(await new Promise((resolve) => socket.once("data", resolve)))).toContain("echo x");
    socket.destroy();
    await until(() => gateway.exchange.connections === 0);
  });

  it("are answered by the stand-in that the program gives, which may use the pipe", async () => {
    const { tunnel } = await joined((request, response) => void response.end(request.url), {
      accept: {
        standIn: (pipe) => () => ({ status: 203, body: text.encode(Object.keys(pipe).sort().join()) }),
      },
    });
    expect(await ask(tunnel)).toBe("203 authority,connect");
  });
});

describe("a data connection", () => {
  const head = "HTTP/1.1 200 OK\r\n\r\n";

  it.each<[string, (data: RawPeer) => void]>([
    ["a TCP connection that is destroyed", (data) => void data.socket.destroy()],
    ["a TCP connection that ends", (data) => void data.socket.end()],
    ["a close frame", (data) => data.send(0x88, Buffer.from([3, 232]))],
    ["a close frame without a code", (data) => data.send(0x88)],
  ])("that ends by %s ends a body without a length", async (_what, end) => {
    const { data, answer, gateway } = await asked();
    data.send(BINARY, `${head}the whole`);
    data.send(BINARY, " body");
    await settled(data);
    end(data);
    expect((await collect((await answer).body)).toString()).toBe("the whole body");
    await until(() => gateway.exchange.connections === 0);
    expect(gateway.failures).toEqual([]);
  });

  it("that ends within a body of known length fails it", async () => {
    const { data, answer, gateway } = await asked();
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    const { body } = await answer;
    data.socket.destroy();
    expect(await failure(collect(body))).toMatchObject({ code: "HANDLER_FAILED", sent: "may-have-run" });
    expect(gateway.exchange.connections).toBe(0);
  });

  it("takes messages of 32 KiB in frames of 4,096 bytes, masked, and frames in any cut", async () => {
    const { data, answer } = await asked();
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251));
    const bytes = Buffer.concat([Buffer.from(head), body]);
    for (let at = 0; at < bytes.byteLength; at += 32_768)
      data.sendFragmented(bytes.subarray(at, at + 32_768), 4096);
    data.socket.end();
    expect((await collect((await answer).body)).equals(body)).toBe(true);
  });

  it("takes messages of any size up to 1 MiB, without bytes too, and pings between fragments", async () => {
    const { data, answer } = await asked();
    const body = Buffer.alloc(2 ** 20, "abc");
    data.send(BINARY);
    data.send(BINARY, head.slice(0, 7));
    data.send(2);
    data.send(0x89, "between");
    data.send(0, head.slice(7));
    data.send(0x80);
    data.send(BINARY, body);
    data.send(BINARY);
    await settled(data);
    data.socket.destroy();
    expect((await collect((await answer).body)).equals(body)).toBe(true);
  });

  it("with a text frame is closed with 1003, fails its own request and is one fault", async () => {
    const { data, answer, gateway, tunnel } = await asked();
    data.send(TEXT, head);
    data.send(TEXT, head);
    expect(await failure(answer)).toMatchObject({ code: "HANDLER_FAILED" });
    await until(() => data.closeCode !== undefined);
    expect(data.closeCode).toBe(1003);
    expect(gateway.faults).toEqual([{ code: "text-frame", detail: expect.any(String) }]);
    expect(gateway.exchange.connections).toBe(0);
    expect(tunnel.draining).toBe(false);
  });

  it.each<[string, (data: RawPeer) => void, number]>([
    ["a message of more than 1 MiB", (data) => data.send(BINARY, Buffer.alloc(2 ** 20 + 1)), 1009],
    ["a frame that is none", (data) => data.send(0x83, "x"), 1002],
  ])("with %s is no end of a body", async (_what, break_, closeCode) => {
    const { data, answer, gateway } = await asked();
    data.send(BINARY, `${head}some`);
    const { body } = await answer;
    break_(data);
    expect(await failure(collect(body))).toMatchObject({ code: "HANDLER_FAILED" });
    await until(() => data.closeCode !== undefined);
    expect(data.closeCode).toBe(closeCode);
    expect(gateway.exchange.connections).toBe(0);
  });

  it("that its caller does not read is not read either", async () => {
    const { data, answer } = await asked({
      accept: { limits: { windowInitialBytes: 32_768, windowMaxBytes: 65_536 } },
    });
    data.send(BINARY, head);
    const { body } = await answer;
    const chunk = Buffer.alloc(65_536, "x");
    let sent = 0;
    // Buffers of the kernel and of this process fill, and then nothing moves.
    while (data.socket.writableLength < 2 ** 20 && sent < 64 * 2 ** 20) {
      data.send(BINARY, chunk);
      sent += chunk.byteLength;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(data.socket.writableLength).toBeGreaterThanOrEqual(2 ** 20);
    let got = 0;
    data.socket.end();
    for await (const bytes of body) got += bytes.byteLength;
    expect(got).toBe(sent);
  });

  it("that its agent does not read makes the caller's body wait", async () => {
    const made = await rawControl();
    let given = 0;
    async function* endless() {
      for (;;) {
        given += 65_536;
        yield new Uint8Array(65_536);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
    const abort = new AbortController();
    const answer = failure(
      made.tunnel.request({ ...get("/"), method: "POST", body: endless(), signal: abort.signal }),
    );
    const data = await pickUp(made);
    data.socket.pause();
    let before = -1;
    while (before !== given) {
      before = given;
      for (let turn = 0; turn < 100; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(given).toBeLessThan(64 * 2 ** 20);
    abort.abort();
    expect(await answer).toMatchObject({ code: "CANCELLED" });
    await until(() => made.gateway.exchange.connections === 0);
  });

  it("that is kept and dies is not used: a request that may be repeated is asked again, on a new one", async () => {
    const made = await asked();
    const { data, answer, tunnel, control } = made;
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect((await collect((await answer).body)).toString()).toBe("ok");
    const second = tunnel.request(get("/second"));
    await until(() => data.bytes.includes("/second"));
    data.socket.destroy();
    const other = await pickUp(made, 1);
    await until(() => other.bytes.includes("/second"));
    other.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    expect((await collect((await second).body)).toString()).toBe("new");
    expect(control.connPaths).toHaveLength(2);
  });

  it("that is kept and says something unasked is closed", async () => {
    const { data, answer, gateway, tunnel } = await asked();
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await collect((await answer).body);
    expect(gateway.exchange.connections).toBe(1);
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    await until(() => data.closed);
    expect(gateway.exchange.connections).toBe(0);
    expect(tunnel.draining).toBe(false);
  });
});
