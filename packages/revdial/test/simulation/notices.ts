/** Notices of both sides: numbered, so that loss, repetition and disorder show. */
import type { Side } from "../../src/testing/index.ts";
import type { World } from "./world.ts";

const other = (side: Side): Side => (side === "left" ? "right" : "left");

export class Notices {
  private readonly world: World;
  /** Numbers that `notify` took, by sender. */
  private readonly taken: Record<Side, number[]> = { left: [], right: [] };
  private readonly heard: Record<Side, number[]> = { left: [], right: [] };
  private next = 1;

  constructor(world: World) {
    this.world = world;
    for (const side of ["left", "right"] as const) {
      world.tunnels?.[other(side)].onNotice((type, payload) => {
        const number = new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(0);
        if (type !== `from-${side}`) world.fault(`a notice ${type} from ${side}`);
        if (number <= (this.heard[side].at(-1) ?? 0)) world.fault(`notice ${number} of ${side} comes late`);
        this.heard[side].push(number);
      });
    }
  }

  send(side: Side, count: number): void {
    for (let left = count; left > 0; left -= 1) {
      const payload = new Uint8Array(4);
      new DataView(payload.buffer).setUint32(0, this.next);
      if (this.world.tunnels?.[side].notify(`from-${side}`, payload)) this.taken[side].push(this.next);
      this.next += 1;
    }
  }

  /** Nothing is lost of what was taken; on a link that holds, that comes true. */
  get allHeard(): boolean {
    return (["left", "right"] as const).every(
      (side) => String(this.heard[side]) === String(this.taken[side]),
    );
  }

  /** What was heard and never taken was invented. */
  noneInvented(): void {
    for (const side of ["left", "right"] as const) {
      const taken = new Set(this.taken[side]);
      if (!this.heard[side].every((number) => taken.has(number)))
        this.world.fault(`${side} is heard with a notice it did not send`);
    }
  }
}
