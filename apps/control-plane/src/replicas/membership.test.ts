import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { pause } from "../clock.ts";
import { createLogger } from "../logger.ts";
import { createMembership, type Membership, type MembershipOptions, RefusedReplica } from "./membership.ts";
import { memoryReplicaStore } from "./replica-store.memory.ts";
import type { ReplicaStore } from "./replica-store.ts";

const LEASE_MS = 10_000;
const RENEWAL_MS = LEASE_MS / 5;
const [A, B] = ["A", "B"].map((letter) => `rep_01KB00000000000000000000${letter}0`) as [string, string];

let clock: ManualClock;
let rows: ReplicaStore;
let down: boolean;
let lines: string[];
let running: Membership[];

beforeEach(() => {
  clock = manualClock();
  rows = memoryReplicaStore(clock);
  down = false;
  lines = [];
  running = [];
});

afterEach(async () => {
  down = false;
  for (const membership of running) await membership.stop();
});

interface Made {
  membership: Membership;
  fenced: number;
  cutOff: number;
  gone: string[];
  peers: number;
}

/** With a database of which it may be cut off by itself. */
function make(id: string, changes: Partial<MembershipOptions> = {}, isCut = () => false): Made {
  const guard =
    <Args extends unknown[], Result>(run: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      if (down || isCut()) throw new Error("no database");
      return run(...args);
    };
  const { join, renew, leave, live, has, reap } = rows;
  const made: Made = { membership: undefined as never, fenced: 0, cutOff: 0, gone: [], peers: 0 };
  made.membership = createMembership({
    store: {
      join: guard(join),
      renew: guard(renew),
      leave: guard(leave),
      live: guard(live),
      has: guard(has),
      reap: guard(reap),
    },
    self: {
      id,
      url: `http://${id}:8080`,
      version: "1",
      startedAt: clock.now(),
      secretPrint: "print",
      steps: [],
    },
    leaseMs: LEASE_MS,
    clock,
    log: createLogger("debug", { write: (line) => void lines.push(line) }),
    draining: () => false,
    tunnels: () => 3,
    answers: async () => false,
    saysGone: async () => false,
    onFenced: () => {
      made.fenced += 1;
    },
    onCutOff: () => {
      made.cutOff += 1;
    },
    onGone: async (ids) => void made.gone.push(...ids),
    onPeers: () => {
      made.peers += 1;
    },
    ...changes,
  });
  running.push(made.membership);
  return made;
}

/** A row whose lease has ended with the next renewal, of a replica that nobody can reach. */
function joinsForAMoment(id: string) {
  const startedAt = clock.now();
  return rows.join({ id, url: null, version: "1", startedAt, secretPrint: "print", steps: [], leaseMs: 1 });
}

