import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ManualClock } from "revdial/testing";
import { type HostState, openHostState, StateFolderUnusable } from "./host-state.ts";
import { createLogger } from "./logger.ts";
import { OtherWolfId } from "./seat.ts";
import type { Target } from "./target.ts";

const MINUTE_MS = 60_000;

let folder: string;
let clock: ManualClock;
let lines: { level: number; msg: string }[];
let ended: AbortController;
let states: HostState[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "hs-"));
  clock = new ManualClock();
  lines = [];
  ended = new AbortController();
  states = [];
});

afterEach(() => {
  ended.abort();
  for (const { seat } of states) seat?.release();
  rmSync(folder, { recursive: true, force: true });
});

const wolf: Target = { host: "localhost", port: 8080 };

async function open(nowMs: number, wolfId = "wolf-1", at = wolf, state = folder): Promise<HostState> {
  const log = createLogger("info", { write: (line) => void lines.push(JSON.parse(line)) });
  const opened = await openHostState({
    folder: state,
    wolfId,
    wolf: at,
    nowMs,
    clock,
    log,
    signal: ended.signal,
  });
  states.push(opened);
  return opened;
}

/** The folder of the only seat there is. */
function seatFolder(): string {
  const [name, ...more] = readdirSync(folder).filter((entry) => entry.startsWith(".seat-"));
  expect(more).toEqual([]);
  return path.join(folder, String(name));
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await clock.advance(0);
}

