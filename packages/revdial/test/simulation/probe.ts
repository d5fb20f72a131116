/**
 * Shows from outside that a tunnel at rest holds nothing: it takes as many requests at once as its limits have room for in
 * any case, each with an upload that stays open. A slot or a window that an earlier exchange has kept would be missing now.
 */
import type { TunnelLimits } from "../../src/index.ts";
import type { Side } from "../../src/testing/index.ts";
import { ask } from "./caller.ts";
import { Dice } from "./dice.ts";
import { drawPlan } from "./plan.ts";
import type { World } from "./world.ts";

const PROBES_MAX = 100;
/** Time in which every one of them has reached its handler. */
const OPEN_MS = 3000;

export async function probe(
  world: World,
  from: Side,
  limits: Record<Side, TunnelLimits>,
  until: (condition: () => boolean) => Promise<void>,
): Promise<void> {
  const peer = limits[from === "left" ? "right" : "left"];
  // Windows that have grown, or began larger, may hold one half of the budget: the other is for first windows (SPEC §7.3).
  const windows = [limits[from], peer].map((own) => own.receiveBudgetBytes / 2 / own.windowInitialBytes);
  const count = Math.max(1, Math.floor(Math.min(PROBES_MAX, peer.channelsMax, ...windows)));
  const asked = Array.from({ length: count }, (_, index) => {
    const id = 10_000 + (from === "left" ? 0 : PROBES_MAX) + index;
    const plan = {
      ...drawPlan(id, from, new Dice(id), 1),
      kind: "digest" as const,
      upload: { bytes: 1, chunkBytes: 1, everyMs: OPEN_MS },
      whole: false,
      reading: { everyMs: 0 },
      waitMs: 0,
      stubbornMs: 0,
      trailers: false,
      cancelAtMs: undefined,
      deadlineMs: undefined,
      expects: new Set(["answered"]),
    };
    const exchange = world.add(plan);
    void ask(world, exchange);
    return exchange;
  });
  await until(() => asked.every(({ outcome, seen, handled }) => outcome !== undefined && handled === seen));
  const refused = asked.filter(({ outcome }) => outcome !== "answered");
  if (refused.length > 0)
    world.fault(`${refused.length} of ${count} probes of ${from} end with ${refused[0]?.outcome}`);
}