/** In steps, so that each renewal ends before the next begins. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= RENEWAL_MS) {
    clock.advance(Math.min(left, RENEWAL_MS));
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  }
}

describe("a replica among others", () => {
  it("stays for as long as it renews its lease, and knows who else is there", async () => {
    const [a, b] = [make(A), make(B)];
    await a.membership.start();
    await b.membership.start();
    expect([a.membership.peers, b.membership.peers]).toEqual([[], [{ id: A, url: `http://${A}:8080` }]]);
    await pass(RENEWAL_MS);
    expect(a.membership.peer(B)).toEqual({ id: B, url: `http://${B}:8080` });
    await pass(20 * LEASE_MS);
    expect((await a.membership.list()).map(({ id, tunnels }) => [id, tunnels])).toEqual([
      [A, 3],
      [B, 3],
    ]);
    expect([a.gone, b.gone, a.fenced, b.fenced]).toEqual([[], [], 0, 0]);
  });

  it("is gone at once when it stops, and at the end of its lease when it dies", async () => {
    const a = make(A);
    let dead = false;
    const b = make(B, {}, () => dead);
    await a.membership.start();
    await b.membership.start();
    await pass(LEASE_MS);
    dead = true;
    await pass(LEASE_MS - RENEWAL_MS);
    expect(a.gone).toEqual([]);
    await pass(2 * RENEWAL_MS);
    expect([a.gone, a.membership.peers]).toEqual([[B], []]);
    dead = false;
    await pass(RENEWAL_MS);
    expect(b.fenced).toBe(1);
    await b.membership.stop();
    await pass(RENEWAL_MS);
    expect([a.membership.peers, a.gone]).toEqual([[], [B]]);
  });

  it("that finds its row removed says so, begins anew, and is heard again", async () => {
    const a = make(A);
    await a.membership.start();
    await rows.leave(A);
    await pass(RENEWAL_MS);
    expect(a.fenced).toBe(1);
    expect(lines.join("")).toContain("was taken for gone");
    expect((await rows.live()).map(({ id }) => id)).toEqual([A]);
    await pass(3 * LEASE_MS);
    expect(a.fenced).toBe(1);
  });

  it("removes nobody before it could renew its own lease for a whole one", async () => {
    const dead = make("rep_01KB00000000000000000000Z0");
    await dead.membership.start();
    await dead.membership.stop();
    await joinsForAMoment(B);
    await pass(RENEWAL_MS);
    const a = make(A);
    await a.membership.start();
    await pass(LEASE_MS - RENEWAL_MS);
    expect(a.gone).toEqual([]);
    await pass(RENEWAL_MS);
    expect(a.gone).toEqual([B]);
  });

  it("outlives 60 s without a database, and takes nobody for gone who does too", async () => {
    const [a, b] = [make(A), make(B)];
    await a.membership.start();
    await b.membership.start();
    await pass(2 * LEASE_MS);
    down = true;
    await pass(60_000);
    expect([a.membership.expired(), a.membership.peer(B)?.id]).toEqual([true, B]);
    await expect(a.membership.lives("rep_01KB00000000000000000000X0")).rejects.toThrow("no database");
    down = false;
    await pass(3 * LEASE_MS);
    expect([a.gone, b.gone, a.fenced, b.fenced]).toEqual([[], [], 0, 0]);
    expect(a.membership.expired()).toBe(false);
    expect(lines.filter((line) => line.includes("is not renewed"))).toHaveLength(2);
  });

  it("goes by how much time has passed, and not by a clock that is set", async () => {
    let aheadMs = 0;
    const stepping = { ...clock, now: () => new Date(clock.now().getTime() + aheadMs) };
    const a = make(A, { clock: stepping });
    await a.membership.start();
    aheadMs = 3_600_000;
    expect(a.membership.expired()).toBe(false);
    down = true;
    aheadMs = -3_600_000;
    await pass(LEASE_MS);
    expect(a.membership.expired()).toBe(true);
  });

  it("tells again of those that are gone until it was heard", async () => {
    const told: string[][] = [];
    const a = make(A, {
      onGone: async (ids) => {
        told.push([...ids]);
        if (told.length < 3) throw new Error("no database");
      },
    });
    await a.membership.start();
    await joinsForAMoment(B);
    await pass(5 * LEASE_MS);
    expect(told).toEqual([[B], [B], [B]]);
  });

  it("asks the database for whoever it has not seen yet", async () => {
    const [a, b] = [make(A), make(B)];
    await a.membership.start();
    await b.membership.start();
    expect(a.membership.peer(B)).toBeUndefined();
    expect([await a.membership.lives(B), await a.membership.lives("rep_01KB00000000000000000000X0")]).toEqual(
      [true, false],
    );
  });
});

describe("a replica without its database", () => {
  /** Two, of which the second may be cut off; each asks the other. */
  async function pair() {
    let cut = false;
    const asked: string[] = [];
    const asks = (other: () => Made, id: string) => async (peer: { id: string }) => {
      asked.push(peer.id);
      return other()
        .membership.knows(id)
        .then(
          (known) => !known,
          () => false,
        );
    };
    const a: Made = make(A, { saysGone: asks(() => b, A) });
    const b: Made = make(B, { saysGone: asks(() => a, B) }, () => cut);
    await a.membership.start();
    await b.membership.start();
    await pass(2 * LEASE_MS);
    return {
      a,
      b,
      asked,
      cut: (now: boolean) => {
        cut = now;
      },
    };
  }

  it("that others took for gone, for they have theirs, sends its tunnels away, once, and begins anew when it can", async () => {
    const { a, b, asked, cut } = await pair();
    cut(true);
    await pass(LEASE_MS - RENEWAL_MS);
    expect([asked, b.cutOff]).toEqual([[], 0]);
    await pass(3 * RENEWAL_MS);
    expect([a.gone, new Set(asked), b.cutOff]).toEqual([[B], new Set([A]), 1]);
    await pass(3 * LEASE_MS);
    expect([b.cutOff, b.fenced]).toEqual([1, 0]);
    expect(lines.filter((line) => line.includes("does not reach its database"))).toHaveLength(1);
    cut(false);
    await pass(RENEWAL_MS);
    expect([b.fenced, a.fenced, a.cutOff]).toEqual([1, 0, 0]);
    expect((await rows.live()).map(({ id }) => id)).toEqual([A, B]);
    cut(true);
    await pass(2 * LEASE_MS);
    expect(b.cutOff).toBe(2);
  });

  it("keeps its tunnels where nobody has one, and where one that has it again has not taken it for gone", async () => {
    const { a, b, asked, cut } = await pair();
    down = true;
    await pass(3 * LEASE_MS);
    expect([new Set(asked), a.cutOff, b.cutOff]).toEqual([new Set([A, B]), 0, 0]);
    // Its lease has ended for the database too, and nobody has had one for long enough to say more.
    cut(true);
    down = false;
    await pass(LEASE_MS - RENEWAL_MS);
    expect([a.gone, b.cutOff]).toEqual([[], 0]);
    cut(false);
    await pass(RENEWAL_MS);
    expect([b.fenced, b.membership.expired()]).toEqual([0, false]);
  });

  it("says so once, also where a turn from before ends late and well", async () => {
    let cut = false;
    const reaping = Promise.withResolvers<string[]>();
    const store = { ...rows, reap: () => reaping.promise };
    const b = make(B, { store, saysGone: async () => cut });
    await make(A).membership.start();
    await b.membership.start();
    // It waits amid its turn from now on.
    await pass(LEASE_MS);
    cut = true;
    await pass(2 * LEASE_MS);
    reaping.resolve([]);
    await pass(0.5 * RENEWAL_MS);
    expect(b.cutOff).toBe(1);
  });

  it("asks nobody any more when it stops", async () => {
    const { b, asked, cut } = await pair();
    cut(true);
    await b.membership.stop();
    await pass(3 * LEASE_MS);
    expect([asked, b.cutOff]).toEqual([[], 0]);
  });
});

