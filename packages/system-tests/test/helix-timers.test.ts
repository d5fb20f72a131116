/** Legacy tunnels over time: three generations of clients with timers of their own, silence, returns, and how connections are closed. */
import { randomBytes } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { ManualClock } from "revdial/testing";
import { encodeFrame, httpHead, opcodes } from "../src/helix/frames.ts";
import { GoClient } from "../src/helix/go-client.ts";
import { type GoGeneration, goGenerations, goHabits } from "../src/helix/go-habits.ts";
import { ask, ExchangePlane, eventually, linked, listening, stopAll, stops, TOKEN } from "./helix-plane.ts";

afterEach(stopAll);

async function link(generation: GoGeneration) {
  const clock = new ManualClock();
  return { clock, ...(await linked(generation, { clock })) };
}

/** Resolves once each end has taken what the other has sent: a ping of ours comes back, behind all answers. */
async function settled(client: GoClient): Promise<void> {
  const before = client.pongs.length;
  client.sendRaw(encodeFrame({ opcode: opcodes.ping, mask: randomBytes(4) }));
  await client.until(({ pongs, isConnected }) => pongs.length > before || !isConnected);
}

describe.each(goGenerations)("a client of generation %s", (generation) => {
  it("stays connected for an hour in which nobody asks anything", async () => {
    const { clock, client, plane, tunnel } = await link(generation);
    for (let minute = 0; minute < 60; minute += 1) {
      for (const ms of [9000, 11_000, 10_000, 14_000, 16_000]) {
        await clock.advance(ms);
        await settled(client);
      }
    }
    expect(await ask(tunnel, "/still")).toBe("200 /still");
    expect([client.ends, client.controls, plane.faults, client.bytesLost]).toEqual([[], 1, [], 0]);
    const keepAlives = client.heard.filter(({ frame }) => frame.payload.includes("keep-alive"));
    const gaps = keepAlives.slice(1).map(({ atMs }, at) => atMs - (keepAlives[at]?.atMs ?? 0));
    expect(keepAlives.length).toBeGreaterThanOrEqual(200);
    expect(gaps.filter((ms) => ms < 15_000 || ms > 18_000)).toEqual([]);
  });

  it("that says nothing more is dead within 25 s, and everything of it ends", async () => {
    const clock = new ManualClock();
    const options = { clock, client: { pingMs: 0, reconnectMs: 1_000_000 } };
    const { client, plane, tunnel } = await linked(generation, options);
    await ask(tunnel, "/before");
    await settled(client);
    client.stall();
    const under = ask(tunnel, "/slow", { deadlineMs: 60_000 });
    expect(await under).toBe("200 /slow");
    await clock.advance(10_000);
    await clock.advance(14_000);
    expect(plane.exchange.dialers).toBe(1);
    await clock.advance(6000);
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    await client.until(({ dataConnections, isConnected }) => dataConnections === 0 && !isConnected);
    expect(plane.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
  });

  it("comes back after its delay when its connection is cut, and is asked again", async () => {
    const { clock, client, plane } = await link(generation);
    plane.controls[0]?.destroy();
    await client.until(({ isConnected }) => !isConnected);
    await clock.advance(goHabits[generation].reconnectMs - 1);
    expect(client.controls).toBe(1);
    await clock.advance(1);
    await client.until(({ lines }) => lines.length === 2);
    await plane.tunnel.ready;
    expect(await ask(plane.tunnel, "/again")).toBe("200 /again");
    expect(plane.exchange.dialers).toBe(1);
  });

  it.each([
    ["REPLACED", 4001],
    ["REVOKED", 4003],
    ["DRAINING", 1001],
  ] as const)(
    "is closed with a code of its own when it is %s (%i), and echoes it",
    async (code, closeCode) => {
      const { client, plane, tunnel } = await link(generation);
      await ask(tunnel, "/before");
      await tunnel.close({ code });
      await client.until(({ isConnected, dataConnections }) => !isConnected && dataConnections === 0);
      expect([client.closeCodes, client.bytesLost, plane.faults]).toEqual([[closeCode], 0, []]);
      expect(plane.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
    },
  );
});

describe("control without a WebSocket", () => {
  /** Gives a plane's port a door for the variant: whatever is no WebSocket becomes a byte stream. */
  async function hijackable(clock: ManualClock): Promise<{ plane: ExchangePlane; url: string }> {
    const plane = await ExchangePlane.listen({ clock });
    const sockets = new Set<Socket>();
    const door = createServer((socket) => {
      sockets.add(socket.on("error", () => undefined));
      socket.once("data", (bytes: Buffer) => {
        const head = httpHead(bytes);
        if (head?.fields.has("upgrade")) {
          socket.pause().unshift(bytes);
          plane.server.emit("connection", socket);
          return socket.resume();
        }
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        return plane.acceptStream(socket);
      });
    });
    door.listen(0, "127.0.0.1");
    await new Promise((resolve) => door.once("listening", resolve));
    stops.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => door.close(resolve));
    });
    return { plane, url: `http://127.0.0.1:${(door.address() as { port: number }).port}` };
  }

  async function connected(clock: ManualClock) {
    const { plane, url } = await hijackable(clock);
    const port = await listening(createHttpServer((_request, response) => void response.end("x")));
    const target = { host: "127.0.0.1", port };
    const client = await GoClient.connect({
      url,
      key: "wolf-a",
      token: TOKEN,
      target,
      generation: "head",
      clock,
      hijack: true,
    });
    stops.push(() => client.stop());
    await client.until(({ lines }) => lines.length === 1);
    await plane.tunnel.ready;
    return { plane, client };
  }

  it("carries requests, for as long as lines come", async () => {
    const clock = new ManualClock();
    const { plane, client } = await connected(clock);
    expect(plane.tunnel.transport).toBe("helix-stream");
    expect(await ask(plane.tunnel, "/")).toBe("200 x");
    for (let at = 0; at < 20; at += 1) {
      await clock.advance(17_000);
      await client.until(
        ({ lines }) => lines.filter((line) => line.includes("keep-alive")).length === at + 2,
      );
    }
    expect(client.ends).toEqual([]);
    expect(await ask(plane.tunnel, "/")).toBe("200 x");
  });

  it("ends when the client goes", async () => {
    const { plane, client } = await connected(new ManualClock());
    client.stop();
    expect(await plane.tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    await eventually(() => plane.exchange.dialers === 0);
  });
});
