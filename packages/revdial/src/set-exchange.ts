/**
 * One exchange of a set's dispatcher: over one member after another until one has taken it. Its handler sees a single
 * exchange, which it can pause and abort from the start, also while there is no member.
 */
import type { Duplex } from "node:stream";
import { checkObject } from "./checks.ts";
import { requestOf, tellHead } from "./dispatch-end.ts";
import type {
  DispatchController,
  DispatchHandler,
  DispatchOptions,
  Exchange,
  HeaderObject,
} from "./dispatching.ts";
import { beforeSending, RevdialError } from "./errors.ts";
import { checkSendable, warn } from "./exchange.ts";
import type { HeaderList } from "./head.ts";
import type { Tunnel } from "./tunnel.ts";

/** What a set has to know of a call to run it over its members. */
export interface SetCall {
  deadlineMs: number | undefined;
  signal: AbortSignal | undefined;
  /** Its body can be sent once more. */
  replayable: boolean;
  /** Throws what no member would send: to wait for one would hide it. */
  check(): void;
}

/** Calls `attempt` for one member after another, until one does not reject with what may be tried again. */
export type OverMembers = <T>(
  call: SetCall,
  attempt: (member: Tunnel, deadlineMs: number | undefined) => Promise<T>,
) => Promise<T>;

export class SetExchange implements Exchange, DispatchHandler, DispatchController {
  reason: Error | null = null;
  paused = false;
  private readonly overMembers: OverMembers;
  private readonly service: string;
  private readonly handler: DispatchHandler;
  private readonly cancelled = new AbortController();
  /** The member's side, and how to tell how it went with it. */
  private member: DispatchController | undefined;
  private attempt: PromiseWithResolvers<void> | undefined;
  private taken = false;

  constructor(overMembers: OverMembers, service: string, handler: DispatchHandler) {
    this.overMembers = overMembers;
    this.service = service;
    this.handler = handler;
  }

  start(options: DispatchOptions): void {
    this.handler.onRequestStart?.(this, {});
    checkObject(options);
    const { body, deadlineMs } = options;
    const replayable = !body || typeof body === "string" || body instanceof Uint8Array;
    const check = () => checkSendable(beforeSending(() => requestOf(this.service, options)));
    const call = { deadlineMs, signal: this.cancelled.signal, replayable, check };
    this.overMembers(call, (member, leftMs) =>
      this.over(member, leftMs === undefined ? options : { ...options, deadlineMs: leftMs }),
    ).catch((error) => this.failed(this.reason ?? error));
  }

  private over(member: Tunnel, options: DispatchOptions): Promise<void> {
    this.attempt = Promise.withResolvers<void>();
    member.dispatcher(this.service).dispatch(options, this);
    return this.attempt.promise;
  }

  failed(error: Error): void {
    try {
      this.handler.onResponseError?.(this, error);
    } catch (thrown) {
      warn(thrown); // The handler has nobody else.
    }
  }

  get aborted(): boolean {
    return this.reason !== null;
  }

  get rawHeaders(): Buffer[] | null {
    return this.member?.rawHeaders ?? null;
  }

  get rawTrailers(): Buffer[] | null {
    return this.member?.rawTrailers ?? null;
  }

  pause(): void {
    this.paused = true;
    this.member?.pause();
  }

  resume(): void {
    this.paused = false;
    this.member?.resume();
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.reason = reason;
    this.cancelled.abort(reason);
    this.member?.abort(reason);
  }

  onRequestStart(member: DispatchController): void {
    this.member = member;
    if (this.paused) member.pause();
  }

  /** Something was said: from now on it is this member's. */
  private take(): void {
    this.taken = true;
    this.attempt?.resolve();
  }

  onRequestUpgrade(_member: DispatchController, status: number, headers: HeaderObject, socket: Duplex): void {
    this.take();
    if (!this.handler.onRequestUpgrade) throw new RevdialError("ARGUMENT", "the handler takes no upgrades");
    this.handler.onRequestUpgrade(this, status, headers, socket);
  }

  onResponseFields(_member: DispatchController, status: number, fields: HeaderList): void {
    this.take();
    tellHead(this.handler, this, status, fields);
  }

  onResponseData(_member: DispatchController, chunk: Buffer): void {
    this.handler.onResponseData?.(this, chunk);
  }

  onResponseEnd(_member: DispatchController, trailers: HeaderObject): void {
    this.handler.onResponseEnd?.(this, trailers);
  }

  onResponseError(_member: DispatchController, error: Error): void {
    if (this.taken) this.handler.onResponseError?.(this, error);
    else this.attempt?.reject(error);
  }
}
