import { describe, expect, it } from "@jest/globals";
import type { Replica } from "@wolfpack/api-contract";
import type { AgentsSeen } from "./facts.ts";
import * as found from "./findings.ts";

const now = new Date("2026-11-23T12:00:00.000Z");
const ago = (ms: number) => new Date(now.getTime() - ms);
const GIB = 1024 ** 3;
const some = (count: number, ...names: string[]) => ({ count, names });

describe("what the checks of the database find", () => {
  it("is slow from 250 ms and has failed from 2 s", () => {
    expect([0, 249, 250, 1999, 2000].map((ms) => found.databaseFinding(ms).status)).toEqual([
      "ok",
      "ok",
      "warning",
      "warning",
      "failed",
    ]);
  });

  it("is a failure while a migration is missing or unfinished, and a warning when a newer version was here", () => {
    const done = (name: string) => ({ name, finished: true });
    expect(found.migrationsFinding(["a", "b"], [done("a"), done("b")]).status).toBe("ok");
    expect(found.migrationsFinding(["a", "b"], [done("a")])).toMatchObject({
      status: "failed",
      detail: "Not applied: b.",
    });
    expect(found.migrationsFinding(["a", "b"], [done("a"), { name: "b", finished: false }])).toMatchObject({
      status: "failed",
      detail: "Not finished: b.",
    });
    expect(found.migrationsFinding(["a"], [done("a"), done("z")]).status).toBe("warning");
    expect(found.migrationsFinding(["a"], []).status).toBe("failed");
  });

  it("takes no clock for wrong that was right at some moment of the question", () => {
    expect(found.skewFinding(ago(3000), now, ago(1500)).status).toBe("ok");
    expect(found.skewFinding(now, now, ago(999)).status).toBe("ok");
    expect(found.skewFinding(now, now, ago(1000))).toEqual({
      status: "warning",
      detail: "PostgreSQL's clock is 1 s behind this replica's.",
    });
    expect(found.skewFinding(ago(60_000), ago(60_000), ago(20_000))).toEqual({
      status: "failed",
      detail: "PostgreSQL's clock is 40 s ahead of this replica's.",
    });
  });

  it("counts what is left of a disk in bytes and in shares, and does not judge a disk it cannot see", () => {
    const storage = { databaseBytes: 3 * GIB, oldestEventAt: ago(86_400_000) };
    const left = (freeBytes: number, totalBytes: number) =>
      found.storageFinding(storage, { now, disk: { freeBytes, totalBytes } }).status;
    expect(left(50 * GIB, 100 * GIB)).toBe("ok");
    expect(left(9 * GIB, 100 * GIB)).toBe("warning");
    expect(left(1.9 * GIB, 4 * GIB)).toBe("warning");
    expect(left(0.4 * GIB, 1 * GIB)).toBe("failed");
    expect(left(0, 0)).toBe("failed");
    expect(found.storageFinding(storage, { now, disk: undefined })).toEqual({
      status: "ok",
      detail: "The database has 3.0 GiB.",
    });
  });

  it("sees by the oldest event that nobody removes what has expired", () => {
    const old = (days: number) =>
      found.storageFinding(
        { databaseBytes: 0, oldestEventAt: ago(days * 86_400_000) },
        { now, disk: undefined },
      ).status;
    expect([old(30.5), old(31)]).toEqual(["ok", "warning"]);
    expect(
      found.storageFinding({ databaseBytes: 0, oldestEventAt: null }, { now, disk: undefined }).status,
    ).toBe("ok");
  });
});

describe("what the checks of the process find", () => {
  const replica = (version: string): Replica => ({
    id: "rep_1",
    version,
    started_at: now.toISOString(),
    is_self: true,
    tunnels: 0,
    draining: false,
  });

  it("warns of replicas of different versions", () => {
    expect(found.replicasFinding([replica("0.1.0"), replica("0.1.0")])).toEqual({
      status: "ok",
      detail: "2 replicas, version 0.1.0.",
    });
    expect(found.replicasFinding([replica("0.2.0"), replica("0.1.0")])).toEqual({
      status: "warning",
      detail: "2 replicas of different versions: 0.1.0, 0.2.0.",
    });
  });

  it("says nothing of replicas where only the one that was asked is known", () => {
    const { status, detail } = found.replicasFinding([replica("0.1.0")]);
    expect([status, detail]).toEqual(["skipped", "This replica has version 0.1.0, and knows of no other."]);
  });

  it("warns of an event loop that is often late, and of one that stood still once", () => {
    const loop = (p99Ms: number, maxMs: number) => found.loopFinding({ p99Ms, maxMs }).status;
    expect([loop(0, 0), loop(99, 999), loop(100, 100), loop(5, 1000), loop(1000, 1000)]).toEqual([
      "ok",
      "ok",
      "warning",
      "warning",
      "failed",
    ]);
  });
});

