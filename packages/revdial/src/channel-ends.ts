/** Our ends of the channels of one tunnel: each is told once that it is over. */
import type { ChannelEnd } from "./channel-end.ts";
import { type RequestFate, RevdialError, type RevdialErrorCode } from "./errors.ts";
import { IdTable } from "./id-table.ts";
import type { Observer } from "./observe.ts";

export interface ChannelReset {
  code: RevdialErrorCode;
  reason: string;
  sent: RequestFate;
}

export class ChannelEnds extends IdTable<ChannelEnd> {
  private readonly observer: Observer;
  private readonly report: (error: unknown) => void;

  constructor(observer: Observer, report: (error: unknown) => void) {
    super();
    this.observer = observer;
    this.report = report;
  }

  /** The channel is over: in order, or with the reset that ended it before its time. */
  finish(channel: number, reset: ChannelReset | undefined, cause?: unknown): void {
    const end = this.get(channel);
    if (end === undefined) return;
    this.delete(channel);
    this.observer.ended(channel, reset?.code);
    if (reset === undefined) return end.onClosed(undefined);
    const { code, reason, sent } = reset;
    end.onClosed(new RevdialError(code, reason, { sent, cause: end.cause ?? cause }));
  }

  /** As `finish`, for those who have more to do, whatever it throws. */
  finishGuarded(channel: number, reset: ChannelReset, cause: unknown): void {
    try {
      this.finish(channel, reset, cause);
    } catch (error) {
      this.report(error);
    }
  }
}
