/** Requests of the same key at the same time, in one process and in several, on real PostgreSQL and with time moved by hand. */
import { EventEmitter } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { operations } from "@wolfpack/api-contract";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { Principal } from "../identity/principal.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import type { AnyCall, AnyReply } from "./call.ts";
import { idempotency, idempotencyKeyOf, LEASE_MS, LOOK_MS, RENEW_MS } from "./idempotency.ts";
import { prismaIdempotencyStore } from "./idempotency-store.prisma.ts";
import type { IdempotencyStore } from "./idempotency-store.ts";
import { ApiError } from "./problem.ts";

const JOIN_MS = 60_000;
const DAY_MS = 24 * 3_600_000;

let database: TestDatabase;
let clock: ManualClock;
let lines: string[];
let key = "";
let keys = 0;
/** Broken calls of the store reject instead. */
let broken: Set<keyof IdempotencyStore>;
/** Nothing is answered any more. */
let silent: boolean;
beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(() => {
  clock = manualClock();
  lines = [];
  broken = new Set();
  silent = false;
  keys += 1;
  key = `key-${keys}`;
});
afterEach(() => {
  // Whoever has been answered, refused or has hung up leaves no timer behind.
  expect(clock.pending).toBe(0);
});
afterAll(() => database.drop());

const anna: Principal = {
  kind: "user",
  userId: newId("usr"),
  role: "user",
  scopes: null,
  credentialId: newId("key"),
};

/** The side of a call that can hang up. */
class Line extends EventEmitter {
  closed = false;
  hangUp(): void {
    this.closed = true;
    this.emit("close");
  }
}

/** What one process has: its own memory, and the store that all share. */
function process() {
  const store = prismaIdempotencyStore(database.prisma);
  const claims = new EventEmitter();
  let claimed = 0;
  const fail = (name: keyof IdempotencyStore) => {
    if (broken.has(name)) throw new Error(`${name} fails`);
  };
  const step = idempotency({
    store: {
      async claim(claim) {
        const earlier = await store.claim(claim);
        claimed += 1;
        claims.emit("claim");
        return earlier;
      },
      async renew(...given) {
        fail("renew");
        return store.renew(...given);
      },
      async keep(...given) {
        fail("keep");
        return store.keep(...given);
      },
      async release(...given) {
        fail("release");
        if (silent) return new Promise(() => undefined);
        return store.release(...given);
      },
    },
    clock,
    secret: "0123456789abcdef0123456789abcdef",
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    joinMs: JOIN_MS,
  });
  return {
    send(next: () => Promise<AnyReply>, { body = {}, line = new Line(), principal = anna } = {}) {
      const call = {
        id: "createUser",
        operation: operations.createUser,
        principal,
        params: undefined,
        query: undefined,
        body,
        idempotencyKey: key,
        requestId: "req",
        url: "",
        response: line,
      } as unknown as AnyCall;
      return step(call, next);
    },
    /** That it has asked the store once more, and begun what follows from the answer. */
    async asked(run: () => void = () => undefined): Promise<void> {
      const before = claimed;
      const once = new Promise((resolve) => claims.once("claim", resolve));
      run();
      if (claimed === before) await once;
      await turn();
    },
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** Until it holds, which something that is on its way brings about. */
async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns += 1) {
    if (turns > 100_000) throw new Error("it did not come to hold");
    await turn();
  }
}

/** A handler that answers when it is told to, and counts how often it was called. */
function handler() {
  let settle: { resolve(reply: AnyReply): void; reject(error: unknown): void } | undefined;
  let calls = 0;
  return {
    get calls() {
      return calls;
    },
    next(): Promise<AnyReply> {
      calls += 1;
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
      });
    },
    begun: (count = 1) => until(() => calls === count),
    answer: (reply: AnyReply = { status: 201, body: { n: calls } }) => settle?.resolve(reply),
    fail: (error: unknown) => settle?.reject(error),
  };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "answered",
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  );
/** Until the answer is in the database. */
async function kept(): Promise<void> {
  while ((await rowsOf())[0]?.status == null) await turn();
}
const rowsOf = () => database.prisma.idempotencyKey.findMany({ where: { key } });

