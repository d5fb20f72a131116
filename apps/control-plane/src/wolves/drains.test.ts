import { beforeEach, describe, expect, it } from "@jest/globals";
import { aWolf } from "../../test/a-wolf.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { type MemoryFleet, memoryFleet } from "../database/memory-fleet.ts";
import { createLogger } from "../logger.ts";
import { createDrains, type Drains, drainStep } from "./drains.ts";
import { createWolfService, type WolfService } from "./wolf-service.ts";
import { memoryWolfStore } from "./wolf-store.memory.ts";
import type { Wolf, WolfStore } from "./wolf-store.ts";

let clock: ManualClock;
let fleet: MemoryFleet;
let store: WolfStore;
let wolves: WolfService;
let drains: Drains;
let wolf: Wolf;
let evicted: string[];
let changed: string[];
let lines: string[];
let evict: (id: string) => Promise<void>;

beforeEach(async () => {
  clock = manualClock();
  fleet = memoryFleet();
  store = memoryWolfStore(fleet);
  [evicted, changed, lines] = [[], [], []];
  evict = async () => {};
  const log = createLogger("trace", { write: (line) => void lines.push(line) });
  const onChanged = (id: string) => void changed.push(id);
  wolves = createWolfService({ store, clock, log, onRemoved() {}, onChanged, onDraining() {} });
  drains = createDrains({
    store,
    clock,
    log,
    evict(id) {
      evicted.push(id);
      return evict(id);
    },
    onChanged,
  });
  wolf = await wolves.register({
    name: "wolf-1",
    address: "",
    gpu_type: "amd",
    max_sandboxes: 9,
    labels: {},
  });
});

/** So many sessions live there from now on. */
function occupy(sessions: number, id = wolf.id): void {
  const row = fleet.wolves.get(id);
  if (row !== undefined) fleet.changeWolf(row, { connectedSandboxes: sessions });
}

const get = async (id = wolf.id) => {
  const found = await store.get(id);
  if (found === undefined) throw new Error(`${id} is unknown`);
  return found;
};
async function drain(then: "cordoned" | "maintenance" | "retired" = "cordoned", seconds = 60): Promise<void> {
  await wolves.drain(wolf.id, { reason: "new driver", deadline_seconds: seconds, then });
  changed = [];
}

describe("a drain's next step", () => {
  const now = new Date("2026-11-23T12:00:00.000Z");
  const plan = (deadlineMs: number) => ({
    startedAt: now,
    deadline: new Date(now.getTime() + deadlineMs),
    sessionsAtStart: 2,
    next: "cordoned" as const,
  });

  it.each([
    ["nothing left", 0, plan(1), "finish"],
    ["nothing left, long ago", 0, plan(-1_000_000), "finish"],
    ["sessions before the deadline", 2, plan(1), "wait"],
    ["sessions at the deadline", 2, plan(0), "evict"],
    ["sessions after it", 1, plan(-1), "evict"],
    ["sessions, and no plan", 1, null, "wait"],
    ["nothing left, and no plan", 0, null, "finish"],
  ])("with %s: %#", (_what, connectedSandboxes, drainPlan, step) => {
    expect(drainStep(aWolf({ connectedSandboxes, drain: drainPlan }), now)).toBe(step);
  });
});

