import { beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { parseRevocation } from "./revocation-store.prisma.ts";
import { createRevocations, type Revocation, type Revocations } from "./revocations.ts";

const revocation = (id: string, objectId = "key_1"): Revocation => ({ id, kind: "api-key", objectId });

let clock: ManualClock;
let rows: (Revocation & { at: Date })[];
let asked: (Date | undefined)[];
let databaseIsDown: boolean;
let lines: string[];
let revocations: Revocations;
let effects: string[];

beforeEach(() => {
  clock = manualClock();
  rows = [];
  asked = [];
  databaseIsDown = false;
  lines = [];
  effects = [];
  revocations = createRevocations({
    store: {
      async recent(since) {
        asked.push(since);
        if (databaseIsDown) throw new Error("the database is down");
        return { now: clock.now(), revocations: since ? rows.filter(({ at }) => at > since) : [] };
      },
      prune: async () => undefined,
    },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
  });
  revocations.onRevoked((kind, objectId) => void effects.push(`${kind} ${objectId}`));
});

/** What promises wait for, and nothing of the clock. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.advance(1000);
    await settle();
  }
}
const write = (id: string, objectId?: string) => rows.push({ ...revocation(id, objectId), at: clock.now() });

describe("a revocation", () => {
  it("takes effect as soon as the database tells of it, and once", async () => {
    await revocations.start();
    write("rvc_1");
    revocations.hear(revocation("rvc_1"));
    expect(effects).toEqual(["api-key key_1"]);
    await pass(30);
    expect(effects).toEqual(["api-key key_1"]);
  });

  it("of which nobody told takes effect within a second", async () => {
    await revocations.start();
    await pass(5);
    write("rvc_1");
    expect(effects).toEqual([]);
    await pass(1);
    expect(effects).toEqual(["api-key key_1"]);
  });

  it("that became visible seconds after its time takes effect nevertheless", async () => {
    await revocations.start();
    const at = clock.now();
    await pass(9);
    rows.push({ ...revocation("rvc_late"), at });
    await pass(1);
    expect(effects).toEqual(["api-key key_1"]);
  });

  it("from a time in which the database could not be asked takes effect when it can", async () => {
    await revocations.start();
    databaseIsDown = true;
    await pass(60);
    write("rvc_1");
    await pass(60);
    expect(effects).toEqual([]);
    databaseIsDown = false;
    await pass(1);
    expect(effects).toEqual(["api-key key_1"]);
    // One line for an outage, not one a second.
    expect(lines.filter((line) => line.includes("cannot be asked"))).toHaveLength(1);
  });

  it("from before the start is none of ours", async () => {
    write("rvc_1");
    await revocations.start();
    expect(effects).toEqual([]);
  });

  it("of this replica takes effect at once", () => {
    revocations.tell("user", "usr_1");
    expect(effects).toEqual(["user usr_1"]);
  });
});

describe("what was looked up", () => {
  it("is from before a revocation only where that came after the mark, and concerns it", () => {
    const before = revocations.mark();
    revocations.hear(revocation("rvc_1", "key_1"));
    const after = revocations.mark();
    expect(revocations.revokedSince(before, ["usr_1", "key_1"])).toBe(true);
    expect(revocations.revokedSince(before, ["usr_1", "key_2"])).toBe(false);
    expect(revocations.revokedSince(after, ["key_1"])).toBe(false);
  });

  it("counts as revoked when more has been revoked since than is remembered", () => {
    const before = revocations.mark();
    revocations.tell("api-key", "key_first");
    const between = revocations.mark();
    for (let i = 0; i < 10_000; i += 1) revocations.tell("api-key", `key_${i}`);
    expect(revocations.revokedSince(before, ["key_other"])).toBe(true);
    expect(revocations.revokedSince(between, ["key_other"])).toBe(false);
  });

  it("is up to date while the database answers", async () => {
    expect(revocations.upToDate()).toBe(false);
    await revocations.start();
    await pass(10);
    expect(revocations.upToDate()).toBe(true);
    databaseIsDown = true;
    await pass(2);
    expect(revocations.upToDate()).toBe(false);
    databaseIsDown = false;
    await pass(1);
    expect(revocations.upToDate()).toBe(true);
  });
});

describe("the watch for revocations", () => {
  it("leaves no timer behind", async () => {
    await revocations.start();
    await pass(3);
    await revocations.stop();
    await settle();
    expect(clock.pending).toBe(0);
  });

  it("reads of a notification what it wrote, and nothing else", () => {
    expect(parseRevocation("rvc_1 agent-key agk_1")).toEqual({
      id: "rvc_1",
      kind: "agent-key",
      objectId: "agk_1",
    });
    for (const payload of ["", "rvc_1", "rvc_1 api-key", "rvc_1 thing x", " api-key x", "a api-key b c"])
      expect(parseRevocation(payload)).toBeUndefined();
  });
});