describe("requests of one key in one process", () => {
  it("that come while the first is served get its answer, and make nothing", async () => {
    const one = process();
    const work = handler();
    const first = one.send(work.next);
    await work.begun();
    const others = Array.from({ length: 20 }, () => one.send(work.next));
    await turn();
    work.answer({ status: 201, body: { secret: "once" }, headers: { location: "/x" } });
    expect(await first).toEqual({ status: 201, body: { secret: "once" }, headers: { location: "/x" } });
    for (const other of await Promise.all(others))
      expect(other).toEqual({
        status: 201,
        body: { secret: "once" },
        headers: { location: "/x", "idempotency-replayed": "true" },
        detail: { replayed: true },
      });
    expect(work.calls).toBe(1);
  });

  it("get its refusal, too, when asking again would not help", async () => {
    const one = process();
    const work = handler();
    const first = codeOf(one.send(work.next));
    await work.begun();
    const other = one.send(work.next);
    work.fail(new ApiError("user-exists", "There is one.", { extras: { n: 1 } }));
    expect(await first).toBe("user-exists");
    await expect(other).rejects.toMatchObject({
      code: "user-exists",
      extras: { n: 1 },
      headers: { "idempotency-replayed": "true" },
    });
    expect(work.calls).toBe(1);
  });

  it("take over one after the other when it failed on our side: of five who wait, one makes it", async () => {
    const one = process();
    const work = handler();
    const first = codeOf(one.send(work.next));
    await work.begun();
    const others = Array.from({ length: 5 }, () => one.send(work.next));
    work.fail(new Error("a fault"));
    expect(await first).toBe("internal");
    await work.begun(2);
    work.answer();
    const answers = await Promise.all(others);
    expect(answers.filter(({ headers }) => headers?.["idempotency-replayed"] === undefined)).toHaveLength(1);
    expect(new Set(answers.map(({ body }) => JSON.stringify(body)))).toEqual(new Set(['{"n":2}']));
    expect(work.calls).toBe(2);
  });

  it("are made by each in its turn when each one fails so", async () => {
    const one = process();
    const work = handler();
    const all = [1, 2, 3].map(() => codeOf(one.send(work.next)));
    for (const calls of [1, 2, 3]) {
      await work.begun(calls);
      work.fail(new ApiError("no-capacity", "None."));
    }
    expect(await Promise.all(all)).toEqual(Array(3).fill("no-capacity"));
    expect(await rowsOf()).toEqual([]);
  });

  it("with another body are refused at once, while it is served and after", async () => {
    const one = process();
    const work = handler();
    const first = one.send(work.next);
    await work.begun();
    expect(await codeOf(one.send(work.next, { body: { other: 1 } }))).toBe("idempotency-key-reused");
    work.answer();
    await first;
    expect(await codeOf(one.send(work.next, { body: { other: 1 } }))).toBe("idempotency-key-reused");
    expect(work.calls).toBe(1);
  });

  it("of another user, or with another scope, do not join", async () => {
    const one = process();
    const work = handler();
    const first = one.send(work.next);
    await work.begun();
    const scoped: Principal = { ...anna, scopes: ["sessions"] };
    expect(await codeOf(one.send(work.next, { principal: scoped }))).toBe("idempotency-key-reused");
    const bertsWork = handler();
    const bert = one.send(bertsWork.next, { principal: { ...anna, userId: newId("usr") } });
    await bertsWork.begun();
    bertsWork.answer();
    expect(await bert).toEqual({ status: 201, body: { n: 1 } });
    work.answer();
    await first;
  });

  it("wait no longer than their bound, each by its own time", async () => {
    const one = process();
    const work = handler();
    const first = one.send(work.next);
    await work.begun();
    const early = codeOf(one.send(work.next));
    clock.advance(1);
    const late = one.send(work.next);
    clock.advance(JOIN_MS - 1);
    expect(await early).toBe("idempotency-key-in-use");
    work.answer();
    expect(await first).toEqual({ status: 201, body: { n: 1 } });
    expect(await late).toMatchObject({ status: 201, detail: { replayed: true } });
  });

  it("that hang up leave nothing behind and hold nobody up", async () => {
    const one = process();
    const work = handler();
    const first = one.send(work.next);
    await work.begun();
    const timers = clock.pending;
    const gone = [new Line(), new Line()];
    const left = gone.map((line) => codeOf(one.send(work.next, { line })));
    const patient = one.send(work.next);
    await turn();
    expect(clock.pending).toBe(timers + 3);
    for (const line of gone) line.hangUp();
    expect(await Promise.all(left)).toEqual(Array(2).fill("idempotency-key-in-use"));
    expect(gone.map((line) => line.listenerCount("close"))).toEqual([0, 0]);
    expect(clock.pending).toBe(timers + 1);
    work.answer();
    await first;
    expect(await patient).toMatchObject({ status: 201, detail: { replayed: true } });
  });

  it("that hung up while they waited make nothing when it is their turn", async () => {
    const one = process();
    const work = handler();
    const line = new Line();
    const first = codeOf(one.send(work.next));
    await work.begun();
    const second = codeOf(one.send(work.next, { line }));
    work.fail(new Error("a fault"));
    line.hangUp();
    expect(await first).toBe("internal");
    expect(await second).toBe("idempotency-key-in-use");
    expect(work.calls).toBe(1);
    const closed = new Line();
    closed.closed = true;
    const third = one.send(work.next);
    await work.begun(2);
    expect(await codeOf(one.send(work.next, { line: closed }))).toBe("idempotency-key-in-use");
    work.answer();
    await third;
  });
});

