/** The chaos proxy over real sockets: whole bytes, ends as they were, memory that is bounded, faults that come and go. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { HELD_BYTES_MAX } from "../../src/chaos/link.ts";
import { type Profile, profileNames, profiles, scaled, weatherAt } from "../../src/chaos/profiles.ts";
import { type ChaosProxy, startChaosProxy } from "../../src/chaos/proxy.ts";
import { noToxics, type Toxics } from "../../src/chaos/toxics.ts";

const clean: Profile = { up: noToxics, down: noToxics };
const up = (toxics: Partial<Toxics>): Profile => ({ ...clean, up: { ...noToxics, ...toxics } });
const LOOPBACK = "127.0.0.1";

let server: Server;
let proxy: ChaosProxy | undefined;
let serve: (socket: Socket) => void;
const sockets = new Set<Socket>();

beforeEach(async () => {
  serve = (socket) => void socket.pipe(socket);
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    serve(socket);
  });
  server.listen(0, LOOPBACK);
  await once(server, "listening");
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await proxy?.close();
  proxy = undefined;
  server.close();
  await once(server, "close");
});

async function through(profile: Profile, seed = 1): Promise<Socket> {
  const to = { host: LOOPBACK, port: (server.address() as AddressInfo).port };
  proxy ??= await startChaosProxy({ listen: { host: LOOPBACK, port: 0 }, to, profile, seed });
  const socket = connect({ host: LOOPBACK, port: proxy.port, allowHalfOpen: true });
  sockets.add(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

async function received(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** "reset", or "end" for an orderly one. */
async function endOf(socket: Socket): Promise<string> {
  socket.resume();
  return new Promise((resolve) => {
    socket.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code === "ECONNRESET" ? "reset" : String(error)),
    );
    socket.once("end", () => resolve("end"));
  });
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const limit = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > limit) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("the chaos proxy", () => {
  const mixed: Profile = {
    up: { ...noToxics, latencyMs: 3, jitterMs: 3, sliceBytes: 5000 },
    down: { ...noToxics, latencyMs: 2, bytesPerSecond: 50_000_000, sliceBytes: 3000 },
  };

  it.each([
    ["clean", clean],
    ["mixed", mixed],
  ])("gives on every byte both ways and both ends (%s)", async (_name, profile) => {
    const socket = await through(profile);
    const sent = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, at) => (at * 31) % 251));
    socket.end(sent);
    expect((await received(socket)).equals(sent)).toBe(true);
    await until("no connection is left", () => proxy?.counts().open === 0);
    expect(proxy?.counts()).toMatchObject({ accepted: 1, cut: 0, forgotten: 0, heldBytes: 0 });
  });

  it("keeps a half-close: the other direction goes on", async () => {
    serve = (socket) => {
      socket.resume();
      socket.on("end", () => socket.end("after your end"));
    };
    const socket = await through(up({ latencyMs: 5, slowCloseMs: 20 }));
    socket.end("all I had");
    expect(String(await received(socket))).toBe("after your end");
  });

  it("holds bounded memory where nobody reads, and asks the sender to wait", async () => {
    serve = () => undefined;
    const socket = await through(up({ latencyMs: 1 }));
    let written = 0;
    const chunk = Buffer.alloc(256 * 1024);
    let moving = true;
    while (moving && written < 256 * 1024 * 1024) {
      written += chunk.length;
      if (!socket.write(chunk))
        moving = await Promise.race([
          once(socket, "drain").then(() => true),
          new Promise<false>((resolve) => setTimeout(resolve, 500, false)),
        ]);
      // What one read may bring comes on top.
      expect(proxy?.counts().heldBytes).toBeLessThanOrEqual(3 * HELD_BYTES_MAX);
    }
    expect(moving).toBe(false);
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  it("cuts both sides with a reset, and counts it", async () => {
    let far = "";
    serve = (socket) => void endOf(socket).then((end) => (far = end));
    const socket = await through(up({ resetAfterMs: 30 }));
    expect(await endOf(socket)).toBe("reset");
    await until("the other side was told", () => far !== "");
    expect(far).toBe("reset");
    await until("it is gone", () => proxy?.counts().open === 0);
    expect(proxy?.counts().cut).toBe(1);
  });

  it("passes on a reset of either side, which is no cut of its own", async () => {
    serve = (socket) => void socket.once("data", () => socket.resetAndDestroy());
    const socket = await through(clean);
    socket.write("x");
    expect(await endOf(socket)).toBe("reset");
    await until("it is gone", () => proxy?.counts().open === 0);
    expect(proxy?.counts().cut).toBe(0);
  });

  it("resets who comes while nobody listens behind it", async () => {
    const socket = await through(clean);
    expect(proxy).toBeDefined();
    socket.destroy();
    for (const other of sockets) other.destroy();
    server.close();
    await once(server, "close");
    const late = connect({ host: LOOPBACK, port: (proxy as ChaosProxy).port });
    sockets.add(late);
    expect(await endOf(late)).toBe("reset");
    server.listen(0, LOOPBACK);
    await once(server, "listening");
  });

  it("lets its limit of bytes through, and then closes both sides", async () => {
    let got = 0;
    let far = "";
    serve = (socket) => {
      socket.on("data", (bytes: Buffer) => (got += bytes.length));
      void endOf(socket).then((end) => (far = end));
    };
    const socket = await through(up({ limitBytes: 1000 }));
    const near = endOf(socket);
    socket.write(Buffer.alloc(1000));
    expect([await near, await until("both know", () => far !== "").then(() => far), got]).toEqual([
      "end",
      "end",
      1000,
    ]);
  });

  it("changes for connections that live", async () => {
    const socket = await through(up({ timeoutMs: 0 }));
    const first = once(socket, "data");
    socket.write("held");
    await until("it is held", () => proxy?.counts().heldBytes === 4);
    proxy?.set(clean);
    expect(String((await first)[0])).toBe("held");
    proxy?.set(up({ resetAfterMs: 1 }));
    expect(await endOf(socket)).toBe("reset");
  });

  it("in silent weather tells nobody, takes who comes, and gives on everything afterwards", async () => {
    const socket = await through(clean);
    const weather = { goodMs: 0, badMs: 1e6, bad: "silence" } as const;
    proxy?.set({ ...clean, weather });
    const late = await through(clean);
    const answers = [socket, late].map((one) => once(one, "data"));
    socket.write("first");
    late.write("second");
    await until("both are held", () => proxy?.counts().heldBytes === 11);
    expect(proxy?.counts()).toMatchObject({ open: 2, cut: 0, outages: 1 });
    proxy?.set(clean);
    expect((await Promise.all(answers)).map(([bytes]) => String(bytes))).toEqual(["first", "second"]);
  });

  it("in weather that resets breaks every connection and takes none, until it is good again", async () => {
    const socket = await through(clean);
    const broken = endOf(socket);
    proxy?.set({ ...clean, weather: { goodMs: 20, badMs: 1e6, bad: "reset" } });
    expect(await broken).toBe("reset");
    const refused = connect({ host: LOOPBACK, port: (proxy as ChaosProxy).port });
    sockets.add(refused);
    expect(await endOf(refused)).toBe("reset");
    expect(proxy?.counts()).toMatchObject({ open: 0, cut: 1, outages: 1 });
    proxy?.set(clean);
    const again = await through(clean);
    again.end("hello");
    expect(String(await received(again))).toBe("hello");
  });

  it("forgets a quiet connection without a word, and never a busy one", async () => {
    const quiet = await through({ ...clean, forgottenAfterMs: 150 });
    await until("it is forgotten", () => proxy?.counts().forgotten === 1);
    let heard = false;
    quiet.on("data", () => (heard = true));
    quiet.write("anybody?");
    const busy = await through(clean);
    for (let turn = 0; turn < 10; turn += 1) {
      const echoed = once(busy, "data");
      busy.write("x");
      await echoed;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(heard).toBe(false);
    expect(proxy?.counts()).toMatchObject({ forgotten: 1, open: 2, cut: 0 });
    quiet.destroy();
    // The side that knows nothing stays until it learns by itself.
    for (const socket of sockets) socket.destroy();
    await until("both sides have learnt it", () => proxy?.counts().open === 0);
  });

  it("breaks each connection after the same bytes from a seed, and each after others", async () => {
    /** One message at a time, until it breaks: how many came back. */
    async function answers(socket: Socket): Promise<number> {
      const over = new Promise<true>((resolve) => socket.once("close", () => resolve(true)));
      for (let count = 0; ; count += 1) {
        const came = new Promise<false>((resolve) => socket.once("data", () => resolve(false)));
        socket.write(Buffer.alloc(100));
        if (await Promise.race([came, over])) return count;
      }
    }
    async function run(seed: number): Promise<number[]> {
      const found: number[] = [];
      for (let turn = 0; turn < 3; turn += 1)
        found.push(await answers(await through(up({ resetEveryBytes: 5000 }), seed)));
      await proxy?.close();
      proxy = undefined;
      return found;
    }
    const first = await run(7);
    expect(await run(7)).toEqual(first);
    expect(await run(6)).not.toEqual(first);
    expect(new Set(first).size).toBe(3);
  });

  it("cannot listen where somebody else does, and says so", async () => {
    const { port } = server.address() as AddressInfo;
    const listen = { host: LOOPBACK, port };
    await expect(startChaosProxy({ listen, to: listen, profile: clean })).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
  });
});

describe("the profiles", () => {
  it("are the seven that the documents name", () => {
    expect(profileNames).toEqual([
      "lan",
      "wan",
      "transatlantic",
      "bad-hotel",
      "blackhole",
      "flap",
      "nat-expiry",
    ]);
  });

  it("are scaled in their periods alone", () => {
    expect(scaled(profiles.blackhole, 0.5)).toEqual({
      ...profiles.blackhole,
      weather: { goodMs: 15_000, badMs: 30_000, bad: "silence" },
    });
    expect(scaled(profiles["nat-expiry"], 1 / 30)).toMatchObject({
      forgottenAfterMs: 2000,
      up: { latencyMs: 20 },
    });
    expect(scaled(profiles.lan, 0.5)).toEqual(profiles.lan);
  });

  it("know their weather at any time", () => {
    const weather = { goodMs: 10, badMs: 5, bad: "reset" } as const;
    expect(weatherAt(weather, 0)).toEqual({ bad: false, changesInMs: 10 });
    expect(weatherAt(weather, 9)).toEqual({ bad: false, changesInMs: 1 });
    expect(weatherAt(weather, 10)).toEqual({ bad: true, changesInMs: 5 });
    expect(weatherAt(weather, 15)).toEqual({ bad: false, changesInMs: 10 });
  });
});
