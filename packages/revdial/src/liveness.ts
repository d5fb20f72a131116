/**
 * Is the peer still there (SPEC §10)? Pings at a fixed pace, the third without answer sooner; a peer is dead when three of them are
 * unanswered and nothing at all was heard for a while. Both conditions: silence alone may be our own stall, a lost answer alone a busy
 * path.
 */
import { fixed } from "./numbers.ts";

const PINGS_UNANSWERED_MAX = fixed.pingsUnansweredMax;
/** A peer that sends bytes but never answers must not make us remember every ping. */
const PINGS_REMEMBERED_MAX = 16;
const PING_ANSWER_MS = fixed.pingAnswerMs;

export class Liveness {
  private readonly pingIntervalMs: number;
  private readonly deadAfterMs: number;
  private readonly unanswered = new Map<bigint, number>();
  private token = 0n;
  private nextPingAt: number;
  private heardAt: number;

  /** The first ping is due at once: windows need the round trip early. */
  constructor(pingIntervalMs: number, deadAfterMs: number, now: number) {
    this.pingIntervalMs = pingIntervalMs;
    this.deadAfterMs = deadAfterMs;
    this.nextPingAt = now;
    this.heardAt = now;
  }

  /** When `tick` has something to do. */
  get wakeAt(): number {
    if (this.unanswered.size < PINGS_UNANSWERED_MAX) return this.pingAt;
    return Math.min(this.pingAt, this.heardAt + this.deadAfterMs);
  }

  /**
   * At its pace the third that goes unanswered would leave three intervals after the last sign of life, past the silence after which a
   * peer is dead, and later still where this process is late. After a stall of our own the second keeps its time for an answer.
   */
  private get pingAt(): number {
    if (this.unanswered.size !== PINGS_UNANSWERED_MAX - 1) return this.nextPingAt;
    const pingedAt = this.nextPingAt - this.pingIntervalMs;
    const lastPingAt = Math.max(this.heardAt + this.deadAfterMs - PING_ANSWER_MS, pingedAt + PING_ANSWER_MS);
    return Math.min(this.nextPingAt, lastPingAt);
  }

  /** When the peer was heard, any byte of it. */
  heard(at: number): void {
    this.heardAt = Math.max(this.heardAt, at);
  }

  /** The round trip in milliseconds, or undefined for an answer to nothing we asked. It answers all earlier pings too. */
  answered(token: bigint, now: number): number | undefined {
    const sentAt = this.unanswered.get(token);
    if (sentAt === undefined) return undefined;
    for (const earlier of this.unanswered.keys()) if (earlier <= token) this.unanswered.delete(earlier);
    return now - sentAt;
  }

  /** The ping to send now, if any, and how long a dead peer has been silent. */
  tick(now: number): { ping?: bigint; deadForMs?: number } {
    const result: { ping?: bigint; deadForMs?: number } = {};
    if (now >= this.pingAt) {
      this.nextPingAt = now + this.pingIntervalMs;
      this.token += 1n;
      this.unanswered.set(this.token, now);
      const [oldest] = this.unanswered.keys();
      if (this.unanswered.size > PINGS_REMEMBERED_MAX && oldest !== undefined) this.unanswered.delete(oldest);
      result.ping = this.token;
    }
    const silentMs = now - this.heardAt;
    if (this.unanswered.size >= PINGS_UNANSWERED_MAX && silentMs >= this.deadAfterMs)
      result.deadForMs = silentMs;
    return result;
  }
}