describe("what the checks of the fleet find", () => {
  const limits = { now, lengthMax: 10, waitMs: 60_000 };

  it("is a queue that is nearly full, or whose first has waited for long", () => {
    const queue = (length: number, ageMs: number) =>
      found.queueFinding({ length, oldestAt: ago(ageMs) }, limits).status;
    expect([queue(7, 29_000), queue(8, 0), queue(1, 30_000), queue(10, 0)]).toEqual([
      "ok",
      "warning",
      "warning",
      "failed",
    ]);
    expect(found.queueFinding({ length: 0, oldestAt: null }, limits).status).toBe("ok");
  });

  it("bears a queue whose limit is nothing, and one whose first is from the future", () => {
    const bare = found.queueFinding({ length: 1, oldestAt: ago(-5000) }, { ...limits, lengthMax: 0 });
    expect(bare).toEqual({
      status: "ok",
      detail: "1 of at most 0 wait, the first for 0 ms of at most 60 s.",
    });
  });

  it("has failed while evictions are frozen, and warns while an operator's word holds", () => {
    const wolves = { connected: 1, suspect: 0, lost: 3 };
    const state = (frozenSince: Date | null, overrideUntil: Date | null) =>
      found.evictionsFinding({ frozenSince, overrideUntil, wolves }, now).status;
    expect([state(null, null), state(ago(1), null), state(null, ago(-1)), state(null, ago(1))]).toEqual([
      "ok",
      "failed",
      "warning",
      "ok",
    ]);
  });

  it("names wolves that are away or not well, and has failed when most are away", () => {
    const none = some(0);
    expect(found.wolvesFinding({ expected: 0, connected: 0, away: none, unwell: none }).status).toBe("ok");
    expect(
      found.wolvesFinding({ expected: 9, connected: 8, away: some(1, "gpu-1"), unwell: some(7, "gpu-2") }),
    ).toEqual({
      status: "warning",
      detail: "8 of 9 wolves are connected. Suspect or lost: gpu-1. Not well: gpu-2 and 6 more.",
    });
    expect(
      found.wolvesFinding({ expected: 2, connected: 1, away: some(1, "gpu-1"), unwell: none }).status,
    ).toBe("warning");
    expect(
      found.wolvesFinding({ expected: 3, connected: 1, away: some(2, "a", "b"), unwell: none }).status,
    ).toBe("failed");
  });

  it("warns of tunnels that stand on the shared token, and of the door for them", () => {
    expect(found.legacyFinding(some(0), false).status).toBe("ok");
    expect(found.legacyFinding(some(0), true).status).toBe("warning");
    expect(found.legacyFinding(some(2, "gpu-1", "gpu-2"), true).detail).toContain("gpu-1, gpu-2");
  });
});

describe("clocks of hosts", () => {
  const clocks = (known: number, offsetMs: number, ...off: string[]) =>
    found.clocksFinding({ known, off: some(off.length, ...off), worst: { name: "gpu-1", offsetMs } });

  it("are a warning from 30 s, ahead or behind, and name the worst host", () => {
    expect([29_999, -29_999, 30_000, -30_000, 299_000].map((ms) => clocks(1, ms).status)).toEqual([
      "ok",
      "ok",
      "warning",
      "warning",
      "warning",
    ]);
    expect(clocks(1, -45_600, "gpu-1").detail).toBe("The clock of gpu-1 is 45 s behind.");
    expect(clocks(9, 120_000, "gpu-1", "gpu-2").detail).toBe(
      "Of 9 clocks that of gpu-1 is worst, 2 min ahead. 2 are off by 30 s or more: gpu-1, gpu-2.",
    );
    expect(clocks(3, 0).detail).toBe("Of 3 clocks that of gpu-1 is worst, less than 1 s off.");
  });

  it("are nothing to judge where no agent has signed its time", () => {
    const none = found.clocksFinding({ known: 0, off: some(0), worst: undefined });
    expect([none.status, none.detail]).toEqual([
      "skipped",
      "No agent is connected with a key of its own, so no host's clock is known.",
    ]);
  });
});

describe("versions of agents", () => {
  const agents = (version: string | null, count = 1, protocol = "revdial"): AgentsSeen => ({
    version,
    protocol,
    agents: some(count, "gpu-1"),
  });

  it("are compared by their numbers, not by their letters", () => {
    const [nine, ten] = [found.versionOf("0.9.0"), found.versionOf("v0.10.0-rc.1")];
    expect([nine, ten]).toEqual([
      [0, 9, 0],
      [0, 10, 0],
    ]);
    expect(
      nine && ten && [found.isOlder(nine, ten), found.isOlder(ten, nine), found.isOlder(ten, ten)],
    ).toEqual([true, false, false]);
  });

  it("may be anything at all, and are then not known", () => {
    for (const text of ["", "latest", "1.2", "1.2.3.4.5x", "9999999.0.0", "1.2.-3", "1.2.3<b>", " 1.2.3"])
      expect([text, found.versionOf(text)]).toEqual([text, text === "1.2.3.4.5x" ? [1, 2, 3] : undefined]);
    expect(found.agentsFinding([agents("latest"), agents(null)], "0.1.0")).toMatchObject({
      status: "warning",
      detail: expect.stringContaining("not known: latest (gpu-1); none (gpu-1)"),
    });
  });

  it("warn where agents are older or newer, and do not judge agents of Helix", () => {
    const status = (...seen: AgentsSeen[]) => found.agentsFinding(seen, "0.2.0").status;
    expect(status()).toBe("ok");
    expect(status(agents("0.2.0", 10), agents("2.11.0", 3, "helix"), agents(null, 1, "helix"))).toBe("ok");
    expect([status(agents("0.1.9")), status(agents("0.2.1"))]).toEqual(["warning", "warning"]);
    expect(found.agentsFinding([agents("0.2.0", 5), agents("0.1.0", 2)], "0.2.0").detail).toBe(
      "7 agents are connected, this control plane is 0.2.0. 2 are older: 0.1.0 (gpu-1 and 1 more).",
    );
  });
});