describe("a replica that may not be one", () => {
  it("is refused with another secret, by its name and what to do", async () => {
    await make(A).membership.start();
    const other = make(B, {
      self: {
        id: B,
        url: "http://b",
        version: "1",
        startedAt: clock.now(),
        secretPrint: "another",
        steps: [],
      },
    });
    const refused = await other.membership.start().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RefusedReplica);
    expect((refused as Error).message).toContain(`Replica ${A} of this database has another API_KEY_SECRET`);
    expect(other.membership.expired()).toBe(false);
    await other.membership.stop();
    expect((await rows.live()).map(({ id }) => id)).toEqual([A]);
  });

  const atSame = (id: string) => ({
    self: {
      id,
      url: "http://same",
      version: "1",
      startedAt: clock.now(),
      secretPrint: "print",
      steps: [],
    },
  });
  const live = async () => (await rows.live()).map(({ id }) => id);

  it("hears of one that has just come from a database that answers late, and waits for none that does not", async () => {
    let lateMs = 0;
    const live = async () => {
      if (lateMs > 0) await pause(clock, lateMs);
      return rows.live();
    };
    const a = make(A, { store: { ...rows, live } });
    await a.membership.start();
    lateMs = 60_000;
    const alone = a.membership.hasOthers();
    clock.advance(4000);
    expect(await alone).toBe(false);
    const { self } = atSame(B);
    await rows.join({ ...self, leaseMs: LEASE_MS });
    lateMs = 3500;
    const others = a.membership.hasOthers();
    clock.advance(3500);
    expect(await others).toBe(true);
    // What is asked still is answered, so that it can end.
    lateMs = 0;
    clock.advance(60_000);
  });

  it("is refused at a URL where another one answers, after the time that one has to leave it", async () => {
    const a = make(A, atSame(A));
    await a.membership.start();
    const asked: unknown[] = [];
    const answers: MembershipOptions["answers"] = async (owner) => asked.push(owner) > 0;
    const refused = make(B, { ...atSame(B), answers })
      .membership.start()
      .catch((error: unknown) => error);
    for (let looks = 0; looks < 22; looks += 1) await pass(500);
    expect(await refused).toMatchObject({
      code: "URL_TAKEN",
      message: expect.stringContaining(`${A} lives at`),
    });
    expect(asked).toContainEqual({ id: A, url: "http://same" });
    expect([await live(), a.fenced]).toEqual([[A], 0]);
  });

  it("takes its URL when the other one leaves it in time", async () => {
    const a = make(A, atSame(A));
    await a.membership.start();
    const started = make(B, { ...atSame(B), answers: async () => true }).membership.start();
    await pass(RENEWAL_MS);
    await a.membership.stop();
    await pass(RENEWAL_MS);
    await started;
    expect(await live()).toEqual([B]);
  });

  it("takes the URL of one that was killed at once, without waiting for the end of its lease", async () => {
    let dead = false;
    await make(A, atSame(A), () => dead).membership.start();
    dead = true;
    await make(B, atSame(B)).membership.start();
    expect(await live()).toEqual([B]);
  });

  it("gives way once to another that has taken its URL, and does not take it back while that one lives", async () => {
    const [a, b] = [make(A, atSame(A)), make(B, atSame(B))];
    await a.membership.start();
    // Not to be reached there, although it lives.
    await b.membership.start();
    await pass(10 * LEASE_MS);
    expect([await live(), a.fenced, b.fenced]).toEqual([[B], 1, 0]);
    expect(lines.filter((line) => line.includes("is none any more"))).toHaveLength(1);
    await b.membership.stop();
    await pass(2 * RENEWAL_MS);
    expect(await live()).toEqual([A]);
  });

  it("rejects with the database's own error when there is none at its start", async () => {
    down = true;
    await expect(make(A).membership.start()).rejects.toThrow("no database");
  });

  it("stops without a database, and its lease ends by itself", async () => {
    const a = make(A);
    await a.membership.start();
    down = true;
    await a.membership.stop();
    expect(lines.join("")).toContain("ends by itself");
  });
});
