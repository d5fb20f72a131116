/**
 * Drains from their beginning to the wolf's next intent: what runs goes on until the deadline, then it has to go, and once
 * nothing is left the drain is done. It does not matter whether the wolf is still there: it is its sessions that leave.
 */
import type { Clock } from "../clock.ts";
import { type Exclusive, unshared } from "../database/exclusive.ts";
import type { Log } from "../logger.ts";
import { intentsBefore } from "./wolf-lifecycle.ts";
import type { Wolf, WolfStore } from "./wolf-store.ts";

export interface DrainsOptions {
  store: Pick<WolfStore, "changeIntent" | "listDraining">;
  clock: Clock;
  log: Log;
  /** The deadline has passed: sessions that can be are moved from this wolf, the others stopped. Repeated until none is left. */
  evict: (wolfId: string) => Promise<unknown>;
  /** Called after a drain was done. */
  onChanged: (wolfId: string) => void;
  /** Default: there is no other replica. */
  exclusive?: Exclusive;
}

export interface Drains {
  /** To be called every second or two, and when a session of a draining wolf has ended. Never rejects, never runs beside itself. */
  tick(): Promise<void>;
}

export type DrainStep = "wait" | "evict" | "finish";

/** `finish` is an attempt: the statement that does it looks once more for sessions. */
export function drainStep(wolf: Pick<Wolf, "connectedSandboxes" | "drain">, now: Date): DrainStep {
  if (wolf.connectedSandboxes === 0) return "finish";
  return wolf.drain !== null && wolf.drain.deadline <= now ? "evict" : "wait";
}

export function createDrains(options: DrainsOptions): Drains {
  const { store, clock, log, evict, onChanged, exclusive = unshared } = options;
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;

  async function finish({ id, name, drain, intentReason: reason }: Wolf): Promise<void> {
    // One that drains without a plan is from before there were any.
    const to = drain?.next ?? "cordoned";
    const change = { from: intentsBefore("drained"), to, reason, unlessSessions: true };
    const { outcome } = await store.changeIntent(id, change, clock.now());
    // Otherwise an operator was faster, or a session is left after all, which the next tick sees.
    if (outcome !== "changed") return;
    log.info({ wolf_id: id, name, intent: to }, "wolf drained");
    onChanged(id);
  }

  const steps: Record<DrainStep, (wolf: Wolf) => Promise<unknown>> = {
    wait: async () => {},
    evict: ({ id }) => evict(id),
    finish,
  };

  /** What fails for one wolf is tried again at the next tick, and holds up no other. */
  async function guarded(what: string, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (err) {
      log.warn({ err, what }, "drain did not go on");
    }
  }

  async function look(): Promise<void> {
    const wolves = await store.listDraining();
    const now = clock.now();
    await Promise.all(wolves.map((wolf) => guarded(wolf.id, () => steps[drainStep(wolf, now)](wolf))));
  }

  return {
    tick() {
      next ??= running.then(async () => {
        next = undefined;
        await guarded("list", () => exclusive("drains", look));
      });
      running = next;
      return next;
    },
  };
}