describe("requests of one key in two processes", () => {
  it("wait for the other's answer, which is looked for every 500 ms", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const first = here.send(work.next);
    await work.begun();
    let answered = 0;
    let others: Promise<AnyReply>[] = [];
    await there.asked(() => {
      others = [1, 2, 3].map(() => there.send(work.next));
      for (const other of others) void other.then(() => (answered += 1));
    });
    await there.asked(() => clock.advance(LOOK_MS));
    work.answer();
    await first;
    clock.advance(LOOK_MS - 1);
    await turn();
    expect(answered).toBe(0);
    clock.advance(1);
    for (const other of await Promise.all(others))
      expect(other).toEqual({
        status: 201,
        body: { n: 1 },
        headers: { "idempotency-replayed": "true" },
        detail: { replayed: true },
      });
    expect(work.calls).toBe(1);
  });

  it("take over, one of all who wait, when the other's failed on our side", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const first = codeOf(here.send(work.next));
    await work.begun();
    let others: Promise<AnyReply>[] = [];
    await there.asked(() => {
      others = [1, 2, 3].map(() => there.send(work.next));
    });
    work.fail(new Error("a fault"));
    expect(await first).toBe("internal");
    clock.advance(LOOK_MS);
    await work.begun(2);
    work.answer();
    expect((await Promise.all(others)).map(({ body }) => body)).toEqual(Array(3).fill({ n: 2 }));
    expect(work.calls).toBe(2);
  });

  it("with another body are refused at once", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const first = here.send(work.next);
    await work.begun();
    expect(await codeOf(there.send(work.next, { body: { other: 1 } }))).toBe("idempotency-key-reused");
    work.answer();
    await first;
  });

  it("wait no longer than their bound, and not after they have hung up", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const line = new Line();
    const first = here.send(work.next);
    await work.begun();
    let gone = Promise.resolve("");
    await there.asked(() => {
      gone = codeOf(there.send(work.next, { line }));
    });
    let patient = Promise.resolve("");
    await there.asked(() => {
      patient = codeOf(there.send(work.next));
      // Whoever asked the store for both of them leaves: the other one asks on.
      line.hangUp();
    });
    expect(await gone).toBe("idempotency-key-in-use");
    expect(line.listenerCount("close")).toBe(0);
    for (let lookedAtMs = LOOK_MS; lookedAtMs < JOIN_MS; lookedAtMs += LOOK_MS)
      await there.asked(() => clock.advance(LOOK_MS));
    clock.advance(LOOK_MS);
    expect(await patient).toBe("idempotency-key-in-use");
    work.answer();
    await first;
  });
});

