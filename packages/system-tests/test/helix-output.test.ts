/** What our control plane says on a legacy control connection, byte by byte: even the client that loses bytes loses none of it. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { ManualClock } from "revdial/testing";
import { type Frame, FrameReader, opcodes } from "../src/helix/frames.ts";
import type { GoClient } from "../src/helix/go-client.ts";
import { goGenerations } from "../src/helix/go-habits.ts";
import { ask, type ExchangePlane, linked, stopAll } from "./helix-plane.ts";

afterEach(stopAll);

const KEEP_ALIVE = '{"command":"keep-alive"}\n';

/** The frames of each write. */
function framesOf(plane: ExchangePlane): Frame[][] {
  return plane.writes.map((write) => {
    const reader = new FrameReader();
    const frames = reader.push(write);
    expect(reader.atBoundary).toBe(true);
    return frames;
  });
}

/** A client that gets to read only now and then, so that lines pile up meanwhile. */
function readsSeldom(client: GoClient): () => void {
  let over = false;
  const turn = () => {
    client.resume();
    if (over) return;
    client.stall();
    setImmediate(() => setImmediate(() => setImmediate(() => setImmediate(turn))));
  };
  turn();
  return () => {
    over = true;
  };
}

describe("control lines of ours", () => {
  it("are these bytes: a keep-alive at once and every 17 s, a conn-ready for each dial, and none after it", async () => {
    const clock = new ManualClock();
    let ids = 1;
    const { plane, tunnel } = await linked("seed", {
      clock,
      exchange: { randomBytes: (size) => Buffer.alloc(size, ids++) },
    });
    await clock.advance(1938);
    expect(await ask(tunnel, "/a")).toBe("200 /a");
    // A second request finds the data connection of the first.
    expect(await ask(tunnel, "/b")).toBe("200 /b");
    await clock.advance(17_000 - 1938);
    const ready = `{"command":"conn-ready","connPath":"/revdial?revdial.dialer=${"01".repeat(16)}\\u0026revdial.req=${"02".repeat(8)}"}\n`;
    const texts = plane.writes.map((bytes) => bytes.toString("latin1"));
    expect(texts.filter((text) => !text.startsWith("\x89"))).toEqual([
      `\x82\x19${KEEP_ALIVE}`,
      `\x82\x7e\x00\x81${ready}`,
      `\x82\x19${KEEP_ALIVE}`,
    ]);
    // Between them pings, at once and every 10 s.
    expect(texts.filter((text) => text.startsWith("\x89"))).toHaveLength(2);
  });

  it.each(goGenerations)(
    "are one unfragmented frame each, in a write of its own (%s)",
    async (generation) => {
      const clock = new ManualClock();
      const { plane, client, tunnel } = await linked(generation, { clock });
      for (let burst = 0; burst < 4; burst += 1) {
        await Promise.all(Array.from({ length: 32 }, (_, at) => ask(tunnel, `/${at}`)));
        client.closeData();
        await clock.advance(20_000);
      }
      const frames = framesOf(plane);
      expect(frames.length).toBeGreaterThan(50);
      expect(frames.filter(({ length }) => length !== 1)).toEqual([]);
      for (const { fin, opcode, masked, payload } of frames.flat()) {
        expect([fin, masked]).toEqual([true, false]);
        expect([opcodes.binary, opcodes.ping, opcodes.pong]).toContain(opcode);
        if (opcode !== opcodes.binary) continue;
        expect(payload.length).toBeLessThanOrEqual(160);
        expect(payload.toString()).toMatch(
          /^\{"command":"(keep-alive"|conn-ready","connPath":"\/revdial\?revdial\.dialer=[0-9a-f]{32}\\u0026revdial\.req=[0-9a-f]{16}")\}\n$/,
        );
      }
      expect([client.straddled, client.bytesLost]).toEqual([0, 0]);
    },
  );

  it("name a pick-up by another id each time, and the control connection by one", async () => {
    const { client, tunnel } = await linked("head", { clock: new ManualClock() });
    const asked = Array.from({ length: 32 }, (_, at) => ask(tunnel, `/${at}`));
    await Promise.all(asked);
    const ready = client.lines.filter((line) => line.includes("conn-ready"));
    const ids = (name: string) =>
      new Set(ready.map((line) => new RegExp(`revdial\\.${name}=(\\w+)`).exec(line)?.[1]));
    expect([ids("dialer").size, ids("req").size]).toEqual([1, ready.length]);
  });
});

describe.each(
  goGenerations.flatMap(
    (generation) =>
      [
        [generation, "whole"],
        [generation, "dropping"],
      ] as const,
  ),
)(
  "a client of generation %s whose data connections are read in the way called %s",
  (generation, dataReader) => {
    it("answers bursts of 32 while it seldom reads control, and loses nothing", async () => {
      const { client, tunnel, plane } = await linked(generation, {
        clock: new ManualClock(),
        client: { dataReader },
      });
      const stop = readsSeldom(client);
      for (let burst = 0; burst < 10; burst += 1) {
        const paths = Array.from({ length: 32 }, (_, at) => `/${burst}/${at}`);
        expect(await Promise.all(paths.map((path) => ask(tunnel, path)))).toEqual(
          paths.map((path) => `200 ${path}`),
        );
        // The next burst needs pick-ups again.
        client.closeData();
      }
      stop();
      expect(client.pickups).toBeGreaterThan(100);
      expect([client.bytesLost, client.straddled, client.ends, plane.faults]).toEqual([0, 0, [], []]);
    });
  },
);

describe("pick-ups in flight", () => {
  it.each(goGenerations)(
    "are 12 at the most, so that less than 4 KiB wait for a client that does not read (%s)",
    async (generation) => {
      const clock = new ManualClock();
      const { client, tunnel, plane } = await linked(generation, { clock });
      client.stall();
      const asked = Array.from({ length: 100 }, (_, at) =>
        ask(tunnel, `/${at}`).catch(({ code }: { code: string }) => code),
      );
      const lineBytes = 4 + 129;
      await client.until(({ bytesQueued }) => bytesQueued >= 12 * lineBytes);
      await clock.advance(10_000);
      expect(client.bytesQueued).toBeLessThan(12 * lineBytes + 10);
      expect(plane.exchange.pending).toBe(100);
      // The second dozen, after the first has timed out: the connection is not dead yet.
      await clock.advance(10_000);
      await client.until(({ bytesQueued }) => bytesQueued >= 24 * lineBytes);
      await clock.advance(4000);
      expect(client.bytesQueued).toBeLessThan(4096);
      expect(client.isConnected).toBe(true);
      client.resume();
      const answers = await Promise.all(asked);
      // Those that were dialled first were given up meanwhile, or sent again; the others are answered with what is theirs.
      for (const [at, answer] of answers.entries())
        expect([`200 /${at}`, "REFUSED", "DEADLINE"]).toContain(answer);
      expect(answers.filter((answer) => answer.startsWith("200")).length).toBeGreaterThanOrEqual(88);
      expect([client.bytesLost, client.crashed, client.ends]).toEqual([0, false, []]);
    },
  );

  it("go on in turn when each takes its time", async () => {
    const { tunnel, client, plane } = await linked("seed", {
      clock: new ManualClock(),
      accept: { idleConnectionsMax: 0 },
    });
    const paths = Array.from({ length: 200 }, (_, at) => `/${at}`);
    expect(await Promise.all(paths.map((path) => ask(tunnel, path)))).toEqual(
      paths.map((path) => `200 ${path}`),
    );
    expect([client.pickups, plane.exchange.pending]).toEqual([200, 0]);
    await client.until(({ dataConnections }) => dataConnections === 0);
  });
});

describe("both paths of pick-ups", () => {
  it.each([
    ["literal", "/revdial"],
    ["rewritten", "/api/v1/revdial"],
  ] as const)("carry requests: %s", async (pickupPath, path) => {
    const { tunnel, plane } = await linked("head", { clock: new ManualClock(), client: { pickupPath } });
    expect(await ask(tunnel, "/x")).toBe("200 /x");
    expect(plane.pickupPaths).toEqual([path]);
  });
});
