/** What happens to the link of one run: most are rough, some break, one way or the other. */
import type { Fault, MemoryLink, Side } from "../../src/testing/index.ts";
import type { Dice } from "./dice.ts";
import type { World } from "./world.ts";

export const weathers = ["calm", "rough", "stall", "cut", "silence", "standstill"] as const;
export type WeatherKind = (typeof weathers)[number];

/** No peer may be taken for dead that stands still for less than this. */
const STALL_MS_MAX = 9000;
/** Longer than any silence that is forgiven. */
export const STANDSTILL_MS = 40_000;

export class Weather {
  readonly kind: WeatherKind;
  /** The link was cut, or went silent for good, or one side stood still for too long. */
  broken = false;
  private readonly dice: Dice;
  private readonly delayed: number;
  /** Infinity: it does not break, or by time. */
  private readonly breaksAtDelivery: number;
  private deliveries = 0;
  private cleared = false;

  constructor(dice: Dice) {
    this.dice = dice;
    this.kind = dice.chance(0.4) ? dice.pick(["calm", "rough"]) : dice.pick(weathers);
    this.delayed = this.kind === "calm" ? 0 : dice.pick([0, 0.1, 0.4]);
    // The first deliveries carry HELLO: a link may break before and after it.
    this.breaksAtDelivery = this.breaks && dice.chance(0.6) ? dice.size(400) : Number.POSITIVE_INFINITY;
  }

  private get breaks(): boolean {
    return this.kind === "cut" || this.kind === "silence";
  }

  /** For every delivery. */
  readonly fault = (): Fault => {
    this.deliveries += 1;
    if (this.deliveries > this.breaksAtDelivery && !this.cleared) {
      this.broken = true;
      return { kind: this.kind === "cut" ? "cut" : "drop" };
    }
    return this.dice.chance(this.delayed) ? { kind: "delay", turns: this.dice.int(1, 5) } : { kind: "pass" };
  };

  /** From now on nothing breaks. */
  clear(): void {
    this.cleared = true;
  }

  /** Sets the clock for what comes by time. */
  begin(world: World, link: MemoryLink, stepsMs: number): void {
    const { dice } = this;
    const atMs = dice.int(0, stepsMs);
    if (this.breaks && this.breaksAtDelivery === Number.POSITIVE_INFINITY) {
      world.clock.setTimer(atMs, () => {
        if (this.cleared) return;
        world.note(`the link breaks: ${this.kind}`);
        this.broken = true;
        if (this.kind === "cut") link.cut();
        else link.drop();
      });
    }
    if (this.kind !== "stall" && this.kind !== "standstill") return;
    const side: Side = dice.pick(["left", "right"]);
    const forMs = this.kind === "stall" ? dice.int(1, STALL_MS_MAX) : STANDSTILL_MS;
    world.clock.setTimer(atMs, () => {
      if (this.cleared) return;
      world.note(`${side} reads nothing for ${forMs} ms`);
      if (this.kind === "standstill") this.broken = true;
      link.hold(side, true);
      world.clock.setTimer(forMs, () => link.hold(side, false));
    });
  }
}
