import { beforeEach, describe, expect, it } from "@jest/globals";
import { Intent } from "@wolfpack/api-contract";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { type MemoryFleet, memoryFleet } from "../database/memory-fleet.ts";
import { ApiError } from "../http/problem.ts";
import { newId } from "../ids.ts";
import { createLogger } from "../logger.ts";
import { allowedWords, intentTransitions, type Steering, steering } from "./wolf-lifecycle.ts";
import { createWolfService, reportOf, type WolfService } from "./wolf-service.ts";
import { memoryWolfStore } from "./wolf-store.memory.ts";
import type { Wolf, WolfStore } from "./wolf-store.ts";

let clock: ManualClock;
let fleet: MemoryFleet;
let store: WolfStore;
let wolves: WolfService;
let wolf: Wolf;
let changed: string[];
let draining: string[];
const onDraining = (id: string, deadline: Date) => void draining.push(`${id} ${deadline.getTime()}`);

beforeEach(async () => {
  clock = manualClock();
  fleet = memoryFleet();
  store = memoryWolfStore(fleet);
  [changed, draining] = [[], []];
  const onChanged = (id: string) => void changed.push(id);
  wolves = createWolfService({
    store,
    clock,
    log: createLogger("silent"),
    onRemoved() {},
    onChanged,
    onDraining,
  });
  wolf = await wolves.register({
    name: "wolf-1",
    address: "",
    gpu_type: "amd",
    max_sandboxes: 2,
    labels: {},
  });
});

const events = Object.keys(steering) as Steering[];
// biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
const drainRequest = { deadline_seconds: 60, then: "maintenance" } as const;
const steer = (event: Steering, id = wolf.id) =>
  event === "drain"
    ? wolves.drain(id, { ...drainRequest, reason: "new driver" })
    : wolves.changeIntent(id, event, { reason: "new driver" });

async function refusal(run: Promise<unknown>): Promise<ApiError> {
  const error = await run.then(
    () => undefined,
    (err: unknown) => err,
  );
  if (!(error instanceof ApiError)) throw new Error("expected a refusal", { cause: error });
  return error;
}

describe("a wolf's intent", () => {
  const all = Intent.options.flatMap((intent) => events.map((event) => [intent, event] as const));

  it.each(all)(
    "%s: what %s does to it is in the table, and a refusal says what would do",
    async (intent, event) => {
      await store.changeIntent(wolf.id, { from: Intent.options, to: intent, reason: "before" }, clock.now());
      const to = intentTransitions[intent][event];
      if (to !== undefined) {
        expect(await steer(event)).toMatchObject({ intent: to, intentReason: "new driver" });
        expect(changed).toEqual([wolf.id]);
        return;
      }
      const { code, extras, message } = await refusal(steer(event));
      expect([code, extras]).toEqual(["intent-refused", { intent, allowed: allowedWords(intent) }]);
      expect(message).toContain(steering[event]);
      expect(await store.get(wolf.id)).toMatchObject({ intent, intentReason: "before" });
      expect(changed).toEqual([]);
    },
  );

  it("of a wolf that is not there cannot be changed", async () => {
    for (const event of events)
      expect((await refusal(steer(event, newId("wlf")))).code).toBe("wolf-not-found");
    expect((await refusal(wolves.readmit(newId("wlf")))).code).toBe("wolf-not-found");
    expect(changed).toEqual([]);
  });

  it("has no reason when none is given", async () => {
    await steer("cordon");
    expect((await wolves.changeIntent(wolf.id, "uncordon", {})).intentReason).toBeNull();
  });

  it("has a plan while it drains, and none after it was undone", async () => {
    const startedAt = clock.now();
    expect((await steer("drain")).drain).toEqual({
      startedAt,
      deadline: new Date(startedAt.getTime() + 60_000),
      sessionsAtStart: 0,
      next: "maintenance",
    });
    clock.advance(30_000);
    expect((await steer("drain")).drain?.deadline).toEqual(new Date(startedAt.getTime() + 90_000));
    // Whoever has a session there is told of each.
    expect(draining.at(-1)).toBe(`${wolf.id} ${startedAt.getTime() + 90_000}`);
    expect(await steer("uncordon")).toMatchObject({ intent: "active", drain: null });
  });

  it("that another operator changes at the same moment is a conflict that says so, and names no sessions", async () => {
    const overtaken = async () => ({
      outcome: "overtaken" as const,
      wolf: { ...wolf, intent: "cordoned" as const },
    });
    const racing = createWolfService({
      store: { ...store, changeIntent: overtaken },
      clock,
      log: createLogger("silent"),
      onRemoved() {},
      onChanged: (id) => void changed.push(id),
      onDraining,
    });
    const error = await refusal(racing.changeIntent(wolf.id, "uncordon", {}));
    expect(error).toMatchObject({ code: "intent-refused", extras: { intent: "cordoned" } });
    expect(error.message).toContain("at the same moment");
    expect(error.message).not.toContain("session");
    expect(changed).toEqual([]);
  });

  it("is not retired while sessions live there, and the answer names another way", async () => {
    const row = fleet.wolves.get(wolf.id);
    if (row !== undefined) fleet.changeWolf(row, { connectedSandboxes: 1 });
    expect(await refusal(steer("retire"))).toMatchObject({
      code: "wolf-has-sessions",
      message: expect.stringContaining("drain"),
    });
    expect(changed).toEqual([]);
    // All others leave them alone, and so do not ask.
    for (const event of ["cordon", "drain", "maintain", "uncordon"] as const) await steer(event);
  });
});

describe("a readmission", () => {
  it("ends the quarantine and forgets what led to it", async () => {
    const rules = { flapsMax: 9, flapWindowMs: 1, createFailuresMax: 1, firstMs: 60_000, maxMs: 60_000 };
    expect(await store.createFailed(wolf.id, "failed", rules, clock.now())).toBe("quarantined");
    expect((await store.get(wolf.id))?.quarantine?.until.getTime()).toBe(clock.now().getTime() + 60_000);
    const { quarantine, createFailures } = await wolves.readmit(wolf.id);
    expect([quarantine === null || quarantine.until <= clock.now(), createFailures]).toEqual([true, 0]);
    expect(changed).toEqual([wolf.id]);
  });

  it("of a wolf without a quarantine is no error", async () => {
    expect(await wolves.readmit(wolf.id)).toMatchObject({ id: wolf.id });
  });
});

describe("a registration", () => {
  it("carries how many streams the GPU can encode, or that nobody said", () => {
    const request = { gpu_type: "nvidia", max_sandboxes: 2, labels: {} } as const;
    expect(reportOf(request).encoderSessionsMax).toBeNull();
    expect(reportOf({ ...request, encoder_sessions_max: 8 }).encoderSessionsMax).toBe(8);
  });
});

describe("registration by a tunnel", () => {
  it("makes a wolf of a name that is free, once", async () => {
    const made = await wolves.registerOnConnect("gpu-1", "192.0.2.7");
    expect(await wolves.registerOnConnect("gpu-1", "192.0.2.8")).toEqual(made);
    expect(made).toMatchObject({ name: "gpu-1", address: "192.0.2.7", maxSandboxes: 20 });
    expect(await wolves.registerOnConnect("wolf-1", "192.0.2.8")).toEqual(wolf);
  });

  it.each([newId("wlf"), "", "a/b", "a\n", "x".repeat(64)])("refuses %j as a name", async (name) => {
    const { code } = await refusal(wolves.registerOnConnect(name, ""));
    expect(code).toBe("runner-id-invalid");
    expect(fleet.wolfNamed(name)).toBeUndefined();
  });
});
