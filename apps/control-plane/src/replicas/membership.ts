/**
 * This replica among the others: a row with a lease, renewed all the time. Whoever finds its own row gone was taken for dead, as after
 * it stood still: its tunnels are sent away, to come back under epochs that count, and it joins anew. Nobody removes others before it
 * could renew its own lease for a whole one: after an outage of the database all come back first.
 */
import { type Clock, pause, repeat, type Timer, within } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Joining, Owner, ReplicaRow, ReplicaStore } from "./replica-store.ts";

export interface MembershipOptions {
  store: ReplicaStore;
  self: Omit<Joining, "leaseMs">;
  leaseMs: number;
  clock: Clock;
  log: Log;
  draining: () => boolean;
  /** Live tunnels of wolves. */
  tunnels: () => number;
  /**
   * The replica of this id answers there, now. One that was killed and has come back is not kept from its URL by the row of the process
   * before. Never rejects.
   */
  answers: (owner: Owner) => Promise<boolean>;
  /** The replica says that this one was taken for gone, as its database says now. Never rejects. */
  saysGone: (peer: Owner) => Promise<boolean>;
  /** It was taken for gone, and has joined anew, or finds another in its place. */
  onFenced: () => void;
  /** Others have taken it for gone, and it cannot join anew: its database is out of its reach, and not out of theirs. */
  onCutOff: () => void;
  /** These are gone, and with them their tunnels. Rejects: told again. */
  onGone: (ids: readonly string[]) => Promise<void>;
  /** Others came or went. */
  onPeers: () => void;
}

export interface Membership {
  readonly id: string;
  /** Rejects with the reason, a RefusedReplica or the database's. */
  start(): Promise<void>;
  /** The row goes: others need not wait for the end of its lease. Bounded, and never rejects. */
  stop(): Promise<void>;
  /** Others that live and can be reached, as last seen. */
  peer(id: string): Owner | undefined;
  readonly peers: readonly Owner[];
  /** Another one has a lease: as last seen, or as the database says. Rejects without a database. */
  lives(id: string): Promise<boolean>;
  /** Nobody has taken it for gone: the database says so now, and rejects where there is none. */
  knows(id: string): Promise<boolean>;
  /** Others live that stay, now; without a database that answers soon, as last seen. Never rejects. */
  hasOthers(): Promise<boolean>;
  /** Its lease has ended by its own clock: nobody has to believe that it lives. */
  expired(): boolean;
  /** All that live, also this one. Rejects without a database. */
  list(): Promise<ReplicaRow[]>;
}

