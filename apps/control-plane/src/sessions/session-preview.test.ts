/** A preview says what creating would be answered now, and takes nothing: real PostgreSQL, told Wolfs. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type CreateSessionRequest, PlacementPreviewRequest } from "@wolfpack/api-contract";
import { type SessionFleet, sessionFleet } from "../../test/session-fleet.ts";
import type { ApiError } from "../http/problem.ts";
import type { UserPrincipal } from "../identity/principal.ts";

let fleet: SessionFleet;
let ann: UserPrincipal;
let ben: UserPrincipal;
let boss: UserPrincipal;

beforeEach(async () => {
  fleet = await sessionFleet({ queueMax: 3, quotas: { sessionsMax: 4, createsPerMinute: 6 } });
  [ann, ben] = [await fleet.user("ann"), await fleet.user("ben")];
  boss = await fleet.user("boss", "operator");
});
afterEach(() => fleet.close());

type Asked = Pick<Partial<CreateSessionRequest>, "gpu_type" | "priority" | "queue">;
const preview = (user: UserPrincipal, wish: Asked = {}) =>
  fleet.service.preview(user, PlacementPreviewRequest.parse(wish));

/** What creating it is really answered. */
const refusalOf = (user: UserPrincipal, wish: Asked): Promise<ApiError | undefined> =>
  fleet.create(user, wish).then(
    () => undefined,
    (error: ApiError) => error,
  );

async function expectRefused(user: UserPrincipal, code: string, extras: object, wish: Asked = {}) {
  const { refusal, queuePosition } = await preview(user, wish);
  const error = await refusalOf(user, wish);
  expect(error).toMatchObject({ code, extras });
  expect([refusal?.code, refusal?.message, refusal?.extras]).toEqual([code, error?.message, error?.extras]);
  expect(queuePosition).toBeNull();
}

describe("a preview", () => {
  it("says where, or which place in the queue, or what would have to change, and takes nothing", async () => {
    const { id: wolfId } = await fleet.wolf("w", { maxSandboxes: 1 });
    for (let times = 0; times < 9; times += 1)
      expect(await preview(ann)).toMatchObject({
        decision: { outcome: "placed", ranked: [{ id: wolfId }] },
        refusal: undefined,
        queuePosition: null,
      });
    expect(await fleet.claims(wolfId)).toEqual({ slots: 0, vramMb: 0, encoderSessions: 0 });
    await fleet.running(ann);
    await fleet.create(ann);
    await fleet.create(ann);
    expect(await preview(ben)).toMatchObject({
      decision: { outcome: "not-now", explanation: { counterfactuals: [{ change: "slots" }] } },
      queuePosition: 2,
    });
    expect((await preview(ann)).queuePosition).toBe(3);
    expect(await preview(ann, { gpu_type: "amd" })).toMatchObject({
      decision: { outcome: "impossible", allowed: { gpu_type: ["nvidia"] } },
      refusal: { code: "placement-impossible" },
      queuePosition: null,
    });
  });

  it("says the place that its priority gives it", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    await fleet.running(ann);
    await fleet.create(boss, { priority: 9 });
    await fleet.create(ben);
    const placeOf = async (priority: number) => (await preview(boss, { priority })).queuePosition;
    expect([await placeOf(9), await placeOf(5), await placeOf(4), await placeOf(0)]).toEqual([2, 2, 3, 3]);
    const { id } = await fleet.create(boss, { priority: 5 });
    expect(await fleet.store.queuePosition(id)).toBe(2);
  });

  it("is refused a priority that creating is refused", async () => {
    await expect(preview(ann, { priority: 5 })).rejects.toMatchObject({ code: "forbidden" });
    expect((await refusalOf(ann, { priority: 5 }))?.code).toBe("forbidden");
  });

  it("says that there are too many sessions, though a wolf has room, and to their owner only", async () => {
    await fleet.wolf("w", { maxSandboxes: 9 });
    for (let made = 0; made < 4; made += 1) await fleet.create(ann);
    await expectRefused(ann, "quota-exceeded", { limit: 4, current: 4 });
    expect(await preview(ann)).toMatchObject({ decision: { outcome: "placed" } });
    expect((await preview(ben)).refusal).toBeUndefined();
  });

  it("says the same where there is no room, and that a wish without waiting fails before", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    for (let made = 0; made < 4; made += 1) await fleet.create(ann);
    await expectRefused(ann, "quota-exceeded", { limit: 4, current: 4 });
    await expectRefused(ann, "no-capacity", { candidates: 1 }, { queue: false });
  });

  it("says that too many were created within a minute, until that is over", async () => {
    await fleet.wolf("w", { maxSandboxes: 9 });
    for (let made = 0; made < 6; made += 1) {
      const { id } = await fleet.running(ann);
      await fleet.service.stop(ann, id, true);
    }
    await expectRefused(ann, "rate-limited", { limit: 6, current: 6 });
    fleet.clock.advance(60_000);
    expect((await preview(ann)).refusal).toBeUndefined();
  });

  it("says that the queue is full, but not to who need not wait", async () => {
    await fleet.wolf("w", { maxSandboxes: 1 });
    await fleet.wolf("other", { maxSandboxes: 9, gpuType: "amd" });
    await fleet.running(ann, { gpu_type: "nvidia" });
    for (const user of [ann, ben, boss]) await fleet.create(user, { gpu_type: "nvidia" });
    await expectRefused(ben, "queue-full", { queue_length: 3, limit: 3, current: 3 }, { gpu_type: "nvidia" });
    expect(await preview(ben, { gpu_type: "amd" })).toMatchObject({
      decision: { outcome: "placed" },
      refusal: undefined,
    });
    expect(await refusalOf(ben, { gpu_type: "amd" })).toBeUndefined();
  });
});
