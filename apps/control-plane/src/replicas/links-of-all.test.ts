import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { type Clock, pause } from "../clock.ts";
import { linksOfAll } from "./links-of-all.ts";
import type { Owner } from "./replica-store.ts";

const WOLF = "wlf_01KB00000000000000000000W0";

/** Nobody here, and one that `findWolf` names; whoever is asked fails as one that cannot be reached, after `tryMs`. */
function linksTo(
  clock: Clock,
  findWolf: () => Promise<Owner | undefined>,
  { tryMs = 0, onAsked = () => {} }: { tryMs?: number; onAsked?: () => void } = {},
) {
  return linksOfAll({
    local: { wolf: () => undefined, sandbox: async () => undefined },
    isHere: () => false,
    alone: false,
    membership: { peer: () => undefined },
    places: {
      find: async () => undefined,
      findWolf,
      findFurther: async () => [],
      expectsWolf: async () => true,
    },
    clock,
    forwarding: {
      ask: async () => {
        onAsked();
        if (tryMs > 0) await pause(clock, tryMs);
        throw new RevdialError("CLOSED", "nobody", { sent: "not-sent" });
      },
    },
  });
}

/** Its code, once it has failed. */
function failing(links: ReturnType<typeof linksOfAll>) {
  const seen: { code?: string } = {};
  void links
    .wolf(WOLF)
    ?.request({ service: "wolf", method: "GET", path: "/" })
    .catch((error: RevdialError) => {
      seen.code = error.code;
    });
  return seen;
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 20) {
    clock.advance(20);
    for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
  }
}

describe("a request for a wolf whose tunnel is expected", () => {
  it.each([0, -3_600_000, 3_600_000])(
    "is given up after 4 s where the clock is set by %s ms meanwhile",
    async (stepMs) => {
      const clock = manualClock();
      let aheadMs = 0;
      let asked = 0;
      const stepping = { ...clock, now: () => new Date(clock.now().getTime() + aheadMs) };
      const nobody = async () => {
        asked += 1;
        return undefined;
      };
      const seen = failing(linksTo(stepping, nobody));
      await pass(clock, 1000);
      aheadMs = stepMs;
      await pass(clock, 2400);
      expect([seen.code, asked > 5]).toEqual([undefined, true]);
      await pass(clock, 1000);
      expect(seen.code).toBe("CLOSED");
    },
  );

  it("is not begun anew after 4 s where its tries take long, as where packets vanish", async () => {
    const clock = manualClock();
    let asked = 0;
    const owner = async () => ({ id: "rep_01KB00000000000000000000B0", url: "http://b:8080" });
    const onAsked = () => {
      asked += 1;
    };
    const seen = failing(linksTo(clock, owner, { tryMs: 3000, onAsked }));
    await pass(clock, 6200);
    expect([seen.code, asked]).toEqual(["CLOSED", 2]);
  });
});