/** Whose message is one whole sentence. */
export class RefusedReplica extends Error {
  readonly code: "OTHER_SECRET" | "URL_TAKEN";
  constructor(code: RefusedReplica["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** Renewals in the time of one lease: three may fail. */
const RENEWALS_PER_LEASE = 5;
/** As it stops, for the database to remove its row: it may be what has gone. */
const LAST_WORDS_MS = 1000;
/** And to say who else is there: longer, for whoever is taken to be alone gives no notice. One that has just come is not seen yet. */
const OTHERS_MS = 4000;
/** Between two looks whether another has left our URL. */
const URL_LOOK_MS = 500;

export function createMembership(options: MembershipOptions): Membership {
  const { store, self, leaseMs, clock, log, draining, tunnels } = options;
  let peers = new Map<string, Owner>();
  let renewing: Timer | undefined;
  let lookingAround: Timer | undefined;
  let turn: Promise<void> = Promise.resolve();
  /** Since when every renewal has succeeded. */
  let since: number | undefined;
  let renewedAt = Number.NEGATIVE_INFINITY;
  /** Removed, and not yet seen to. */
  let gone: string[] = [];
  let failing = false;
  let isDisplaced = false;
  /** When it was last renewed before it was found to be cut off. */
  let cutOffSince: number | undefined;

  const expired = () => renewing !== undefined && clock.elapsedMs() - renewedAt >= leaseMs;

  /** Undefined: it has joined. */
  async function join(replaces?: string): Promise<RefusedReplica | undefined> {
    const joined = await store.join({ ...self, leaseMs, replaces });
    if (joined.outcome === "joined") return undefined;
    if (joined.outcome === "url-taken") return new UrlTaken(joined.id, self.url ?? "");
    return new RefusedReplica(
      "OTHER_SECRET",
      `Replica ${joined.id} of this database has another API_KEY_SECRET: all replicas need the same, and one that has stopped is forgotten after ${Math.ceil(leaseMs / 1000)} s.`,
    );
  }

  /** Resolves to the time before it joined. Whoever is at our URL may be about to leave it, and has a lease's time for that. */
  async function joinFirst(): Promise<number> {
    const { url } = self;
    for (let left = Math.ceil(leaseMs / URL_LOOK_MS); ; left -= 1) {
      const begun = clock.elapsedMs();
      let refusal = await join();
      if (refusal instanceof UrlTaken && url !== null && !(await options.answers({ id: refusal.by, url })))
        refusal = await join(refusal.by);
      if (refusal === undefined) return begun;
      if (!(refusal instanceof UrlTaken) || left === 0) throw refusal;
      await pause(clock, URL_LOOK_MS);
    }
  }

  /** Nobody is told of its tunnels any more. It does not take its place back: the two would do nothing else. */
  function displaced(refusal: RefusedReplica): never {
    if (!isDisplaced) {
      isDisplaced = true;
      log.error(
        { err: refusal, replica: self.id },
        "this replica is none any more: its tunnels are sent away",
      );
      options.onFenced();
    }
    throw refusal;
  }

  async function look(): Promise<void> {
    const rows = await store.live();
    const now = new Map(
      rows.flatMap(({ id, url }) => (url === null || id === self.id ? [] : [[id, { id, url }]])),
    );
    const changed = now.size !== peers.size || [...now.keys()].some((id) => !peers.has(id));
    peers = now;
    if (changed) options.onPeers();
  }

  async function renew(): Promise<void> {
    const begun = clock.elapsedMs();
    if (await store.renew(self.id, { draining: draining(), tunnels: tunnels() }, leaseMs)) {
      since ??= begun;
      renewedAt = begun;
    } else {
      const refusal = await join();
      if (refusal !== undefined) displaced(refusal);
      isDisplaced = false;
      log.error(
        { replica: self.id },
        "this replica was taken for gone: its tunnels are sent away, and it begins anew",
      );
      since = begun;
      renewedAt = begun;
      options.onFenced();
    }
    await look();
    if (begun - since >= leaseMs) gone.push(...(await store.reap()));
    if (gone.length === 0) return;
    log.warn({ replicas: gone }, "replicas are gone: their leases have ended");
    await options.onGone(gone);
    gone = [];
  }

  /**
   * An outage of the database ends nobody's membership. But where it is only this replica that has none, others give up the wolves whose
   * tunnels it keeps, and they say so. Never rejects.
   */
  async function lookAround(): Promise<void> {
    if (cutOffSince === renewedAt || !expired()) return;
    const said = await Promise.all([...peers.values()].map(options.saysGone));
    if (!said.includes(true) || !expired()) return;
    cutOffSince = renewedAt;
    log.error(
      { replica: self.id },
      "this replica does not reach its database, and was taken for gone by others that do: its tunnels are sent away",
    );
    options.onCutOff();
  }

  /** Never rejects. */
  async function tick(): Promise<void> {
    try {
      await renew();
      failing = false;
    } catch (err) {
      since = undefined;
      if (!failing) log.warn({ err, replica: self.id }, "the lease of this replica is not renewed");
      failing = true;
    }
  }

  return {
    id: self.id,

    async start() {
      const begun = await joinFirst();
      since = begun;
      renewedAt = begun;
      await look();
      renewing = repeat(clock, leaseMs / RENEWALS_PER_LEASE, () => {
        turn = tick();
        return turn;
      });
      // Beside it: a renewal may wait for its answer for longer than a lease lasts.
      lookingAround = repeat(clock, leaseMs / RENEWALS_PER_LEASE, lookAround);
    },

    async stop() {
      if (renewing === undefined) return;
      renewing.cancel();
      lookingAround?.cancel();
      renewing = undefined;
      let why: unknown = new Error("the database does not answer");
      const leaving = turn
        .then(() => store.leave(self.id))
        .then(
          () => undefined,
          (err: unknown) => err,
        );
      await within(
        clock,
        LAST_WORDS_MS,
        leaving.then((err) => {
          why = err;
        }),
      );
      if (why !== undefined)
        log.warn({ err: why, replica: self.id }, "the lease of this replica ends by itself");
    },

    peer: (id) => peers.get(id),
    async lives(id) {
      if (peers.has(id)) return true;
      // One that has just come, or cannot be reached itself.
      return (await store.live()).some((row) => row.id === id);
    },
    knows: store.has,
    async hasOthers() {
      if (renewing === undefined || self.url === null) return false;
      const isOther = ({ id, url, draining }: ReplicaRow) => id !== self.id && url !== null && !draining;
      let said: boolean | undefined;
      const asked = store.live().then(
        (rows) => {
          said = rows.some(isOther);
        },
        () => undefined,
      );
      await within(clock, OTHERS_MS, asked);
      return said ?? peers.size > 0;
    },
    get peers() {
      return [...peers.values()];
    },
    expired,
    list: store.live,
  };
}

class UrlTaken extends RefusedReplica {
  readonly by: string;
  constructor(by: string, url: string) {
    super(
      "URL_TAKEN",
      `Replica ${by} lives at ${url}, the WOLFPACK_REPLICA_URL of this one too: each replica needs its own.`,
    );
    this.by = by;
  }
}
