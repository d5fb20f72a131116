/**
 * From placed to starting. Whoever starts a session holds its lock, and holds it on while it works; a lock that is let go, because
 * its process died or stood still, lets somebody else begin anew. A wolf that fails a session is not asked again for it, and
 * counts as the culprit once the same session has come up elsewhere.
 */
import { type CreateLobbyRequest, WolfApiError } from "@wolfpack/wolf-api";
import { type Clock, repeat, type Timer } from "../clock.ts";
import { thereby } from "../events/author.ts";
import type { Log } from "../logger.ts";
import type { QuarantineRules, Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { failureOf, type Lobbies, type LobbyApi } from "./lobbies.ts";
import type { SessionChanges } from "./session-changes.ts";
import type { Failure, Lock, Ran, Session, SessionStore } from "./session-store.ts";
import { lobbyRequest, SOFTWARE_NODE } from "./session-tag.ts";
import type { SessionWatch } from "./session-watch.ts";

export interface SessionStartsOptions {
  store: SessionStore;
  lobbies: Lobbies;
  changes: SessionChanges;
  clock: Clock;
  log: Log;
  newToken: () => string;
  wolfOf: (wolfId: string) => Pick<Wolf, "gpuType" | "renderNode"> | undefined;
  /** Another wolf would take it now. */
  fitsElsewhere: (session: Session, avoid: readonly string[]) => Promise<boolean>;
  /** How a creation went counts for its wolf. */
  wolves: Pick<WolfStore, "createSucceeded" | "createFailed">;
  quarantine: QuarantineRules;
  /** Its lobby is there; what Wolf has said of it meanwhile counts. */
  onLobby: (session: Session, wolfId: string, lobbyId: string) => Promise<void>;
  /** What runs there has to be looked at. */
  look: (wolfId: string) => void;
  renderNode: string;
  lockMs: number;
  /** A creation that takes longer is a slow one, though it succeeds. */
  slowMs: number;
  /** Sandboxes begun for one session before it has failed. */
  attemptsMax: number;
  watch: SessionWatch;
}

/** Locks are held on three times before they would end. */
const RENEWALS_PER_LOCK = 3;
/** Of those that never come to run the oldest give way. */
const KEPT_MAX = 10_000;

export class SessionStarts {
  private readonly options: SessionStartsOptions;
  /** Tokens of the sessions whose lobby this process creates. */
  private readonly held = new Map<string, string>();
  /** Sessions whose lobby came late: that they run then is no success of their wolf's. */
  private readonly late = new Set<string>();
  /** Sessions that are being started here, with the moment of their slot. */
  private readonly begun = new Map<string, number>();
  private renewing: Timer | undefined;

  constructor(options: SessionStartsOptions) {
    this.options = options;
  }

  /** Sessions whose lobby this process is creating at the moment. */
  get creating(): ReadonlyMap<string, unknown> {
    return this.held;
  }

  close(): void {
    this.renewing?.cancel();
  }

  /** Never rejects. */
  async start(session: Session, { token }: Lock): Promise<void> {
    const { log, look } = this.options;
    const { id, wolfId } = session;
    if (wolfId === null) return;
    this.hold(id, token);
    this.begins(id);
    try {
      await thereby("started", () => this.options.watch.starting(() => this.create(session, wolfId, token)));
    } catch (err) {
      // The database's fault, not Wolf's: whoever looks once the lock has ended adopts what is there, or begins anew.
      log.warn({ err, session_id: id }, "start not written");
    } finally {
      if (this.held.get(id) === token) this.held.delete(id);
    }
    // A stop that came meanwhile, or a lobby that a failed call may have left behind, is the reconciler's to finish.
    const now = await this.options.store.get(id).catch(() => undefined);
    const settled = now?.status === "starting" || now?.status === "running";
    if (!settled || now.wolfId !== wolfId) look(wolfId);
  }

  /** A placed session that nobody works on any more: begins anew, on the same wolf. */
  async takeOver(session: Session): Promise<void> {
    const { store, clock, log, newToken, lockMs, attemptsMax } = this.options;
    if (session.attempts >= attemptsMax) return this.failed(session, startInterrupted, "later");
    const now = clock.now();
    const lock = { token: newToken(), expiresAt: new Date(now.getTime() + lockMs) };
    if (!(await store.takeLock(session.id, lock, now))) return;
    log.info({ session_id: session.id, wolf_id: session.wolfId }, "start taken over");
    void this.start({ ...session, attempts: session.attempts + 1 }, lock);
  }

  /**
   * A start that is over without a sandbox: elsewhere, if another wolf has room now, or failed for good. `blame`: the wolf is at
   * fault for certain, or only if the session comes up elsewhere; with `none` it may come back here too. Of another start than this
   * one nothing changes.
   */
  async failed(
    session: Session,
    failure: Failure,
    blame: "slow" | "later" | "none",
    { lobbyGone = false } = {},
  ): Promise<void> {
    const { changes, log, attemptsMax, fitsElsewhere } = this.options;
    const { id, wolfId, attempts } = session;
    if (wolfId === null) return;
    log.warn({ session_id: id, wolf_id: wolfId, attempts, ...failure }, "session failed to start");
    if (blame === "slow") await this.blame(wolfId, "slow");
    const mayMove =
      attempts < attemptsMax &&
      (blame === "none" || (await fitsElsewhere(session, [...session.avoid, wolfId])));
    const move = { avoid: blame !== "none", blame: blame === "later", attempts, lobbyGone };
    if (mayMove && (await changes.requeue(session, startStatuses, move))) return this.ends(id, "moved");
    this.ends(id, "failed");
    const outcome = { status: "failed", failure } as const;
    await changes.finish(session, outcome, { from: startStatuses, attempt: { wolfId, attempts }, lobbyGone });
  }

  /** It runs: what failed it before was not the session's fault. */
  async succeeded({ id, wolfId, culprits, isNew }: Ran): Promise<void> {
    const { wolves, clock } = this.options;
    const wasLate = this.late.delete(id);
    if (!isNew) return;
    this.ends(id, "running");
    for (const culprit of culprits) await this.blame(culprit, "failed");
    if (!wasLate) await wolves.createSucceeded(wolfId, clock.now());
  }

  private async create(session: Session, wolfId: string, token: string): Promise<void> {
    const { store, lobbies, clock, changes, renderNode, slowMs, onLobby, wolfOf } = this.options;
    const api = lobbies(wolfId) ?? unreachable;
    const wolf = wolfOf(wolfId);
    const node = wolf?.gpuType === "none" ? SOFTWARE_NODE : (wolf?.renderNode ?? renderNode);
    const begun = clock.now().getTime();
    const lobbyId = await this.createLobby(api, lobbyRequest(session, node), session);
    if (lobbyId === undefined) return;
    const now = clock.now();
    if (now.getTime() - begun > slowMs) {
      this.wasLate(session.id);
      await this.blame(wolfId, "slow");
    }
    if (await store.lobbyCreated(session.id, lobbyId, now, token)) await onLobby(session, wolfId, lobbyId);
    changes.changed(session.id);
  }

  /** Undefined: there is none, and the session's start has failed. */
  private async createLobby(
    api: Pick<LobbyApi, "createLobby">,
    request: CreateLobbyRequest,
    session: Session,
  ): Promise<string | undefined> {
    try {
      return (await this.options.watch.creating(() => api.createLobby(request))).lobby_id;
    } catch (error) {
      this.options.log.debug({ err: error, session_id: session.id }, "no lobby was created");
      await this.failed(session, failureOf(error), blameOf(error), { lobbyGone: !mayHaveRun(error) });
      return undefined;
    }
  }

  private async blame(wolfId: string, what: "failed" | "slow"): Promise<void> {
    const { wolves, clock, log, quarantine } = this.options;
    const outcome = await wolves.createFailed(wolfId, what, quarantine, clock.now());
    if (outcome === "quarantined")
      log.warn({ wolf_id: wolfId, what }, "wolf is quarantined: sandboxes do not come up there");
  }

  private wasLate(id: string): void {
    this.late.add(id);
    if (this.late.size > KEPT_MAX) this.late.delete(this.late.values().next().value as string);
  }

  private begins(id: string): void {
    this.begun.delete(id);
    this.begun.set(id, this.options.clock.now().getTime());
    if (this.begun.size > KEPT_MAX) this.begun.delete(this.begun.keys().next().value as string);
  }

  private ends(id: string, outcome: "running" | "failed" | "moved"): void {
    const since = this.begun.get(id);
    if (since === undefined) return;
    this.begun.delete(id);
    this.options.watch.started(outcome, this.options.clock.now().getTime() - since);
  }

  private hold(id: string, token: string): void {
    const { clock, lockMs } = this.options;
    this.held.set(id, token);
    this.renewing ??= repeat(clock, lockMs / RENEWALS_PER_LOCK, () => this.renew());
  }

  private async renew(): Promise<void> {
    const { store, clock, log, lockMs } = this.options;
    if (this.held.size === 0) {
      this.renewing?.cancel();
      this.renewing = undefined;
      return;
    }
    const locks = [...this.held].map(([id, token]) => ({ id, token }));
    try {
      await store.renewLocks(locks, new Date(clock.now().getTime() + lockMs));
    } catch (err) {
      // The next one may arrive in time; if not, somebody else begins anew, and the token tells the two apart.
      log.warn({ err, sessions: locks.length }, "locks not held on");
    }
  }
}

const startStatuses = ["placed", "starting"] as const;

/** Of a wolf whose tunnel is gone. */
const unreachable: Pick<LobbyApi, "createLobby"> = {
  createLobby: () =>
    Promise.reject(new WolfApiError("WOLF_UNREACHABLE", "the wolf's tunnel is gone", { mayHaveRun: false })),
};

const mayHaveRun = (error: unknown) => error instanceof WolfApiError && error.mayHaveRun;

/** A Wolf that does not answer is at fault; one that refuses may have been asked for something that nobody can do. */
function blameOf(error: unknown): "slow" | "later" | "none" {
  if (!(error instanceof WolfApiError)) return "later";
  if (!error.mayHaveRun) return "none";
  return error.code === "WOLF_TIMEOUT" ? "slow" : "later";
}

const startInterrupted: Failure = {
  code: "start-interrupted",
  reason: "Its start was interrupted too often.",
};
