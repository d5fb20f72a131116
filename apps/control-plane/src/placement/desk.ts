/**
 * Where sessions get their wolf: new ones and those that wait, in one order, a batch at a time. Each is decided on the fleet in
 * memory, with what those before it got already taken; one transaction claims for the whole batch. A new session never overtakes
 * one that waits for the same: whenever there may be room that was not there before, those that wait are asked first.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { SessionSpec } from "@wolfpack/api-contract";
import type { Clock, Timer } from "../clock.ts";
import { because, currentAuthor } from "../events/author.ts";
import { ApiError } from "../http/problem.ts";
import type { Log } from "../logger.ts";
import { paced } from "../pace.ts";
import type {
  Claim,
  ClaimRequest,
  Lock,
  NewSession,
  Quotas,
  Session,
  SessionStore,
} from "../sessions/session-store.ts";
import type { FleetView } from "./fleet-view.ts";
import { type Decision, type PlacementSettings, place } from "./placement.ts";
import { type PlacementWatch, unwatchedPlacement } from "./placement-watch.ts";
import { overQuotaError, type Unplaced, unplacedError, unqueuedError } from "./refusals.ts";
import { type Wish, wishOf } from "./wish.ts";

export interface DeskOptions {
  store: Pick<SessionStore, "claim" | "enqueue" | "prospect" | "listQueued" | "explainQueued">;
  view: FleetView;
  clock: Clock;
  log: Log;
  random: () => number;
  newToken: () => string;
  quotas: Quotas;
  settings: PlacementSettings;
  queueMax: number;
  /** For how long a claim is its desk's to start. */
  lockMs: number;
  /** A session has its slot: it is to be started by whoever holds the lock. */
  onClaimed: (session: Session, lock: Lock) => void;
  watch?: PlacementWatch;
}

export interface PlaceRequest {
  session: Omit<NewSession, "placement">;
  /** Null: it does not wait. */
  queueDeadline: Date | null;
}

export interface Preview {
  decision: Decision;
  /** What creating it would be refused with. */
  refusal: ApiError | undefined;
  /** Where it would wait; null: it would not. */
  queuePosition: number | null;
}

export type Placed = { outcome: "claimed" | "queued" | "exists"; session: Session };

/** Claims of one transaction. */
const BATCH = 128;
/** Of those that wait; more than may be in the queue, for those that came back into it do not count there. */
const LOOKED_AT_MAX = 20_000;
/** A view that contradicts the claim's guards for so long is wrong: no answer would be worse. */
const TRIES_MAX = 20;
/** Reasons of waiting sessions that are written anew in one look. */
const EXPLAINED_MAX = 32;
const RETRY_MS = 1000;
/** Of looks at those that wait, while nobody new asks: a fleet that comes back makes room with each of its agents. */
const LOOKS = { burst: 60, perSecond: 10 };

/** Somebody who wants a wolf. */
interface Entry {
  id: string;
  wish: Wish;
  tries: number;
  /** Decided on a view that was read after it came. */
  fresh: boolean;
  waiting: Session | undefined;
  request: PlaceRequest | undefined;
  /** Calls back where its request came from: a batch is run on behalf of many. */
  within: (run: () => void) => void;
  resolve: (placed: Placed) => void;
  reject: (error: unknown) => void;
}

/** Of those that wait: the request that made them is over. */
const nowhere = AsyncLocalStorage.snapshot();

type Choice = { entry: Entry; claim: ClaimRequest; wolfId: string };

export class PlacementDesk {
  private readonly options: DeskOptions;
  private readonly nextLook: () => Promise<void>;
  private pending: Entry[] = [];
  /** There may be room that was not there at the last look. */
  private dirty = false;
  /** Reads the view, to look at whoever waits right after. */
  private reading = false;
  private running = false;
  private closed = false;
  private retry: Timer | undefined;

  constructor(options: DeskOptions) {
    this.options = options;
    this.nextLook = paced({ clock: options.clock, ...LOOKS });
  }

  /** Rejects with an ApiError: impossible, no room, queue full, over quota. */
  place(request: PlaceRequest): Promise<Placed> {
    return (this.options.watch ?? unwatchedPlacement).placing(() => this.getInLine(request));
  }

