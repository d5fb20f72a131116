import { beforeEach, describe, expect, it } from "@jest/globals";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { type Authentication, type Authentications, createAuthentications } from "./authentications.ts";
import { createRevocations, type Revocations } from "./revocations.ts";

let clock: ManualClock;
let revocations: Revocations;
let known: Authentications<string>;
let loads: number;

beforeEach(async () => {
  clock = manualClock();
  loads = 0;
  const store = { recent: async () => ({ now: clock.now(), revocations: [] }), prune: async () => undefined };
  revocations = createRevocations({ store, clock, log: createLogger("silent") });
  known = createAuthentications({ revocations, clock, entriesMax: 3 });
  await revocations.start();
});

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    clock.advance(Math.min(left, 500));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const authentication = (over: Partial<Authentication<string>> = {}): Authentication<string> => ({
  value: "anna",
  expiresAt: null,
  objectIds: ["key_1", "usr_1"],
  ...over,
});
const ask = async (hash = "a", found = authentication()) =>
  known.find(hash, async () => {
    loads += 1;
    return found;
  });

describe("an authentication", () => {
  it("is looked up once, and again after half a minute", async () => {
    expect(await ask()).toBe("anna");
    await pass(29_999);
    expect(await ask()).toBe("anna");
    expect(loads).toBe(1);
    await pass(1);
    await ask();
    expect(loads).toBe(2);
  });

  it("ends at the very moment at which its credential expires", async () => {
    const expiresAt = new Date(clock.now().getTime() + 10_000);
    await ask("a", authentication({ expiresAt }));
    await pass(9_999);
    expect(await ask("a")).toBe("anna");
    expect(loads).toBe(1);
    await pass(1);
    await ask("a");
    expect(loads).toBe(2);
  });

  it.each(["key_1", "usr_1"])("is forgotten when %s is revoked, and others are not", async (objectId) => {
    await ask("a");
    await ask("b", authentication({ value: "bert", objectIds: ["key_2", "usr_2"] }));
    revocations.tell("api-key", objectId);
    await ask("b");
    expect(loads).toBe(2);
    await ask("a");
    expect(loads).toBe(3);
  });

  it("that is revoked while it is looked up is looked up again, and never remembered as it was", async () => {
    const found = [authentication(), undefined];
    const answer = await known.find("a", async () => {
      const row = found[loads];
      loads += 1;
      if (loads === 1) revocations.tell("api-key", "key_1");
      return row;
    });
    expect([answer, loads]).toEqual([undefined, 2]);
    await ask("a");
    expect(loads).toBe(3);
  });

  it("that is revoked whenever it is looked up is none", async () => {
    const answer = await known.find("a", async () => {
      loads += 1;
      revocations.tell("user", "usr_1");
      return authentication();
    });
    expect(answer).toBeUndefined();
    expect(loads).toBeLessThan(10);
  });

  it("that fails is not remembered", async () => {
    await expect(
      known.find("b", async () => {
        throw new Error("the database is down");
      }),
    ).rejects.toThrow("down");
    const nobody = () =>
      known.find("c", async () => {
        loads += 1;
        return undefined;
      });
    await nobody();
    await nobody();
    expect(loads).toBe(2);
  });

  it("is looked up each time while revocations may be missed", async () => {
    await revocations.stop();
    await ask();
    await pass(2000);
    await ask();
    await ask();
    expect(loads).toBe(3);
  });

  it("is not trusted after the clock stepped back", async () => {
    const now = clock.now();
    await ask();
    clock.now = () => new Date(now.getTime() - 1);
    await ask();
    expect(loads).toBe(2);
  });

  it("gives way to others when it was longest not asked for", async () => {
    for (const hash of ["a", "b", "c"]) await ask(hash);
    await ask("a");
    await ask("d");
    expect(loads).toBe(4);
    for (const hash of ["c", "a", "d"]) await ask(hash);
    expect(loads).toBe(4);
    await ask("b");
    expect(loads).toBe(5);
  });

  describe("while the database is away", () => {
    const away = () => Promise.reject(Object.assign(new Error("gone"), { code: "ECONNREFUSED" }));

    it("is what it was for two minutes since the last look, and not a millisecond longer", async () => {
      await ask();
      await pass(119_999);
      expect(await known.find("a", away)).toBe("anna");
      await pass(1);
      await expect(known.find("a", away)).rejects.toThrow("gone");
    });

    it("is none beyond its expiry, nor once it was revoked here, nor if it was never looked up", async () => {
      await ask("a", authentication({ expiresAt: new Date(clock.now().getTime() + 40_000) }));
      await ask("b", authentication({ objectIds: ["key_2"] }));
      revocations.tell("api-key", "key_2");
      await pass(40_000);
      for (const hash of ["a", "b", "c"]) await expect(known.find(hash, away)).rejects.toThrow("gone");
    });

    it("is looked up all the same when something else fails, or the database is back and knows it no more", async () => {
      await ask();
      await pass(30_000);
      await expect(known.find("a", () => Promise.reject(new Error("a mistake")))).rejects.toThrow(
        "a mistake",
      );
      expect(await known.find("a", async () => undefined)).toBeUndefined();
      await expect(known.find("a", away)).rejects.toThrow("gone");
    });
  });
});
