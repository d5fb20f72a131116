/** What our control plane takes from legacy clients, and what it does not: the tolerance of the originals, and its limits. */
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { HelixFault } from "revdial/helix";
import { ManualClock } from "revdial/testing";
import { encodeFrame, opcodes } from "../src/helix/frames.ts";
import type { GoClient } from "../src/helix/go-client.ts";
import { goFragments } from "../src/helix/go-data.ts";
import { type GoGeneration, goGenerations } from "../src/helix/go-habits.ts";
import { ask, eventually, type Linked, linked, stopAll, stops } from "./helix-plane.ts";

afterEach(stopAll);

const link = (generation: GoGeneration = "head") => linked(generation, { clock: new ManualClock() });
const mask = () => randomBytes(4);
const message = (payload: string | Buffer, opcode: number = opcodes.binary, fin = true) =>
  encodeFrame({ opcode, payload: Buffer.from(payload), fin, mask: mask() });

/** Resolves once what was sent before has been taken: a ping comes back. */
async function taken(client: GoClient): Promise<void> {
  const before = client.pongs.length;
  client.sendRaw(message("taken?", opcodes.ping));
  await client.until(({ pongs, isConnected }) => pongs.length > before || !isConnected);
}

const failed = (connPath: string, err = "dial tcp: connection refused") =>
  `${JSON.stringify({ command: "pickup-failed", connPath, err })}\n`;

