/** Several tunnels to one peer as one: the least loaded is asked, and what was not sent is sent over another. */
import { argument, checkObject, checkTunnel } from "./checks.ts";
import { type Clock, systemClock } from "./clock.ts";
import { connectOver } from "./connect.ts";
import { TunnelDispatcher } from "./dispatcher.ts";
import { beforeSending, RevdialError, type RevdialErrorCode } from "./errors.ts";
import { checkAborted, checkHandler, checkSendable, checkTypes, nothingServed } from "./exchange.ts";
import { checkListener, checkNotice, type NoticeListener } from "./notices.ts";
import { defaults } from "./numbers.ts";
import { countersOf, metricsOf, type TunnelMetrics } from "./observe.ts";
import { checkCloseOptions, checkSetOptions } from "./options.ts";
import { type OverMembers, type SetCall, SetExchange } from "./set-exchange.ts";
import { Summary } from "./summary.ts";
import type {
  CloseOptions,
  ConnectOptions,
  RequestHandler,
  Tunnel,
  TunnelEnd,
  TunnelRequest,
  TunnelResponse,
} from "./tunnel.ts";

export interface TunnelSetOptions {
  /** Members one request is tried on. Default 3, from 1 to 9,007,199,254,740,991. */
  attemptsMax?: number;
  /** Requests that wait for a member at once; more are REFUSED. Default 64, from 0 to 9,007,199,254,740,991. */
  waitersMax?: number;
  /** Time and timers. Default: the system's. */
  clock?: Clock;
}

export interface TunnelSet
  extends Pick<
    Tunnel,
    | "request"
    | "connect"
    | "dispatcher"
    | "serve"
    | "notify"
    | "onNotice"
    | "close"
    | "destroy"
    | "closed"
    | "load"
  > {
  /** A member is up, or was; rejects with CLOSED when the set ends before there was one. */
  readonly ready: Promise<void>;
  /** Those that have not ended, ready or not. */
  readonly members: readonly Tunnel[];
  /**
   * Those of all members together: counters with those of members that have left, so that they only rise, gauges and the shortest
   * round trip of those that are there.
   */
  readonly metrics: TunnelMetrics;
  /** A member until it has ended. `served`: it has its own handler already. Error: CLOSED. */
  add(tunnel: Tunnel, options?: { served?: boolean }): void;
}

/** Another member would say the same, or the caller has given up. */
const FINAL_CODES: ReadonlySet<RevdialErrorCode> = new Set<RevdialErrorCode>([
  "ARGUMENT",
  "HEAD_INVALID",
  "HEAD_TOO_LARGE",
  "CANCELLED",
  "DEADLINE",
  "SERVICE_UNKNOWN",
  "KIND_UNSUPPORTED",
]);

interface Member {
  tunnel: Tunnel;
  ready: boolean;
  served: boolean;
}

interface Waiter {
  wake(): void;
  fail(error: RevdialError): void;
}

/**
 * Joins tunnels that others make: add accepted ones as they come. A request waits for the first member within its deadline, goes
 * to the least loaded, and where it was not sent and can be sent again, to another. `dialTunnelSet` keeps one up by itself. Error:
 * ARGUMENT for options out of range.
 */
export function createTunnelSet(options: TunnelSetOptions = {}): TunnelSet {
  return new Members(options);
}

/** A set, and what `dialTunnelSet` needs of it besides. */
export class Members extends Summary implements TunnelSet {
  readonly ready: Promise<void>;
  readonly closed: Promise<TunnelEnd>;
  private readonly attemptsMax: number;
  private readonly waitersMax: number;
  private readonly clock: Clock;
  private readonly all: Member[] = [];
  private readonly waiters = new Set<Waiter>();
  /** Each listener with the ways to stop it, member by member. */
  private readonly listeners = new Map<NoticeListener, Map<Tunnel, () => void>>();
  private readonly settleReady = Promise.withResolvers<void>();
  private readonly settleClosed = Promise.withResolvers<TunnelEnd>();
  private readonly onEnd: () => void;
  /** Of members that have left. */
  private gone = countersOf([]);
  private handler: RequestHandler | undefined;
  private turn = 0;
  private end: TunnelEnd | undefined;

