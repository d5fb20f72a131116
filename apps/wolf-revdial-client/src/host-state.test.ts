import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type HostState, openHostState, StateFolderUnusable } from "./host-state.ts";

let folder: string;
let ended: AbortController;
let states: HostState[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hs-"));
  ended = new AbortController();
  states = [];
});

afterEach(() => {
  ended.abort();
  for (const { seat } of states) seat?.release();
  rmSync(folder, { recursive: true, force: true });
});

async function open(nowMs: number, wolfId = "wolf-1"): Promise<HostState> {
  const state = await openHostState({ folder, wolfId, nowMs, signal: ended.signal });
  states.push(state);
  return state;
}

const until = (holds: () => boolean) =>
  new Promise<void>((resolve) => {
    const look = () => (holds() ? resolve() : void setImmediate(look));
    look();
  });

describe("the number of a boot", () => {
  it("is the time, and rises also when the clock was set back", async () => {
    expect((await open(1000)).incarnation).toBe(1000);
    expect((await open(5)).incarnation).toBe(1001);
    expect((await open(2000)).incarnation).toBe(2000);
    expect((await open(5, "wolf-2")).incarnation).toBe(5);
  });

  it.each(["", "soon", "-4", "9".repeat(40), "\0"])("starts anew after a file that says %j", async (text) => {
    mkdirSync(path.join(folder, "wolf-1"));
    writeFileSync(path.join(folder, "wolf-1", "incarnation"), text);
    expect((await open(7)).incarnation).toBe(7);
  });

  it("is kept where only its owner can read, whatever the folder around allows", async () => {
    mkdirSync(path.join(folder, "wolf-1"), { mode: 0o777 });
    await open(1);
    expect(statSync(path.join(folder, "wolf-1")).mode & 0o777).toBe(0o700);
    expect(readFileSync(path.join(folder, "wolf-1", "incarnation"), "utf8")).toBe("1\n");
  });

  it.each([
    ["is a file", (at: string) => writeFileSync(at, "")],
    [
      "holds a folder where the number belongs",
      (at: string) => mkdirSync(`${at}/incarnation`, { recursive: true }),
    ],
    [
      "holds a folder where the seat belongs",
      (at: string) => mkdirSync(`${at}/events.sock`, { recursive: true }),
    ],
  ])("cannot be had when the wolf's folder %s, and the error says where", async (_what, spoil) => {
    spoil(path.join(folder, "wolf-1"));
    await expect(open(1)).rejects.toBeInstanceOf(StateFolderUnusable);
    await expect(open(1)).rejects.toThrow(folder);
  });
});

describe("the seat at Wolf's events", () => {
  it("goes to the second when the first leaves, not before", async () => {
    const { seat: first } = await open(1);
    await first?.taken;
    expect(first?.wanted).toBe(false);
    const { seat: second } = await open(2);
    let taken = false;
    void second?.taken.then(() => (taken = true));
    await until(() => first?.wanted === true);
    expect([taken, second?.wanted]).toEqual([false, false]);
    first?.release();
    await second?.taken;
    expect(second?.wanted).toBe(false);
  });

  it("goes to exactly one of several that wait", async () => {
    const { seat: first } = await open(1);
    const waiting = [await open(2), await open(3), await open(4)];
    first?.release();
    let holders = 0;
    for (const { seat } of waiting) void seat?.taken.then(() => (holders += 1));
    await until(() => waiting.some(({ seat }) => seat?.wanted));
    expect(holders).toBe(1);
  });

  it("is free after its holder died and left the file behind", async () => {
    mkdirSync(path.join(folder, "wolf-1"));
    const socketPath = path.join(folder, "wolf-1", "events.sock");
    writeFileSync(socketPath, "");
    const { seat } = await open(1);
    await seat?.taken;
    const squatter = createServer();
    await new Promise((resolve) => squatter.on("error", resolve).listen(socketPath));
    expect(squatter.listening).toBe(false);
  });

  it("is never given to one that gave up", async () => {
    const { seat: first } = await open(1);
    const { seat: second } = await open(2);
    await until(() => first?.wanted === true);
    second?.release();
    await until(() => first?.wanted === false);
    first?.release();
    await (await open(3)).seat?.taken;
  });

  it("of one wolf is not that of another", async () => {
    const { seat } = await open(1);
    await (await open(1, "wolf-2")).seat?.taken;
    expect(seat?.wanted).toBe(false);
  });
});