describe("control lines of clients", () => {
  const line = '{"command":"x","more":{"fields":[1,null]}}\n';
  it.each<[string, Buffer[]]>([
    ["an unknown command with unknown fields", [message(line)]],
    ["a line without a command", [message("{}\n")]],
    ["a keep-alive of theirs", [message('{"command":"keep-alive"}\n')]],
    ["two lines in one message", [message(line + line)]],
    ["a line over two messages", [message(line.slice(0, 9)), message(line.slice(9))]],
    [
      "a fragmented message",
      [message(line.slice(0, 9), opcodes.binary, false), message(line.slice(9), opcodes.continuation)],
    ],
    ["a line of 4096 bytes", [message(`{"command":"x","pad":"${"x".repeat(4096 - 25)}"}\n`)]],
    [
      "a ping with a payload, and a pong that nobody asked for",
      [message("p", opcodes.ping), message("q", opcodes.pong)],
    ],
    [
      "pickup-failed for a dial that is not known",
      [message(failed("/revdial?revdial.dialer=0&revdial.req=1"))],
    ],
    ["pickup-failed without connPath", [message('{"command":"pickup-failed"}\n')]],
  ])("may be %s", async (_what, frames) => {
    const { client, tunnel, plane } = await link();
    for (const frame of frames) client.sendRaw(frame);
    await taken(client);
    expect(await ask(tunnel, "/still")).toBe("200 /still");
    expect([client.ends, plane.faults.filter(({ code }) => code !== "pickup-failed")]).toEqual([[], []]);
  });

  it("may come byte by byte", async () => {
    const { client, tunnel } = await link();
    for (const byte of message(line)) {
      client.sendRaw(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await taken(client);
    expect(await ask(tunnel, "/still")).toBe("200 /still");
  });

  const faults: [string, HelixFault["code"], number, Buffer][] = [
    ["a text message", "text-frame", 1003, message(line, opcodes.text)],
    ["a line that is no JSON", "line-invalid", 1002, message("{\n")],
    ["JSON that is no object", "line-invalid", 1002, message("[1]\n")],
    ["a blank line", "line-invalid", 1002, message("\n")],
    ["bytes that are no UTF-8", "line-invalid", 1002, message(Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0x0a]))],
    [
      "a line of 4097 bytes",
      "line-too-long",
      1009,
      message(`{"command":"x","pad":"${"x".repeat(4097 - 25)}"}\n`),
    ],
    ["5000 bytes without an end", "line-too-long", 1009, message("x".repeat(5000))],
    ["an empty message", "empty-message", 1002, message("")],
  ];
  it.each(faults)(
    "may not be %s: one fault, and the connection ends",
    async (_what, code, closeCode, frame) => {
      const { client, tunnel, plane } = await link();
      await ask(tunnel, "/before");
      client.sendRaw(frame);
      client.sendRaw(frame);
      await client.until(({ isConnected }) => !isConnected);
      expect(plane.faults).toEqual([{ code, detail: expect.any(String) }]);
      expect(client.closeCodes).toEqual([closeCode]);
      expect((await tunnel.closed).code).toBe("TRANSPORT_LOST");
      await client.until(({ dataConnections }) => dataConnections === 0);
      expect(plane.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
    },
  );
});

describe("pick-ups", () => {
  it("that fail are one fault each, with what the client says, and cost only their own request", async () => {
    const { client, tunnel, plane } = await link();
    expect(await ask(tunnel, "/fine")).toBe("200 /fine");
    client.closeData();
    await eventually(() => plane.exchange.connections === 0);
    client.stall();
    const asked = ask(tunnel, "/x", { method: "POST" });
    await client.until(({ bytesQueued }) => bytesQueued > 100);
    const { frame } = client.heard.at(-1) ?? {};
    const { connPath } = JSON.parse(frame?.payload.toString() ?? "{}") as { connPath: string };
    client.sendMessage(failed(connPath, "no such target \u2028\u0000"));
    await expect(asked).rejects.toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(plane.faults).toMatchObject([
      { code: "pickup-failed", detail: expect.stringContaining("no such target") },
    ]);
    client.resume();
    expect(await ask(tunnel, "/y")).toBe("200 /y");
  });

  it("that come too late or twice are refused, and are no leak", async () => {
    const clock = new ManualClock();
    const { client, tunnel, plane } = await linked("seed", { clock });
    client.stall();
    const asked = ask(tunnel, "/x", { method: "POST" });
    await client.until(({ bytesQueued }) => bytesQueued > 100);
    asked.catch(() => undefined);
    await clock.advance(20_000);
    await expect(asked).rejects.toMatchObject({ sent: "not-sent" });
    client.resume();
    await client.until(({ refusals }) => refusals.length === 1);
    expect(client.refusals[0]?.status).toBe(410);
    expect(plane.faults.map(({ code }) => code)).toContain("pickup-timeout");
    expect(await ask(tunnel, "/y")).toBe("200 /y");
    expect([plane.exchange.pending, plane.exchange.connections]).toEqual([0, 1]);
  });
});

describe("data connections", () => {
  /** A target that says these bytes on each connection once it was asked something, and then ends. */
  async function saying(say: (sendRaw: (bytes: Buffer) => void) => void): Promise<Linked> {
    const target = createServer(
      (socket) => void socket.on("error", () => undefined).on("data", () => undefined),
    );
    target.listen(0, "127.0.0.1");
    await new Promise((resolve) => target.once("listening", resolve));
    stops.push(() => new Promise((resolve) => target.close(resolve)));
    const { port } = target.address() as { port: number };
    const made = await linked("head", {
      clock: new ManualClock(),
      client: { target: { host: "127.0.0.1", port } },
    });
    target.on("connection", (socket) => {
      stops.push(() => socket.destroy());
      socket.once("data", () => say((bytes) => made.client.sendRawOnData(bytes)));
    });
    return made;
  }

  const answer = (body: Buffer | string) =>
    Buffer.concat([
      Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`),
      Buffer.from(body),
    ]);

  it("take 32 KiB in frames of 4096 bytes, empty messages and every other cut", async () => {
    const body = randomBytes(100_000);
    const all = answer(body);
    const { tunnel } = await saying((sendRaw) => {
      sendRaw(message(""));
      for (const frame of goFragments(all.subarray(0, 32 * 1024), mask)) sendRaw(frame);
      sendRaw(message("", opcodes.binary, false));
      sendRaw(message("", opcodes.continuation));
      sendRaw(message("ping", opcodes.ping));
      sendRaw(message(all.subarray(32 * 1024, 32 * 1024 + 1)));
      sendRaw(message(all.subarray(32 * 1024 + 1)));
    });
    expect(await ask(tunnel, "/")).toBe(`200 ${body.toString("latin1")}`);
  });

  it.each<[string, (client: GoClient) => void]>([
    ["without a close frame", (client) => client.closeData()],
    ["with one", (client) => client.sendRawOnData(message(Buffer.from([0x03, 0xe8]), opcodes.close))],
  ])("end where the stream ends, %s", async (_what, close) => {
    const { client, tunnel, plane } = await saying((sendRaw) => {
      sendRaw(message("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
      setImmediate(() => close(client));
    });
    expect(await ask(tunnel, "/")).toBe("200 until the end");
    await eventually(() => plane.exchange.connections === 0);
    expect(plane.faults).toEqual([]);
  });

  it("are cut for a text message, which costs what ran on them and nothing else", async () => {
    const { client, tunnel, plane } = await saying((sendRaw) =>
      sendRaw(message("HTTP/1.1 200 OK", opcodes.text)),
    );
    await expect(ask(tunnel, "/", { method: "POST" })).rejects.toMatchObject({ code: "HANDLER_FAILED" });
    await client.until(({ dataConnections }) => dataConnections === 0);
    expect([client.ends, plane.exchange.connections, plane.faults.length]).toEqual([[], 0, 1]);
  });

  it("are cut for a message of more than 1 MiB", async () => {
    const { tunnel, plane } = await saying((sendRaw) => sendRaw(message(Buffer.alloc(1024 * 1024 + 1))));
    await expect(ask(tunnel, "/", { method: "POST" })).rejects.toMatchObject({ code: "HANDLER_FAILED" });
    expect(plane.exchange.connections).toBe(0);
  });

  it("carry 8 MiB both ways, byte by byte the same", async () => {
    const { tunnel } = await link();
    const body = randomBytes(8 * 1024 * 1024);
    expect(await ask(tunnel, "/", { method: "POST", body })).toBe(`200 ${body.toString("latin1")}`);
  });

  it("carry small requests even for a client whose data path drops what one read did not return", async () => {
    const { tunnel, client } = await linked("seed", {
      clock: new ManualClock(),
      client: { dataReader: "dropping" },
    });
    const body = Buffer.from(JSON.stringify({ lobby: "x".repeat(1000) }));
    expect(await ask(tunnel, "/", { method: "POST", body })).toBe(`200 ${body}`);
    expect(client.bytesLost).toBe(0);
  });
});

describe("10,000 requests, 32 at once", () => {
  const descriptors = () => readdirSync("/proc/self/fd").length;
  it.each(goGenerations)(
    "are all answered, each with what is its own, through a client of generation %s",
    async (generation) => {
      const before = descriptors();
      const { client, tunnel, plane } = await link(generation);
      const wrong: string[] = [];
      let next = 0;
      const worker = async () => {
        for (let id = next++; id < 10_000; id = next++) {
          const answer = await ask(tunnel, `/request/${id}`).catch(String);
          if (answer !== `200 /request/${id}`) wrong.push(`${id}: ${answer}`);
          // Now and then a client loses its data connections while nothing is under way on some.
          if (id % 1000 === 999) await ask(tunnel, `/request/${id}`, { headers: [["connection", "close"]] });
        }
      };
      await Promise.all(Array.from({ length: 32 }, worker));
      expect(wrong).toEqual([]);
      expect(client.pickups).toBeLessThan(200);
      expect([client.bytesLost, client.straddled, client.ends, plane.exchange.pending]).toEqual([
        0,
        0,
        [],
        0,
      ]);
      await tunnel.close();
      await client.until(({ dataConnections, isConnected }) => dataConnections === 0 && !isConnected);
      expect(plane.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
      await stopAll();
      await eventually(() => descriptors() <= before);
    },
    60_000,
  );
});