  /** `onEnd`: told when `close` or `destroy` is called, before members hear of it. */
  constructor(options: TunnelSetOptions, onEnd: () => void = () => undefined) {
    super();
    checkSetOptions(options);
    const { clock = systemClock } = options;
    const { attemptsMax = defaults.set.attemptsMax, waitersMax = defaults.set.waitersMax } = options;
    this.onEnd = onEnd;
    this.attemptsMax = attemptsMax;
    this.waitersMax = waitersMax;
    this.clock = clock;
    this.ready = this.settleReady.promise;
    this.ready.catch(() => undefined); // Those who do not wait for it watch `closed`.
    this.closed = this.settleClosed.promise;
  }

  toJSON() {
    return { members: this.all.length, load: this.load };
  }

  get members(): readonly Tunnel[] {
    return this.all.map(({ tunnel }) => tunnel);
  }

  get metrics(): TunnelMetrics {
    return metricsOf(
      this.all.map(({ tunnel }) => tunnel.metrics),
      this.gone,
    );
  }

  get load(): number {
    return this.all.reduce((sum, { tunnel }) => sum + tunnel.load, 0);
  }

  add(tunnel: Tunnel, options: { served?: boolean } = {}): void {
    checkTunnel(tunnel, "the member");
    checkObject(options);
    const { served = false } = options;
    if (this.end) throw closedError();
    if (this.all.some((other) => other.tunnel === tunnel)) throw argument("the tunnel is a member already");
    const member: Member = { tunnel, ready: false, served };
    if (this.handler && !served) tunnel.serve(this.handler);
    for (const [listener, stops] of this.listeners) stops.set(tunnel, tunnel.onNotice(listener));
    this.all.push(member);
    tunnel.ready.then(
      () => {
        member.ready = true;
        this.settleReady.resolve();
        for (const waiter of [...this.waiters]) waiter.wake();
      },
      () => undefined,
    );
    void tunnel.closed.then(() => this.remove(member));
  }

  async request(request: TunnelRequest): Promise<TunnelResponse> {
    beforeSending(() => checkTypes(request));
    const { deadlineMs, signal, body } = request;
    const replayable = body === undefined || body instanceof Uint8Array;
    const check = () => checkSendable(request);
    return this.overMembers({ deadlineMs, signal, replayable, check }, (member, leftMs) =>
      member.request(leftMs === deadlineMs ? request : { ...request, deadlineMs: leftMs }),
    );
  }

  dispatcher(service: string): TunnelDispatcher {
    return new TunnelDispatcher(service, (handler) => new SetExchange(this.overMembers, service, handler));
  }

  private readonly overMembers: OverMembers = async (call, attempt) => {
    const { deadlineMs } = call;
    const deadlineAt = deadlineMs === undefined ? undefined : this.clock.now() + deadlineMs;
    const tried = new Set<Tunnel>();
    let last: RevdialError | undefined;
    for (;;) {
      this.check(call, deadlineAt);
      if (this.end) throw last ?? closedError();
      const tunnel = this.choose(tried);
      if (tunnel === undefined) {
        // Members that have refused us would do so again: only the lack of any is worth waiting for.
        if (last && (deadlineAt === undefined || this.choose(new Set()))) throw last;
        call.check();
        await this.wait(call, deadlineAt);
        continue;
      }
      tried.add(tunnel);
      try {
        const leftMs = deadlineAt === undefined ? undefined : Math.ceil(deadlineAt - this.clock.now());
        return await attempt(tunnel, leftMs);
      } catch (error) {
        if (!call.replayable || tried.size >= this.attemptsMax || !isRetryable(error)) throw error;
        last = error;
      }
    }
  };

  connect(service: string, options?: ConnectOptions): ReturnType<Tunnel["connect"]> {
    return connectOver(this, this.clock, service, options);
  }

  /** For members that are served from their first moment, which `serve` may follow. */
  readonly handle: RequestHandler = (request, reply) => (this.handler ?? nothingServed)(request, reply);

  serve(handler: RequestHandler): void {
    checkHandler(handler);
    if (this.handler) throw argument("the set has a handler already");
    this.handler = handler;
    for (const { tunnel, served } of this.all) if (!served) tunnel.serve(handler);
  }