describe("a drain", () => {
  it.each(["cordoned", "maintenance", "retired"] as const)(
    "of a wolf without sessions leads at once to %s, and keeps its reason",
    async (then) => {
      await drain(then);
      await drains.tick();
      expect(await get()).toMatchObject({ intent: then, intentReason: "new driver", drain: null });
      expect([changed, evicted]).toEqual([[wolf.id], []]);
    },
  );

  it("leaves sessions alone until the deadline, then has them go at every tick until none is left", async () => {
    occupy(2);
    await drain();
    clock.advance(59_999);
    await drains.tick();
    expect([evicted, (await get()).intent]).toEqual([[], "draining"]);
    clock.advance(1);
    await drains.tick();
    await drains.tick();
    expect(evicted).toEqual([wolf.id, wolf.id]);
    occupy(0);
    await drains.tick();
    expect(evicted).toHaveLength(2);
    expect((await get()).intent).toBe("cordoned");
    await drains.tick();
    expect(changed).toEqual([wolf.id]);
  });

  it("with a deadline of nothing has them go at once", async () => {
    occupy(1);
    await drain("cordoned", 0);
    await drains.tick();
    expect(evicted).toEqual([wolf.id]);
  });

  it("that is undone evicts nobody, whatever its deadline was", async () => {
    occupy(1);
    await drain();
    await wolves.changeIntent(wolf.id, "uncordon", {});
    clock.advance(3_600_000);
    await drains.tick();
    expect([evicted, (await get()).intent]).toEqual([[], "active"]);
  });

  it("that is undone while it is being finished stays undone", async () => {
    await drain("retired");
    const { listDraining } = store;
    const late = createDrains({
      store: {
        ...store,
        async listDraining() {
          const found = await listDraining();
          await wolves.changeIntent(wolf.id, "uncordon", {});
          return found;
        },
      },
      clock,
      log: createLogger("silent"),
      evict,
      onChanged: () => void changed.push("drained"),
    });
    await late.tick();
    expect((await get()).intent).toBe("active");
    expect(changed).not.toContain("drained");
  });

  it("is not finished under a session that came in between", async () => {
    await drain("retired");
    const { listDraining } = store;
    store.listDraining = async () => {
      const found = await listDraining();
      occupy(1);
      return found;
    };
    const late = createDrains({ store, clock, log: createLogger("silent"), evict, onChanged: () => {} });
    await late.tick();
    expect((await get()).intent).toBe("draining");
  });

  it("of a wolf that is lost meanwhile is done when its sessions are gone", async () => {
    const { epoch = 0 } = (await store.openTunnel(wolf.id, clock.now())) ?? {};
    occupy(1);
    await drain("maintenance");
    const rules = { flapsMax: 9, flapWindowMs: 1, createFailuresMax: 9, firstMs: 1, maxMs: 1 };
    await store.loseTunnel(wolf.id, epoch, rules, clock.now());
    await store.markLost(wolf.id, epoch, clock.now());
    await drains.tick();
    expect((await get()).intent).toBe("draining");
    occupy(0);
    await drains.tick();
    expect(await get()).toMatchObject({ intent: "maintenance", connectivity: "lost" });
  });

  it("that does not go on holds up no other, and is tried again", async () => {
    const other = await wolves.register({
      name: "wolf-2",
      address: "",
      gpu_type: "amd",
      max_sandboxes: 9,
      labels: {},
    });
    occupy(1);
    await drain("cordoned", 0);
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    await wolves.drain(other.id, { deadline_seconds: 0, then: "retired" });
    evict = async () => {
      throw new Error("its Wolf does not answer");
    };
    await drains.tick();
    expect((await get(other.id)).intent).toBe("retired");
    expect(lines.join("")).toContain("its Wolf does not answer");
    await drains.tick();
    expect(evicted).toEqual([wolf.id, wolf.id]);
  });

  it("survives a database that is away", async () => {
    await drain();
    const { listDraining } = store;
    let down = true;
    const patient = createDrains({
      store: {
        ...store,
        listDraining: () => (down ? Promise.reject(new Error("the database is away")) : listDraining()),
      },
      clock,
      log: createLogger("silent"),
      evict,
      onChanged: () => {},
    });
    await patient.tick();
    expect((await get()).intent).toBe("draining");
    down = false;
    await patient.tick();
    expect((await get()).intent).toBe("cordoned");
  });

  it("never has two ticks beside each other, and none is left out", async () => {
    occupy(1);
    await drain("cordoned", 0);
    const { promise, resolve } = Promise.withResolvers<void>();
    evict = () => promise;
    const ticks = [drains.tick(), drains.tick(), drains.tick()];
    await Promise.resolve();
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
    expect(evicted).toHaveLength(1);
    ticks.push(drains.tick());
    occupy(0);
    resolve();
    await Promise.all(ticks);
    expect(evicted).toHaveLength(1);
    expect((await get()).intent).toBe("cordoned");
  });
});
