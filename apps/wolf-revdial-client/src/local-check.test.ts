import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type AskWolf, UpstreamError } from "@wolfpack/wolf-api";
import { ManualClock } from "revdial/testing";
import { localCheck } from "./local-check.ts";

const request: Parameters<AskWolf>[0] = { method: "GET", path: "/api/v1/lobbies", timeoutMs: 1000 };
const reply = { status: 200, contentType: "application/json", body: Buffer.from("{}") };

let folder: string;
let socketPath: string;
let server: Server | undefined;
let clock: ManualClock;
let found: string[];
/** Connections so far, and those that are over. */
let connections: number;
let ended: number;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "lc-"));
  socketPath = path.join(folder, "wolf.sock");
  clock = new ManualClock();
  found = [];
  connections = 0;
  ended = 0;
});

afterEach(async () => {
  await stopWolf();
  rmSync(folder, { recursive: true, force: true });
});

async function startWolf(): Promise<void> {
  server = createServer((socket: Socket) => {
    connections += 1;
    socket.on("error", () => undefined).once("close", () => (ended += 1));
    socket.resume();
  });
  server.listen(socketPath);
  await once(server, "listening");
}

async function stopWolf(): Promise<void> {
  if (server === undefined) return;
  await new Promise((resolve) => server?.close(resolve));
  server = undefined;
}

const make = (ask: AskWolf = async () => reply) =>
  localCheck({ wolf: { socketPath }, ask, clock, onFound: (wolf) => found.push(wolf) });

describe("the look at Wolf before a pick-up", () => {
  it("is a connection that asks nothing and is closed at once, one for all who ask meanwhile", async () => {
    await startWolf();
    const local = make();
    await Promise.all(Array.from({ length: 32 }, () => local.check()));
    await stopWolf();
    while (ended === 0) await new Promise((resolve) => setImmediate(resolve));
    expect([connections, ended]).toEqual([1, 1]);
    expect(found).toEqual(["ok"]);
    expect(clock.pending).toBe(0);
  });

  it("is spared for 5 s after an exchange or a look that went well", async () => {
    await startWolf();
    const local = make();
    expect(await local.ask(request)).toBe(reply);
    await clock.advance(4999);
    await local.check();
    expect(connections).toBe(0);
    await clock.advance(1);
    await local.check();
    await local.check();
    expect(found).toEqual(["ok", "ok"]);
    await stopWolf();
    expect(connections).toBe(1);
  });

  it("fails with a sentence while nobody listens, also when somebody did a moment ago", async () => {
    await startWolf();
    const gone = new UpstreamError("upstream-unreachable", "nothing answers there");
    let up = true;
    const local = make(() => (up ? Promise.resolve(reply) : Promise.reject(gone)));
    await local.ask(request);
    await stopWolf();
    up = false;
    await expect(local.ask(request)).rejects.toBe(gone);
    await expect(local.check()).rejects.toThrow("Wolf takes no connections (ENOENT)");
    expect(found).toEqual(["ok", "unreachable", "unreachable"]);
    await startWolf();
    await local.check();
    expect(found.at(-1)).toBe("ok");
  });

  it("gives up after 5 s, and asks anew the next time", async () => {
    // An address of documentation (RFC 5737): nobody answers, not even with a refusal; or there is no way there at all.
    const wolf = { host: "192.0.2.1", port: 8080 };
    const local = localCheck({ wolf, ask: async () => reply, clock, onFound: (what) => found.push(what) });
    const looked = local.check().then(
      () => "ok",
      (error: Error) => error.message,
    );
    await clock.advance(5000);
    expect(await looked).toMatch(/^Wolf takes no connections \((timeout|E[A-Z]+)\)$/);
    expect(found).toEqual(["unreachable"]);
    expect(clock.pending).toBe(0);
  });

  it("believes a Wolf that answers late to be slow, and one that answers in pieces to be there", async () => {
    await startWolf();
    const local = make(() => Promise.reject(new UpstreamError("upstream-timeout", "no complete reply")));
    await expect(local.ask(request)).rejects.toThrow("no complete reply");
    expect(found).toEqual(["slow"]);
    await local.check();
    expect(found).toEqual(["slow", "ok"]);
  });
});
