import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { manualClock } from "../../test/manual-clock.ts";
import { linksOfAll } from "./links-of-all.ts";

const WOLF = "wlf_01KB00000000000000000000W0";

describe("a request for a wolf whose tunnel is expected", () => {
  it.each([0, -3_600_000, 3_600_000])(
    "is given up after 4 s where the clock is set by %s ms meanwhile",
    async (stepMs) => {
      const clock = manualClock();
      let aheadMs = 0;
      let asked = 0;
      const links = linksOfAll({
        local: { wolf: () => undefined, sandbox: async () => undefined },
        isHere: () => false,
        alone: false,
        membership: { peer: () => undefined },
        places: {
          find: async () => undefined,
          findWolf: async () => {
            asked += 1;
            return undefined;
          },
          findFurther: async () => [],
          expectsWolf: async () => true,
        },
        clock: { ...clock, now: () => new Date(clock.now().getTime() + aheadMs) },
        forwarding: {
          ask: async () => {
            throw new RevdialError("CLOSED", "nobody", { sent: "not-sent" });
          },
        },
      });
      let code: string | undefined;
      void links
        .wolf(WOLF)
        ?.request({ service: "wolf", method: "GET", path: "/" })
        .catch((error: RevdialError) => {
          code = error.code;
        });
      const pass = async (ms: number) => {
        for (let left = ms; left > 0; left -= 20) {
          clock.advance(20);
          for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
        }
      };
      await pass(1000);
      aheadMs = stepMs;
      await pass(2400);
      expect([code, asked > 5]).toEqual([undefined, true]);
      await pass(1000);
      expect(code).toBe("CLOSED");
    },
  );
});