  private getInLine(asked: PlaceRequest): Promise<Placed> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(new ApiError("draining", "This replica is shutting down."));
      const { id, spec } = asked.session;
      const wish = wishOf(spec);
      // A batch is written on behalf of many.
      const request = { ...asked, session: { ...asked.session, requestedBy: currentAuthor() } };
      const common = { id, wish, request, resolve, reject, within: AsyncLocalStorage.snapshot() };
      this.pending.push({ ...common, tries: 0, fresh: false, waiting: undefined });
      this.start();
    });
  }

  /** There may be room: whoever waits is looked at. */
  wake(): void {
    this.dirty = true;
    this.start();
  }

  /** The view has read that something is not as it was. */
  fleetChanged(): void {
    if (!this.reading) this.wake();
  }

  /** What a new session of this owner would get now, or be answered. */
  async preview(ownerId: string, spec: SessionSpec): Promise<Preview> {
    const { store, view, clock, quotas, queueMax } = this.options;
    await view.refresh();
    const decision = this.decide(wishOf(spec));
    const isPlaced = decision.outcome === "placed";
    const unplaced = isPlaced ? undefined : unplacedError(decision, spec.queue);
    if (unplaced !== undefined) return { decision, refusal: unplaced, queuePosition: null };
    const now = clock.now();
    const prospect = await store.prospect({ ownerId, priority: spec.priority }, queueMax, quotas, now);
    if (prospect.outcome === "queued")
      return { decision, refusal: undefined, queuePosition: isPlaced ? null : prospect.position };
    // Who gets a wolf at once does not care how many wait.
    const isRefused = !isPlaced || prospect.outcome !== "full";
    const refusal = isRefused ? unqueuedError(prospect, decision.explanation, now) : undefined;
    return { decision, refusal, queuePosition: null };
  }

  /** Whether a session that failed elsewhere would get another wolf at once. */
  async fitsElsewhere(spec: SessionSpec, avoid: readonly string[]): Promise<boolean> {
    await this.options.view.refresh();
    return this.decide(wishOf(spec, avoid)).outcome === "placed";
  }

  /** Those who still ask are refused. */
  close(): void {
    this.closed = true;
    this.retry?.cancel();
    for (const { reject } of this.pending.splice(0))
      reject(new ApiError("draining", "This replica is shutting down."));
  }

  private decide(wish: Wish): Decision {
    const { view, clock, random, settings } = this.options;
    return place(wish, view.fleet, { nowMs: clock.now().getTime(), random, settings });
  }

  private decideOnce(wish: Wish, nothings: Map<string, Unplaced>): Decision {
    const question = JSON.stringify(wish);
    const known = nothings.get(question);
    if (known !== undefined) return known;
    const decision = this.decide(wish);
    if (decision.outcome !== "placed") nothings.set(question, decision);
    return decision;
  }

  private start(): void {
    if (this.running || this.closed) return;
    this.running = true;
    void because("queue", () => this.run()).finally(() => {
      this.running = false;
      // What came between the last look and here.
      if (!this.closed && (this.pending.length > 0 || this.dirty)) this.start();
    });
  }

  private async run(): Promise<void> {
    while (!this.closed && (this.pending.length > 0 || this.dirty)) {
      if (this.pending.length === 0) await this.nextLook();
      if (this.closed) return;
      const entries = this.pending.splice(0, BATCH);
      try {
        await this.round(entries);
      } catch (error) {
        for (const { reject } of entries) reject(error);
        if (this.dirty) return void this.later();
      }
    }
  }

  /** The database did not answer: whoever waits is looked at again soon. */
  private later(): void {
    this.dirty = false;
    this.retry = this.options.clock.setTimer(RETRY_MS, () => this.wake());
  }

  private async round(entries: readonly Entry[]): Promise<void> {
    const { store, view, log } = this.options;
    let waiting: Entry[] = [];
    if (this.dirty) {
      // Room that comes from here on is looked at again: what is read may be of before it.
      this.dirty = false;
      try {
        await this.read();
        waiting = (await store.listQueued(LOOKED_AT_MAX)).map(({ session }) => waitingEntry(session));
      } catch (error) {
        this.dirty = true;
        throw error;
      }
      for (const entry of entries) entry.fresh = true;
    }
    const unplaced = await this.claimFor([...waiting, ...entries]).catch((error: unknown) => {
      // Those that wait are not lost with it.
      if (waiting.length > 0) this.dirty = true;
      throw error;
    });
    await this.explain(unplaced);
    const news = unplaced.filter(({ entry }) => entry.request !== undefined);
    const stale = news.filter(({ entry }) => !entry.fresh).map(({ entry }) => entry);
    for (const { entry, decision } of news) {
      if (!entry.fresh) continue;
      await this.refuseOrQueue(entry, decision).catch((error: unknown) => entry.reject(error));
    }
    if (stale.length === 0) return;
    // Nobody is refused for what the view has not heard of yet.
    await view.refresh();
    for (const entry of stale) entry.fresh = true;
    this.pending.unshift(...stale);
    log.trace({ sessions: stale.length }, "placement looks again");
  }

  private async read(): Promise<void> {
    this.reading = true;
    try {
      await this.options.view.refresh();
    } finally {
      this.reading = false;
    }
  }

  /** Those that got nothing, with the reason. */
  private async claimFor(entries: readonly Entry[]): Promise<{ entry: Entry; decision: Unplaced }[]> {
    const { view } = this.options;
    const unplaced: { entry: Entry; decision: Unplaced }[] = [];
    let left = entries;
    while (left.length > 0) {
      // The fleet only gets fuller while a list is gone through: who got nothing would get nothing again.
      const nothings = new Map<string, Unplaced>();
      const chosen: Choice[] = [];
      for (const entry of left) {
        const decision = this.decideOnce(entry.wish, nothings);
        if (decision.outcome !== "placed") unplaced.push({ entry, decision });
        else if (entry.tries >= TRIES_MAX) unplaced.push({ entry, decision: neverClaimed(decision) });
        else chosen.push(this.choose(entry, decision));
      }
      const lost: Entry[] = [];
      for (let at = 0; at < chosen.length; at += BATCH)
        lost.push(...(await this.claim(chosen.slice(at, at + BATCH))));
      if (lost.length > 0) await view.refresh();
      left = lost;
    }
    return unplaced;
  }

  private choose(entry: Entry, decision: Extract<Decision, { outcome: "placed" }>): Choice {
    const { view, clock, newToken, lockMs } = this.options;
    const [best] = decision.ranked;
    const lock = { token: newToken(), expiresAt: new Date(clock.now().getTime() + lockMs) };
    const placement = decision.explanation;
    view.fleet.reserve(best.id, entry.wish);
    entry.tries += 1;
    const wolf = { id: best.id, epoch: best.epoch };
    const claim: ClaimRequest =
      entry.request === undefined
        ? { wolf, lock, queued: entry.id, placement }
        : { wolf, lock, session: { ...entry.request.session, placement } };
    return { entry, claim, wolfId: best.id };
  }

  /** Those whose wolf has changed meanwhile. */
  private async claim(chosen: readonly Choice[]): Promise<Entry[]> {
    const { store, clock, quotas, view, onClaimed } = this.options;
    const now = clock.now();
    let claims: Claim[];
    try {
      claims = await store.claim(
        chosen.map(({ claim }) => claim),
        quotas,
        now,
      );
    } catch (error) {
      for (const { entry, wolfId } of chosen) view.fleet.release(wolfId, entry.wish);
      throw error;
    }
    const lost: Entry[] = [];
    chosen.forEach(({ entry, claim, wolfId }, index) => {
      const result = claims[index];
      if (result?.outcome === "claimed") {
        entry.within(() => onClaimed(result.session, claim.lock));
        const since = entry.waiting?.queuedAt;
        if (since) this.options.watch?.waited(now.getTime() - since.getTime());
        entry.resolve({ outcome: "claimed", session: result.session });
        return;
      }
      view.fleet.release(wolfId, entry.wish);
      if (result === undefined || result.outcome === "lost") lost.push(entry);
      else if (result.outcome === "exists") entry.resolve(result);
      else if (result.outcome !== "gone") entry.reject(overQuotaError(result, now));
    });
    return lost;
  }

  /** A session that waits says why it does, as of now. */
  private async explain(unplaced: readonly { entry: Entry; decision: Unplaced }[]): Promise<void> {
    const changed = unplaced.filter(
      ({ entry, decision }) =>
        entry.waiting !== undefined && entry.waiting.placement.text !== decision.explanation.text,
    );
    for (const { entry, decision } of changed.slice(0, EXPLAINED_MAX))
      await this.options.store.explainQueued(entry.id, decision.explanation);
  }

  private async refuseOrQueue({ request, resolve }: Entry, decision: Unplaced): Promise<void> {
    if (request === undefined) return;
    const { store, clock, quotas, queueMax } = this.options;
    const { explanation } = decision;
    const unplaced = unplacedError(decision, request.queueDeadline !== null);
    if (unplaced !== undefined || request.queueDeadline === null) throw unplaced;
    const now = clock.now();
    const queued = await store.enqueue(
      { ...request.session, placement: explanation },
      { max: queueMax, deadline: request.queueDeadline },
      quotas,
      now,
    );
    if (queued.outcome !== "queued" && queued.outcome !== "exists")
      throw unqueuedError(queued, explanation, now);
    // Room that came between the look and this row was offered to nobody.
    if (queued.outcome === "queued") this.dirty = true;
    resolve(queued);
  }
}

const neverClaimed = (decision: Decision): Unplaced => ({
  outcome: "not-now",
  explanation: {
    ...decision.explanation,
    outcome: "not-now",
    text: "Every wolf that fits changes faster than it can be claimed.",
  },
});

function waitingEntry(session: Session): Entry {
  const nobody = () => undefined;
  return {
    id: session.id,
    wish: wishOf(session.spec, session.avoid),
    tries: 0,
    fresh: true,
    waiting: session,
    request: undefined,
    within: nowhere,
    resolve: nobody,
    reject: nobody,
  };
}