describe("the number of a boot", () => {
  it("is the time, and rises also when the clock was set back", async () => {
    expect((await open(1000)).incarnation).toBe(1000);
    expect((await open(5)).incarnation).toBe(1001);
    expect((await open(2000)).incarnation).toBe(2000);
    expect((await open(5, "wolf-2", { host: "localhost", port: 8081 })).incarnation).toBe(5);
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

  it("is had on a full disk too, with a warning and without a draft that stays", async () => {
    mkdirSync(path.join(folder, "wolf-1"));
    writeFileSync(path.join(folder, "wolf-1", "incarnation"), "3000\n");
    // What is written there meets ENOSPC.
    symlinkSync("/dev/full", path.join(folder, "wolf-1", `incarnation.${process.pid}`));
    expect((await open(1000)).incarnation).toBe(3001);
    expect(lines).toMatchObject([
      { level: 40, msg: "the disk is full: the number of this boot is not kept" },
    ]);
    expect(readdirSync(path.join(folder, "wolf-1"))).toEqual(["incarnation"]);
    expect(readFileSync(path.join(folder, "wolf-1", "incarnation"), "utf8")).toBe("3000\n");
  });

  it.each([
    ["ENOSPC", true],
    ["EDQUOT", true],
    ["EACCES", false],
    [undefined, false],
  ])("says of a folder that cannot be used for %s whether that passes", (code, passes) => {
    const cause = Object.assign(new Error("mkdir"), { code });
    expect(new StateFolderUnusable("cannot be used", { cause }).passes).toBe(passes);
  });

  it.each([
    ["is a file", (at: string) => writeFileSync(at, "")],
    [
      "holds a folder where the number belongs",
      (at: string) => mkdirSync(`${at}/incarnation`, { recursive: true }),
    ],
  ])("cannot be had when the wolf's folder %s, and the error says where", async (_what, spoil) => {
    spoil(path.join(folder, "wolf-1"));
    await expect(open(1)).rejects.toBeInstanceOf(StateFolderUnusable);
    await expect(open(1)).rejects.toThrow(folder);
  });

  it.each([
    ["/proc/nowhere", /\/proc\/nowhere/],
    ["/dev/null/below", /\/dev\/null\/below/],
    [`/${"x".repeat(100)}`, /\d+ bytes too long for the Unix sockets/],
  ])("cannot be had below %s, and the error says why", async (state, why) => {
    await expect(open(1, "wolf-1", wolf, state)).rejects.toBeInstanceOf(StateFolderUnusable);
    await expect(open(1, "wolf-1", wolf, state)).rejects.toThrow(why);
  });

  it("may have the longest path whose sockets still have names, and none longer", async () => {
    const longest = path.join(folder, "x".repeat(71 - folder.length - 1));
    await (await open(1, "wolf-1", wolf, longest)).seat?.taken;
    await expect(open(2, "wolf-1", wolf, `${longest}x`)).rejects.toThrow(/ 1 bytes too long/);
  });
});

describe("the seat at Wolf's events", () => {
  it("goes to the second when the first leaves, not before", async () => {
    const { seat: first } = await open(1);
    expect(await first?.taken).toBe(false);
    expect(first?.wanted).toBe(false);
    const { seat: second } = await open(2);
    let taken: boolean | undefined;
    void second?.taken.then((waited) => (taken = waited));
    expect([first?.wanted, taken, second?.wanted]).toEqual([true, undefined, false]);
    first?.release();
    await until(() => taken !== undefined);
    expect([taken, second?.wanted]).toEqual([true, false]);
    expect(lines).toMatchObject([{ level: 30, msg: expect.stringContaining("waits for Wolf's events") }]);
  });

  it("goes to exactly one of several that wait: the one that came first, who is wanted by the others", async () => {
    const { seat: first } = await open(1);
    const waiting = [await open(2), await open(3), await open(4)];
    expect(waiting.map(({ seat }) => seat?.wanted)).toEqual([true, true, false]);
    const holders: number[] = [];
    for (const [at, { seat }] of waiting.entries()) void seat?.taken.then(() => holders.push(at));
    first?.release();
    await until(() => holders.length > 0);
    waiting[1]?.seat?.release();
    waiting[0]?.seat?.release();
    await until(() => holders.length > 1);
    expect(holders).toEqual([0, 2]);
  });

  it("is not free at once after its holder died: the kernel may not have closed its other sockets yet", async () => {
    await open(1);
    states[0]?.seat?.release();
    // What a holder that was killed leaves behind: a file that nobody listens on.
    writeFileSync(path.join(seatFolder(), "7-0123abcd"), "");
    const { seat } = await open(2);
    let taken = false;
    void seat?.taken.then(() => (taken = true));
    await clock.advance(999);
    expect(taken).toBe(false);
    await clock.advance(1);
    expect(await seat?.taken).toBe(true);
    expect(readdirSync(seatFolder())).toMatchObject([expect.stringMatching(/^8-/)]);
  });

  it("is kept from one that cannot tell whether it is free; it says so once and looks again", async () => {
    await open(1);
    states[0]?.seat?.release();
    const odd = path.join(seatFolder(), "7-0123abcd");
    // A link to itself: neither there nor gone.
    symlinkSync(odd, odd);
    const opening = open(2);
    await until(() => lines.length > 0);
    for (let second = 0; second < 60; second += 1) await clock.advance(1000);
    const { seat } = await opening;
    let taken = false;
    void seat?.taken.then(() => (taken = true));
    expect([taken, lines]).toMatchObject([false, [{ level: 40, code: "ELOOP" }]]);
    rmSync(odd);
    while (!taken) await clock.advance(1000);
  });

  it("is never given to one that gave up", async () => {
    const { seat: first } = await open(1);
    const { seat: second } = await open(2);
    second?.release();
    await until(() => first?.wanted === false);
    first?.release();
    expect(await (await open(3)).seat?.taken).toBe(false);
    expect(readdirSync(seatFolder())).toHaveLength(1);
  });

  it("is that of Wolf, by whatever name: an agent with another name is refused while one is there, and not after", async () => {
    const links = path.join(folder, "links");
    mkdirSync(path.join(folder, "run"));
    symlinkSync(path.join(folder, "run"), links);
    mkdirSync(path.join(folder, "run", "wolf"));
    // Wolf makes its socket when it starts.
    const byLink: Target = { socketPath: path.join(links, "wolf", "wolf.sock") };
    const direct: Target = { socketPath: path.join(folder, "run", "wolf", "wolf.sock") };
    const { seat } = await open(1, "old-name", byLink);
    writeFileSync(direct.socketPath, "");
    await expect(open(1, "new-name", direct)).rejects.toThrow(OtherWolfId);
    await expect(open(1, "new-name", direct)).rejects.toThrow("as old-name");
    await until(() => seat?.wanted === false);
    seat?.release();
    expect(await (await open(1, "new-name", direct)).seat?.taken).toBe(false);
  });

  it("is one through a link to a socket that Wolf has not made yet, and after it has", async () => {
    mkdirSync(path.join(folder, "run"));
    const link: Target = { socketPath: path.join(folder, "wolf.sock") };
    symlinkSync("run/wolf.sock", link.socketPath);
    const { seat } = await open(1, "wolf-1", link);
    writeFileSync(path.join(folder, "run", "wolf.sock"), "");
    await open(2, "wolf-1", link);
    await open(3, "wolf-1", { socketPath: path.join(folder, "run", "wolf.sock") });
    expect([seat?.wanted, states[1]?.seat?.wanted]).toEqual([true, true]);
    expect(seatFolder()).toContain(".seat-");
  });

  it("is that of the folder, not of its path: one Wolf at two paths has one, two Wolfs at one path have two", async () => {
    const at: Target = { socketPath: path.join(folder, "run", "wolf.sock") };
    mkdirSync(path.join(folder, "run"));
    const { seat } = await open(1, "wolf-1", at);
    renameSync(path.join(folder, "run"), path.join(folder, "elsewhere"));
    mkdirSync(path.join(folder, "run"));
    const moved: Target = { socketPath: path.join(folder, "elsewhere", "wolf.sock") };
    await expect(open(2, "wolf-2", moved)).rejects.toThrow("as wolf-1");
    expect(await (await open(3, "wolf-2", at)).seat?.taken).toBe(false);
    await open(4, "wolf-1", moved);
    expect(seat?.wanted).toBe(true);
  });

  it("whose Wolf lies in a folder that was made anew is an error in the log, once", async () => {
    const run = path.join(folder, "run");
    mkdirSync(run);
    await open(1, "wolf-1", { socketPath: path.join(run, "wolf.sock") });
    renameSync(run, path.join(folder, "old"));
    await clock.advance(MINUTE_MS);
    expect(lines).toEqual([]);
    mkdirSync(run);
    for (let minute = 0; minute < 3; minute += 1) await clock.advance(MINUTE_MS);
    expect(lines).toMatchObject([{ level: 50, msg: expect.stringContaining("was made anew") }]);
  });

  it("is waited for while Wolf has no folder, then is one for all that waited", async () => {
    const at: Target = { socketPath: path.join(folder, "run", "wolf", "wolf.sock") };
    const both = [(await open(1, "wolf-1", at)).seat, (await open(2, "wolf-1", at)).seat];
    const holders: number[] = [];
    for (const [index, seat] of both.entries()) void seat?.taken.then(() => holders.push(index));
    await clock.advance(5000);
    expect([holders, both.map((seat) => seat?.wanted)]).toEqual([[], [false, false]]);
    expect(lines.map(({ msg }) => msg)).toEqual(Array(2).fill(expect.stringContaining("is not there")));
    mkdirSync(path.dirname(at.socketPath), { recursive: true });
    while (!both.some((seat) => seat?.wanted)) await clock.advance(1000);
    await until(() => holders.length > 0);
    expect(holders).toHaveLength(1);
    both[holders[0] as number]?.release();
    await until(() => holders.length > 1);
    expect(new Set(holders).size).toBe(2);
  });

  it("is not taken under a second name by one that waited for Wolf's folder; it says so once", async () => {
    const at: Target = { socketPath: path.join(folder, "run", "wolf.sock") };
    const { seat: late } = await open(1, "new-name", at);
    mkdirSync(path.join(folder, "run"));
    const { seat } = await open(2, "old-name", at);
    let taken = false;
    void late?.taken.then(() => (taken = true));
    const errors = () => lines.filter(({ level }) => level === 50);
    while (errors().length === 0) await clock.advance(1000);
    for (let second = 0; second < 5; second += 1) await clock.advance(1000);
    expect([taken, errors()]).toMatchObject([
      false,
      [{ err: { message: expect.stringContaining("as old-name") } }],
    ]);
    await until(() => seat?.wanted === false);
    seat?.release();
    while (!taken) await clock.advance(1000);
  });

  it("is given up by one that is stopped before Wolf has a folder", async () => {
    const at: Target = { socketPath: path.join(folder, "run", "wolf.sock") };
    const { seat: late } = await open(1, "wolf-1", at);
    late?.release();
    mkdirSync(path.join(folder, "run"));
    await clock.advance(5000);
    expect(await (await open(2, "wolf-2", at)).seat?.taken).toBe(false);
    expect(readdirSync(seatFolder())).toHaveLength(1);
  });

  it.each([
    ["127.0.0.1", "localhost"],
    ["::1", "LOCALHOST"],
    ["Wolf.lan", "wolf.LAN"],
  ])("of a Wolf at %s is that of the one at %s, port for port", async (one, other) => {
    const { seat } = await open(1, "wolf-1", { host: one, port: 8080 });
    await open(2, "wolf-1", { host: other, port: 8080 });
    expect(seat?.wanted).toBe(true);
    expect(await (await open(3, "wolf-2", { host: other, port: 8081 })).seat?.taken).toBe(false);
  });

  it("whose file is gone is an error in the log: a new agent could not see it", async () => {
    await open(1);
    await clock.advance(MINUTE_MS);
    expect(lines).toEqual([]);
    rmSync(seatFolder(), { recursive: true });
    for (let minute = 0; minute < 5; minute += 1) await clock.advance(MINUTE_MS);
    expect(lines).toMatchObject([{ level: 50, msg: expect.stringContaining("state directory was emptied") }]);
  });
});
