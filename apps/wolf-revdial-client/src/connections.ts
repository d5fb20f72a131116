/**
 * The agent's tunnels beside its first one, each at a replica of its own where there are as many. They carry requests and nothing else;
 * what the agent says of itself goes through the first. A control plane that does not say who holds a tunnel takes no others.
 */
import { HELD_BY_FIELD, type HeldBy, readHeldBy } from "@wolfpack/api-contract";
import { type DialOptions, moveBack, RevdialError, type Tunnel, type TunnelEnd } from "revdial";
import { backoffMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { LASTED_MS } from "./life.ts";
import type { Log } from "./logger.ts";
import { MOVE_FIRST_MS, moveAgainMs } from "./serving.ts";

export interface Dialling {
  signal: AbortSignal;
  onAnswer: NonNullable<DialOptions["onAnswer"]>;
  onMove: (afterMs: number) => void;
}

export interface ConnectionsOptions {
  /** Of all, the first included. */
  count: number;
  /** Opens tunnel number `at`, from 1. */
  dial: (at: number, dialling: Dialling) => Promise<Tunnel>;
  /** It is up, and counts until it ends. */
  onUp: (tunnel: Tunnel) => void;
  log: Log;
  clock: Clock;
  random: () => number;
  /** Longest wait between two tries. */
  reconnectMaxMs: number;
  /** Ends all, after what is in flight. */
  signal: AbortSignal;
}

export interface Connections {
  /** For dials of the first tunnel: what its answer says. */
  readonly onAnswer: NonNullable<DialOptions["onAnswer"]>;
  /** The first is up, and who holds it is known by now. */
  firstUp(tunnel: Tunnel): void;
  /** Those that are up, the first included. */
  readonly up: number;
  /** Resolves when none of them is open any more. */
  ended(): Promise<void>;
}

/** Tries to find another replica, one after the other; then it stays where it is. */
export const SPREAD_TRIES_MAX = 5;
const SPREAD_MS_MIN = 200;
const SPREAD_MS_MAX = 1500;
/** Replicas come back: it is tried again after so long, and up to twice. */
const SPREAD_AGAIN_MS = 300_000;
const BACKOFF_BASE_MS = 500;
const DRAIN_MS = 30_000;
const REPLACED_DRAIN_MS = 120_000;

export function createConnections(options: ConnectionsOptions): Connections {
  const { count, log, signal } = options;
  const places = new Places();
  const slots = Array.from({ length: count - 1 }, (_, at) => new Slot(at + 1, options, places));
  let answered: HeldBy | undefined;
  let saidAlone = false;
  const running = slots.map((slot) => slot.keepUp());

  return {
    onAnswer(headers) {
      answered = readHeldBy(headers[HELD_BY_FIELD]);
    },

    firstUp(tunnel) {
      const held = answered;
      if (held === undefined && count > 1 && !saidAlone) {
        saidAlone = true;
        log.warn(
          { connections: count },
          "this control plane takes one connection of an agent: --connections is not used",
        );
      }
      places.supported = held !== undefined;
      places.put(0, held);
      void tunnel.closed.then(() => places.remove(0, held));
    },

    get up() {
      return places.size;
    },

    async ended() {
      if (!signal.aborted) throw new Error("they end with the signal");
      await Promise.all(running);
    },
  };
}

/** Which of the tunnels is at which replica. */
export class Places {
  /** The control plane takes more than one. */
  supported = false;
  private readonly held = new Map<number, HeldBy | undefined>();
  private readonly waiting = new Set<() => void>();

  get size(): number {
    return this.held.size;
  }

  put(at: number, held: HeldBy | undefined): void {
    this.held.set(at, held);
    this.changed();
  }

  /** Unless it is another one's by now. */
  remove(at: number, held: HeldBy | undefined): void {
    if (this.held.get(at) !== held || !this.held.has(at)) return;
    this.held.delete(at);
    this.changed();
  }

  /** An earlier one is at the same replica, while there is a replica without any. */
  isDoubled(at: number, mine: HeldBy | undefined): boolean {
    if (mine === undefined) return false;
    const others = [...this.held].flatMap(([other, held]) =>
      other === at || held === undefined ? [] : [[other, held] as const],
    );
    const isTaken = others.some(([other, { replica }]) => other < at && replica === mine.replica);
    const replicas = new Set(others.map(([, { replica }]) => replica));
    return isTaken && replicas.size < Math.max(mine.of, ...others.map(([, { of }]) => of));
  }

  /** Resolves at the next change, and when the signal aborts. */
  async change(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.waiting.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    this.waiting.delete(wake);
    signal.removeEventListener("abort", wake);
  }

  private changed(): void {
    for (const wake of this.waiting) wake();
  }
}

/** One of the tunnels: dial, stay up, wait, again. */
class Slot {
  private readonly at: number;
  private readonly options: ConnectionsOptions;
  private readonly places: Places;
  private readonly open = new Set<Tunnel>();
  private held: HeldBy | undefined;
  private move = Promise.withResolvers<number>();
  private spreadTries = 0;

  constructor(at: number, options: ConnectionsOptions, places: Places) {
    this.at = at;
    this.options = options;
    this.places = places;
  }

  async keepUp(): Promise<void> {
    const { places, at } = this;
    const { signal, clock, log } = this.options;
    signal.addEventListener("abort", () => this.drain(), { once: true });
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      // Without the first it would be a way to an agent that nobody has heard of.
      while (!signal.aborted && !(places.supported && places.size > 0)) await places.change(signal);
      if (signal.aborted) break;
      const begun = clock.now();
      let waitMs: number;
      try {
        waitMs = await this.once();
        if (clock.now() - begun >= LASTED_MS) attempt = 0;
      } catch (error) {
        if (signal.aborted) break;
        waitMs = this.afterFailure(error, attempt);
      }
      log.debug({ connection: at, wait_ms: Math.round(waitMs) }, "next try of a further tunnel");
      await pause(waitMs, clock, signal);
    }
    await Promise.all([...this.open].map(({ closed }) => closed));
  }

  /** One tunnel, and those that take its place, to their end. Resolves to the wait until the next. */
  private async once(): Promise<number> {
    const { signal, log } = this.options;
    let tunnel: Tunnel | undefined = await this.dial(signal);
    let end: TunnelEnd | undefined;
    while (tunnel !== undefined) {
      const current: Tunnel = tunnel;
      const held = this.held;
      this.places.put(this.at, held);
      log.info({ connection: this.at, replica: held?.replica }, "further tunnel up");
      const why = await this.stay(current, held);
      if (why === "doubled") {
        this.spreadTries += 1;
        this.places.remove(this.at, held);
        void current.close({ drainMs: REPLACED_DRAIN_MS, reason: "another tunnel of this agent ends here" });
        return 0;
      }
      end = why === "ended" ? await current.goingAway : undefined;
      tunnel = why === "ended" ? undefined : await this.moved(current, why.afterMs);
      this.places.remove(this.at, held);
      end ??= tunnel === undefined ? await current.goingAway : undefined;
    }
    if (end?.code === "REPLACED") return this.long();
    return (end?.retryAfterMs ?? 0) + backoffMs(0, this.backoff());
  }

  /** Until something is to be done about it. */
  private async stay(
    tunnel: Tunnel,
    held: HeldBy | undefined,
  ): Promise<"ended" | "doubled" | { afterMs: number }> {
    const { clock, signal } = this.options;
    for (;;) {
      const over = new AbortController();
      const any = AbortSignal.any([signal, over.signal]);
      const doubled = this.places.isDoubled(this.at, held);
      if (!doubled) this.spreadTries = 0;
      const outcome = await Promise.race([
        tunnel.goingAway.then(() => "ended" as const),
        this.move.promise.then((afterMs) => ({ afterMs })),
        this.places.change(any).then(() => "changed" as const),
        ...(doubled ? [pause(this.spreadMs(), clock, any).then(() => "doubled" as const)] : []),
      ]);
      over.abort();
      if (signal.aborted) return "ended";
      if (outcome === "doubled" && !this.places.isDoubled(this.at, held)) continue;
      if (outcome !== "changed") return outcome;
    }
  }

  private spreadMs(): number {
    const { random } = this.options;
    if (this.spreadTries < SPREAD_TRIES_MAX)
      return SPREAD_MS_MIN + random() * (SPREAD_MS_MAX - SPREAD_MS_MIN);
    return SPREAD_AGAIN_MS * (1 + random());
  }

  /** Its replica is about to end, or has more than its share: another one in its place, before that. */
  private async moved(tunnel: Tunnel, afterMs: number): Promise<Tunnel | undefined> {
    const { clock, signal } = this.options;
    await pause(afterMs, clock, signal);
    return moveBack({
      tunnel,
      dial: (wanted) => this.dial(wanted),
      everyMs: MOVE_FIRST_MS,
      afterFailureMs: moveAgainMs(this.options.reconnectMaxMs),
      handoverMs: 1000,
      drainMs: REPLACED_DRAIN_MS,
      clock,
      signal,
    });
  }

  private async dial(signal: AbortSignal): Promise<Tunnel> {
    let held: HeldBy | undefined;
    const move = Promise.withResolvers<number>();
    const tunnel = await this.options.dial(this.at, {
      signal,
      onAnswer: (headers) => {
        held = readHeldBy(headers[HELD_BY_FIELD]);
      },
      onMove: move.resolve,
    });
    await tunnel.reached;
    this.held = held;
    this.move = move;
    this.open.add(tunnel);
    void tunnel.closed.then(() => this.open.delete(tunnel));
    this.options.onUp(tunnel);
    if (this.options.signal.aborted) this.drain();
    return tunnel;
  }

  private drain(): void {
    for (const tunnel of this.open) void tunnel.close({ drainMs: DRAIN_MS, reason: "the agent stops" });
  }

  private afterFailure(error: unknown, attempt: number): number {
    const { log } = this.options;
    const { status, retryAfterMs, code } =
      error instanceof RevdialError ? error : { status: undefined, retryAfterMs: undefined, code: undefined };
    log.info(
      { connection: this.at, code, status, err: error instanceof Error ? error.message : String(error) },
      "further tunnel not opened",
    );
    // A control plane of before: it says at the first tunnel's next dial whether it has learnt it.
    if (status === 400) this.places.supported = false;
    if (status === 401 || status === 403) return this.long();
    return (retryAfterMs ?? 0) + backoffMs(attempt, this.backoff());
  }

  private long(): number {
    const { reconnectMaxMs } = this.options;
    return reconnectMaxMs / 2 + backoffMs(0, { ...this.backoff(), baseMs: reconnectMaxMs / 2 });
  }

  private backoff() {
    const { random, reconnectMaxMs } = this.options;
    return { baseMs: BACKOFF_BASE_MS, capMs: reconnectMaxMs, random };
  }
}
