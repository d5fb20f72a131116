/**
 * The connections to one origin: those that nobody uses are kept for a while, and the one used last is used first. Where
 * connections are dear, one that becomes free goes to whoever waits for his own, which then is for the next.
 */
import { type Clock, systemClock, type Timer } from "../clock.ts";
import { type ConnectionOwner, type ConnectionUser, OriginConnection } from "./origin-connection.ts";
import { authority, type ForwardTarget } from "./origin-target.ts";

/** Milliseconds for which a connection may be kept that nobody has used yet. */
const KEEP_UNUSED_MS = 4000;

export interface OriginPoolOptions {
  target: ForwardTarget;
  /** Milliseconds until the target has taken a connection. */
  connectTimeoutMs: number;
  /** Connections kept while nobody uses them. */
  idleConnectionsMax: number;
  clock?: Clock;
}

export class OriginPool implements ConnectionOwner {
  /** What `Host` says to the origin. */
  readonly host: string;
  private readonly target: ForwardTarget;
  private readonly connectTimeoutMs: number;
  private readonly idleConnectionsMax: number;
  private readonly clock: Clock;
  /** The one that came last is the last. */
  private readonly idle: OriginConnection[] = [];
  /** Set while there is an idle connection, for the first of them to expire or earlier. */
  private sweep: Timer | undefined;
  private sweepAtMs = 0;
  /** Those on their way that have a user who would take another; the first is whose wish is oldest. Of dear ones only. */
  private readonly opening = new Set<OriginConnection>();

  constructor({ target, connectTimeoutMs, idleConnectionsMax, clock = systemClock }: OriginPoolOptions) {
    this.host = authority(target);
    this.target = target;
    this.connectTimeoutMs = connectTimeoutMs;
    this.idleConnectionsMax = idleConnectionsMax;
    this.clock = clock;
  }

  /** Kept connections that nobody uses. */
  get idleConnections(): number {
    return this.idle.length;
  }

  /** A kept connection, or undefined. While it rests, its user is told when it may ask. */
  take(user: ConnectionUser): OriginConnection | undefined {
    if (this.idle.length === 0) return undefined;
    const now = this.clock.now();
    for (let kept = this.idle.pop(); kept !== undefined; kept = this.idle.pop()) {
      if (kept.keptUntilMs > now && !kept.socket.destroyed) {
        kept.use(user);
        return kept;
      }
      kept.destroy();
    }
    return undefined;
  }

  /** A new one. Its user hears when the origin has taken it. */
  open(user: ConnectionUser, halfOpen: boolean): OriginConnection {
    const { target, connectTimeoutMs, clock } = this;
    const connection = new OriginConnection({ target, connectTimeoutMs, clock, halfOpen }, user, this);
    if (!halfOpen && "connect" in target) this.opening.add(connection);
    return connection;
  }

  settled(connection: OriginConnection): void {
    this.opening.delete(connection);
  }

  spare(connection: OriginConnection): void {
    this.keep(connection, KEEP_UNUSED_MS);
  }

  /** Takes a connection back that may be kept for so long. */
  keep(connection: OriginConnection, keepMs: number): void {
    // More than the answer, and nobody has asked for it.
    if (connection.socket.readableLength > 0) return connection.destroy();
    // None where none may be kept: then each request is to have one of its own.
    const [waiting] = this.idleConnectionsMax > 0 ? this.opening : [];
    if (waiting === undefined && this.idle.length >= this.idleConnectionsMax) return connection.destroy();
    connection.release();
    if (waiting !== undefined) {
      this.opening.delete(waiting);
      return waiting.exchange(connection);
    }
    const now = this.clock.now();
    connection.keptUntilMs = now + keepMs;
    this.idle.push(connection);
    this.sweepAt(connection.keptUntilMs, now);
  }

  gone(connection: OriginConnection): void {
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
  }

  private sweepAt(dueMs: number, now: number): void {
    if (this.sweep !== undefined) {
      if (this.sweepAtMs <= dueMs) return;
      this.sweep.cancel();
    }
    this.sweepAtMs = dueMs;
    this.sweep = this.clock.setTimer(dueMs - now, () => this.swept());
  }

  private swept(): void {
    this.sweep = undefined;
    const now = this.clock.now();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const kept of [...this.idle]) {
      if (kept.keptUntilMs <= now) kept.destroy();
      else nextMs = Math.min(nextMs, kept.keptUntilMs);
    }
    if (this.idle.length > 0) this.sweepAt(nextMs, now);
  }
}