describe("a request whose process", () => {
  /** As a process leaves it that dies in the middle: claimed, and never answered. */
  async function died(): Promise<void> {
    const work = handler();
    const dead = process();
    const first = dead.send(work.next);
    await work.begun();
    const [row] = await rowsOf();
    if (row === undefined) throw new Error("it should be claimed");
    work.answer();
    await first;
    await database.prisma.idempotencyKey.update({
      where: { owner_key: { owner: row.owner, key } },
      data: row,
    });
  }

  it("died is made again by one of those who wait, as soon as its lease has ended", async () => {
    await died();
    const [here, there] = [process(), process()];
    const work = handler();
    let answers: Promise<AnyReply>[] = [];
    await here.asked(() => {
      answers = [here.send(work.next), here.send(work.next)];
    });
    await there.asked(() => answers.push(there.send(work.next)));
    for (let ms = LOOK_MS; ms < LEASE_MS; ms += LOOK_MS) {
      const both = Promise.all([here.asked(), there.asked()]);
      clock.advance(LOOK_MS);
      await both;
    }
    expect(work.calls).toBe(0);
    const both = Promise.all([here.asked(), there.asked()]);
    clock.advance(LOOK_MS);
    await both;
    await work.begun();
    work.answer();
    await kept();
    // Either process may have made it; the other one hears of it at its next look.
    clock.advance(LOOK_MS);
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(Array(3).fill({ n: 1 }));
    expect(work.calls).toBe(1);
  });

  it("died is made by a process that comes later, not a moment before its lease has ended", async () => {
    await died();
    clock.advance(LEASE_MS - 1);
    const work = handler();
    const one = process();
    let answer: Promise<AnyReply> | undefined;
    await one.asked(() => {
      answer = one.send(work.next);
    });
    expect(work.calls).toBe(0);
    clock.advance(LOOK_MS);
    await work.begun();
    work.answer();
    expect(await answer).toEqual({ status: 201, body: { n: 1 } });
  });

  it("lives is made by nobody else, however long it takes", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const first = here.send(work.next);
    await work.begun();
    for (let renewals = 0; renewals < 30; renewals += 1) {
      clock.advance(RENEW_MS);
      await until(() => clock.pending === 1);
    }
    let other: Promise<AnyReply> | undefined;
    await there.asked(() => {
      other = there.send(work.next);
    });
    expect(work.calls).toBe(1);
    work.answer();
    await first;
    clock.advance(LOOK_MS);
    expect(await other).toMatchObject({ body: { n: 1 }, detail: { replayed: true } });
  });

  it("lives keeps its key through a database that does not answer two renewals", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    const first = here.send(work.next);
    await work.begun();
    broken.add("renew");
    for (const _ of [1, 2]) {
      clock.advance(RENEW_MS);
      await until(() => clock.pending === 1);
    }
    broken.clear();
    clock.advance(RENEW_MS);
    await until(() => clock.pending === 1);
    clock.advance(LEASE_MS - RENEW_MS);
    let other: Promise<AnyReply> | undefined;
    await there.asked(() => {
      other = there.send(work.next);
    });
    expect(work.calls).toBe(1);
    work.answer();
    await first;
    clock.advance(LOOK_MS);
    expect(await other).toMatchObject({ detail: { replayed: true } });
    expect(lines).toEqual([]);
  });

  it("was silent for too long changes nothing of what another has made since, and says so", async () => {
    const [slow, quick] = [process(), process()];
    const slowWork = handler();
    const quickWork = handler();
    const first = slow.send(slowWork.next);
    await slowWork.begun();
    broken.add("renew");
    for (let ms = 0; ms < LEASE_MS; ms += RENEW_MS) {
      clock.advance(RENEW_MS);
      await until(() => clock.pending === 1);
    }
    const second = quick.send(quickWork.next);
    await quickWork.begun();
    broken.clear();
    clock.advance(RENEW_MS);
    // Only the one that has the key renews it any more.
    await until(() => clock.pending === 1 && lines.length === 1);
    expect(lines[0]).toContain("taken over");
    quickWork.answer({ status: 201, body: "quick" });
    slowWork.answer({ status: 201, body: "slow" });
    expect(await Promise.all([first, second])).toMatchObject([{ body: "slow" }, { body: "quick" }]);
    expect(await process().send(quickWork.next)).toMatchObject({ body: "quick", detail: { replayed: true } });
  });
});

