/**
 * What an agent of Helix does not say of its Wolf, found out from here and said as an agent of ours would: how Wolf answers a small
 * probe, and what it can do. Wolf's events are not subscribed to: a subscription that ends with its tunnel can end Wolf.
 */
import { createHash } from "node:crypto";
import { type AgentCapabilities, type AgentHeartbeat, agentNoticeTypes } from "@wolfpack/api-contract";
import { type AskWolf, parseWolfJson, UpstreamError, wolfCapabilities } from "@wolfpack/wolf-api";
import type { Clock, Timer } from "../../clock.ts";
import type { Log } from "../../logger.ts";

export interface WolfWatch {
  /** Somebody's request was answered by Wolf, or found nobody there. */
  saw(answered: boolean): void;
  /** Nothing is asked or said any more. */
  stop(): void;
}

export interface WolfWatchOptions {
  ask: AskWolf;
  clock: Clock;
  log: Log;
  /** Sends a notice up. */
  notify: (type: string, payload: object) => void;
}

const PROBE_INTERVAL_MS = 10_000;
const SLOW_MS = 3000;
/** Above the 20 s for which Wolf itself waits for a lobby. */
const STUCK_MS = 25_000;
/** Wolf corrupts some replies above 64 KiB, and its description is near that. */
const SCHEMA_TRIES_MAX = 3;
const SCHEMA_TIMEOUT_MS = 5000;
/** A Wolf that could not say what it can do is asked again. */
const SCHEMA_RETRY_MS = 60_000;
const DETAIL_CHARACTERS_MAX = 200;
const LOBBIES = "GET /api/v1/lobbies";

const unknownCapabilities: AgentCapabilities = { schema_hash: null, features: [], missing: [] };

export function watchWolf(options: WolfWatchOptions): WolfWatch {
  return new Watch(options);
}

/** `answered`: something HTTP is there. */
type Found = { beat: AgentHeartbeat; answered: boolean };

class Watch implements WolfWatch {
  private readonly options: WolfWatchOptions;
  /** Undefined until the first probe. */
  private state: AgentHeartbeat | undefined;
  private known: AgentCapabilities | undefined;
  /** Milliseconds; infinite while it is known, or being learnt. */
  private learnAt = Number.NEGATIVE_INFINITY;
  private nap: Timer | undefined;
  private stopped = false;

  constructor(options: WolfWatchOptions) {
    this.options = options;
    void this.look();
  }

  saw(answered: boolean): void {
    if (this.state !== undefined && answered !== (this.state.wolf !== "unreachable")) this.lookNow();
  }

  stop(): void {
    this.stopped = true;
    this.nap?.cancel();
  }

  private lookNow(): void {
    if (this.nap === undefined || this.stopped) return;
    this.nap.cancel();
    void this.look();
  }

  private async look(): Promise<void> {
    this.nap = undefined;
    const { beat, answered } = await this.probe();
    if (this.stopped) return;
    this.become(beat);
    // What comes up next may be another build.
    if (beat.wolf === "unreachable" && !answered) this.learnAt = Number.NEGATIVE_INFINITY;
    if (answered && this.now() >= this.learnAt) void this.learn();
    this.nap = this.options.clock.setTimer(PROBE_INTERVAL_MS, () => void this.look());
  }

  private now(): number {
    return this.options.clock.now().getTime();
  }

  private become(beat: AgentHeartbeat): void {
    const before = this.state?.wolf;
    this.state = beat;
    if (beat.wolf !== (before ?? "ok")) this.options.log.warn({ ...beat, before }, "Wolf's state changed");
    this.options.notify(agentNoticeTypes.heartbeat, beat);
  }

  private async probe(): Promise<Found> {
    const begunAt = this.now();
    const timer = this.options.clock.setTimer(SLOW_MS, () => {
      // A stuck Wolf stays so until it answers.
      if (!this.stopped && this.state?.wolf !== "stuck")
        this.become({ wolf: "slow", detail: `no answer within ${SLOW_MS / 1000} s` });
    });
    try {
      const found = await this.askTwice(begunAt);
      const seconds = Math.round((this.now() - begunAt) / 1000);
      if (found.beat.wolf !== "ok" || seconds * 1000 < SLOW_MS) return found;
      return { beat: { wolf: "slow", detail: `answered after ${seconds} s` }, answered: true };
    } catch (error) {
      return { beat: beatOf(error), answered: false };
    } finally {
      timer.cancel();
    }
  }

  /** Wolf breaks three of four replies above 64 KiB; that one has begun to come shows already that Wolf answers. */
  private async askTwice(begunAt: number): Promise<Found> {
    for (let tries = 1; ; tries += 1) {
      const timeoutMs = Math.max(1, begunAt + STUCK_MS - this.now());
      try {
        const { status } = await this.options.ask({ method: "GET", path: "/api/v1/lobbies", timeoutMs });
        return this.outcome(status);
      } catch (error) {
        if (!isBroken(error)) throw error;
        if (error.status === 200) return this.outcome(200);
        if (tries === 2) throw error;
      }
    }
  }

  private outcome(status: number): Found {
    const lacksLobbies = this.known?.missing.includes(LOBBIES) === true;
    if (status === 200 || (status === 404 && lacksLobbies)) return { beat: { wolf: "ok" }, answered: true };
    // Something else may listen there, or Wolf is out of order: neither can take a lobby.
    const detail = `the list of lobbies is answered with status ${status}`;
    return { beat: { wolf: "unreachable", detail }, answered: true };
  }

  /** Never rejects. */
  private async learn(): Promise<void> {
    this.learnAt = Number.POSITIVE_INFINITY;
    const learned = await this.askCapabilities();
    if (this.stopped) return;
    const { schema_hash, features, missing } = learned;
    if (schema_hash === null) this.learnAt = this.now() + SCHEMA_RETRY_MS;
    const isNews = this.known?.schema_hash !== schema_hash;
    this.known = learned;
    if (isNews)
      this.options.log[missing.length > 0 ? "warn" : "info"](
        { schema_hash, features, missing },
        "Wolf's capabilities",
      );
    this.options.notify(agentNoticeTypes.capabilities, learned);
    // Its 404 for the lobbies is an answer now.
    if (missing.includes(LOBBIES)) this.lookNow();
  }

  private async askCapabilities(): Promise<AgentCapabilities> {
    for (let tries = 0; tries < SCHEMA_TRIES_MAX && !this.stopped; tries += 1) {
      try {
        const question = {
          method: "GET",
          path: "/api/v1/openapi-schema",
          timeoutMs: SCHEMA_TIMEOUT_MS,
        } as const;
        const { status, body } = await this.options.ask(question);
        if (status !== 200) return unknownCapabilities;
        const known = wolfCapabilities(parseWolfJson(Buffer.from(body).toString("utf8")));
        if (known !== undefined)
          return { schema_hash: createHash("sha256").update(body).digest("hex"), ...known };
      } catch {
        // Gone, slow or cut: asked again.
      }
    }
    return unknownCapabilities;
  }
}

function isBroken(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.code === "upstream-reply-broken";
}

function beatOf(error: unknown): AgentHeartbeat {
  if (!(error instanceof UpstreamError)) return { wolf: "unreachable", detail: "unknown" };
  if (error.code === "upstream-timeout")
    return { wolf: "stuck", detail: `no answer within ${STUCK_MS / 1000} s` };
  return { wolf: "unreachable", detail: `${error.code}: ${error.message}`.slice(0, DETAIL_CHARACTERS_MAX) };
}