  notify(type: string, payload: Uint8Array): boolean {
    checkNotice(type, payload);
    return this.choose(new Set())?.notify(type, payload) ?? false;
  }

  onNotice(listener: NoticeListener): () => void {
    checkListener(listener);
    // A wrapper, so that the same listener given twice is two.
    const own: NoticeListener = (type, payload) => listener(type, payload);
    this.listeners.set(own, new Map(this.all.map(({ tunnel }) => [tunnel, tunnel.onNotice(own)])));
    return () => {
      for (const stop of this.listeners.get(own)?.values() ?? []) stop();
      this.listeners.delete(own);
    };
  }

  close(options: CloseOptions = {}): Promise<TunnelEnd> {
    checkCloseOptions(options);
    this.finish({ code: "CLOSED", reason: options.reason ?? "closing" });
    for (const tunnel of this.members) void tunnel.close(options);
    return this.closed;
  }

  destroy(reason?: Error): void {
    this.finish({ code: "DESTROYED", reason: reason?.message ?? "destroyed here" });
    for (const tunnel of this.members) tunnel.destroy(reason);
  }

  private finish(end: TunnelEnd): void {
    this.end ??= end;
    this.onEnd();
    this.settleReady.reject(closedError());
    for (const waiter of [...this.waiters]) waiter.fail(closedError());
    if (this.all.length === 0) this.settleClosed.resolve(this.end);
  }

  private remove(member: Member): void {
    this.gone = countersOf([this.gone, member.tunnel.metrics]);
    this.all.splice(this.all.indexOf(member), 1);
    for (const stops of this.listeners.values()) stops.delete(member.tunnel);
    if (this.end && this.all.length === 0) this.settleClosed.resolve(this.end);
  }

  /** The least loaded; among equals the one whose turn is next. */
  private choose(tried: ReadonlySet<Tunnel>): Tunnel | undefined {
    let best: Tunnel | undefined;
    let next = this.turn;
    for (let step = 0; step < this.all.length; step += 1) {
      const index = (this.turn + step) % this.all.length;
      const member = this.all[index];
      if (!member?.ready || member.tunnel.draining || tried.has(member.tunnel)) continue;
      if (best !== undefined && member.tunnel.load >= best.load) continue;
      best = member.tunnel;
      next = index + 1;
    }
    this.turn = next;
    return best;
  }

  private check({ signal, deadlineMs }: SetCall, deadlineAt: number | undefined): void {
    beforeSending(() => checkAborted(signal));
    // A deadline that was none from the start is the tunnel's to judge.
    if (deadlineAt !== undefined && (deadlineMs ?? 0) > 0 && this.clock.now() >= deadlineAt) throw late();
  }

  /** Until a member is ready; rejects with DEADLINE, CANCELLED, CLOSED or REFUSED, all not sent. */
  private async wait({ signal }: SetCall, deadlineAt: number | undefined): Promise<void> {
    if (deadlineAt === undefined) throw unsent("CLOSED", "no tunnel is up");
    if (this.waiters.size >= this.waitersMax)
      throw unsent("REFUSED", `${this.waitersMax} requests wait for a tunnel already`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { wake: resolve, fail: reject };
    const cancel = () => reject(unsent("CANCELLED", "cancelled while waiting for a tunnel", signal?.reason));
    const timer =
      deadlineAt === Number.POSITIVE_INFINITY
        ? undefined
        : this.clock.setTimer(deadlineAt - this.clock.now(), () => reject(late()));
    signal?.addEventListener("abort", cancel, { once: true });
    this.waiters.add(waiter);
    try {
      await promise;
    } finally {
      this.waiters.delete(waiter);
      timer?.cancel();
      signal?.removeEventListener("abort", cancel);
    }
  }
}

function isRetryable(error: unknown): error is RevdialError {
  return error instanceof RevdialError && error.sent === "not-sent" && !FINAL_CODES.has(error.code);
}

const unsent = (code: RevdialErrorCode, message: string, cause?: unknown) =>
  new RevdialError(code, message, { cause, sent: "not-sent" });
const closedError = () => unsent("CLOSED", "the tunnel set is closed");
const late = () => unsent("DEADLINE", "no tunnel came up in time");