describe("an answer that cannot be kept", () => {
  it("is given, made by nobody again, and kept as soon as it can be", async () => {
    const [here, there] = [process(), process()];
    const work = handler();
    broken.add("keep");
    const first = here.send(work.next);
    await work.begun();
    const joined = here.send(work.next);
    work.answer();
    expect(await first).toEqual({ status: 201, body: { n: 1 } });
    expect(await joined).toMatchObject({ body: { n: 1 }, detail: { replayed: true } });
    expect(lines.join()).toContain("answer not kept yet");
    for (let ms = 0; ms < 2 * LEASE_MS; ms += RENEW_MS) {
      clock.advance(RENEW_MS);
      await until(() => clock.pending === 2);
    }
    let other: Promise<AnyReply> | undefined;
    await there.asked(() => {
      other = there.send(work.next);
    });
    broken.clear();
    clock.advance(RENEW_MS);
    await kept();
    await until(() => clock.pending <= 1);
    clock.advance(LOOK_MS);
    expect(await other).toMatchObject({ body: { n: 1 }, detail: { replayed: true } });
    expect(work.calls).toBe(1);
  });

  it("is given up after ten minutes", async () => {
    const one = process();
    const work = handler();
    broken.add("keep");
    const first = one.send(work.next);
    await work.begun();
    work.answer();
    await first;
    for (let ms = 0; ms < 10 * 60_000 - RENEW_MS; ms += RENEW_MS) {
      clock.advance(RENEW_MS);
      await until(() => clock.pending === 2);
    }
    clock.advance(RENEW_MS);
    await until(() => clock.pending === 0);
  });

  it("and is a refusal is not given: the failure of the database is", async () => {
    const one = process();
    const work = handler();
    broken.add("keep");
    const first = codeOf(one.send(work.next));
    await work.begun();
    work.fail(new ApiError("user-exists", "There is one."));
    expect(await first).toBe("Error: keep fails");
  });

  it("nor given back is free when its lease has ended", async () => {
    const one = process();
    const work = handler();
    broken.add("release");
    const first = codeOf(one.send(work.next));
    await work.begun();
    work.fail(new ApiError("no-capacity", "None."));
    expect(await first).toBe("no-capacity");
    clock.advance(LEASE_MS);
    const second = one.send(work.next);
    await work.begun(2);
    work.answer();
    expect(await second).toEqual({ status: 201, body: { n: 2 } });
  });
});

describe("a request that finds no database", () => {
  it("is refused at once, and not after a second wait for it", async () => {
    const one = process();
    const work = handler();
    silent = true;
    const first = codeOf(one.send(work.next));
    await work.begun();
    work.fail(new ApiError("database-unavailable", "It does not answer."));
    expect(await first).toBe("database-unavailable");
    silent = false;
    clock.advance(LEASE_MS);
    const second = one.send(work.next);
    await work.begun(2);
    work.answer();
    expect(await second).toEqual({ status: 201, body: { n: 2 } });
  });
});

describe("the key that handlers see", () => {
  const headers = (value: unknown) => ({ headers: { "idempotency-key": value } }) as never;

  it("is the hash under which the claim is kept, and none where none is sent or taken", async () => {
    const hash = idempotencyKeyOf(operations.createSession, headers("secret"));
    expect(hash).toMatch(/^[\w-]{43}$/);
    expect(idempotencyKeyOf(operations.createSession, headers("secret"))).toBe(hash);
    expect(idempotencyKeyOf(operations.createSession, headers("Secret"))).not.toBe(hash);
    expect(idempotencyKeyOf(operations.createSession, headers(undefined))).toBeUndefined();
    expect(idempotencyKeyOf(operations.stopSession, headers("a b"))).toBeUndefined();
  });

  it.each(["", "a b", "k".repeat(256), "é", ["a", "b"]])("is refused for %j", (value) => {
    expect(() => idempotencyKeyOf(operations.createSession, headers(value))).toThrow(
      expect.objectContaining({ code: "invalid-request" }),
    );
  });
});

it("a kept answer is there for a day, counted from the claim", async () => {
  const one = process();
  const work = handler();
  const first = one.send(work.next);
  await work.begun();
  clock.advance(RENEW_MS);
  await until(() => clock.pending === 1);
  work.answer();
  await first;
  const [row] = await rowsOf();
  expect(row?.expires_at).toEqual(new Date(clock.now().getTime() - RENEW_MS + DAY_MS));
});
