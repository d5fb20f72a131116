/** What a request must look like to be sent, and what every kind of exchange shares. */
import { BodySource } from "./body-source.ts";
import type { ChannelPort } from "./channel-end.ts";
import { checkCall } from "./checks.ts";
import type { Effect } from "./core-events.ts";
import { checkOpen } from "./encode.ts";
import { beforeSending, goawayCodeName, RevdialError } from "./errors.ts";
import { channelKinds, type OpenHead } from "./frame.ts";
import { type HeaderList, takeLength, takeTraceparent, travellingHeaders } from "./head.ts";
import type { Body, RequestHandler, TunnelEnd, TunnelRequest } from "./tunnel.ts";

const DEADLINE_MS_MAX = 0xffff_ffff;

export function isEmpty(body: Body | undefined): boolean {
  return body === undefined || (body instanceof Uint8Array && body.byteLength === 0);
}

/**
 * Error: ARGUMENT for what is neither bytes nor gives any, and for a stream that somebody else reads. To begin to read is no
 * way to find out: a request that is not sent leaves its body as it was.
 */
export function checkBody(body: (Body & { locked?: unknown }) | undefined): void {
  if (body === undefined || body instanceof Uint8Array) return;
  if (typeof body?.[Symbol.asyncIterator] !== "function")
    throw new RevdialError("ARGUMENT", "a body is a Uint8Array or an async iterable");
  checkUnread(body);
}

export function checkUnread(body: { locked?: unknown }): void {
  if (body.locked === true) throw new RevdialError("ARGUMENT", "the body is read already, or was");
}

/** What the types promise and JavaScript does not. What goes into the head as a text is the codec's to look at. Error: ARGUMENT. */
export function checkTypes(request: TunnelRequest): void {
  if (typeof request !== "object" || request === null) throw new RevdialError("ARGUMENT", "no request");
  const { body, trailers, deadlineMs, signal, onInterim } = request;
  checkBody(body);
  if (deadlineMs !== undefined && (typeof deadlineMs !== "number" || Number.isNaN(deadlineMs)))
    throw new RevdialError("ARGUMENT", "deadlineMs is not a number");
  if (signal !== undefined && typeof signal?.addEventListener !== "function")
    throw new RevdialError("ARGUMENT", "the signal is no AbortSignal");
  checkCall(trailers, "trailers");
  checkCall(onInterim, "onInterim");
}

/** Error: CANCELLED. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new RevdialError("CANCELLED", "cancelled before it was sent", { cause: signal.reason });
}

/** Errors: CANCELLED, DEADLINE, ARGUMENT, HEAD_INVALID, BODY_LENGTH. */
export function openHead(request: TunnelRequest): OpenHead {
  checkTypes(request);
  const { service, method, path, headers = [], deadlineMs, upgrade } = request;
  if (deadlineMs !== undefined && deadlineMs <= 0)
    throw new RevdialError("DEADLINE", "the deadline has passed");
  if (upgrade !== undefined && !isEmpty(request.body))
    throw new RevdialError("ARGUMENT", "an upgrade has no body: write to its socket");
  checkAborted(request.signal);
  const fields = travellingHeaders(headers);
  const traced = takeTraceparent(fields);
  const said = takeLength(fields);
  return {
    kind: upgrade === undefined ? channelKinds.request : channelKinds.socket,
    service,
    method,
    path,
    deadlineMs: deadlineMs === undefined ? 0 : Math.min(DEADLINE_MS_MAX, Math.ceil(deadlineMs)),
    traceparent: request.traceparent ?? traced,
    protocol: upgrade ?? "",
    length: upgrade === undefined ? lengthOf(said, request.body, request.trailers !== undefined) : undefined,
    headers: fields,
  };
}

/** Throws what no tunnel would send, whatever its peer takes. The errors of `openHead` and of the codec, not sent. */
export function checkSendable(request: TunnelRequest): void {
  beforeSending(() => checkOpen(openHead(request)));
}

/**
 * The length to announce: what the head says, or that of a body which is there already. Trailers have no place in HTTP/1
 * behind a stated length, so none is stated where they may come. Error: BODY_LENGTH when the two differ.
 */
export function lengthOf(
  said: number | undefined,
  body: Body | undefined,
  trailers: boolean,
): number | undefined {
  if (!(body instanceof Uint8Array)) return said;
  if (said !== undefined && said !== body.byteLength)
    throw new RevdialError("BODY_LENGTH", `content-length is ${said}, the body has ${body.byteLength} bytes`);
  return said ?? (trailers || body.byteLength === 0 ? undefined : body.byteLength);
}

const none = (): HeaderList => [];

/** Sends a body as fast as its channel takes it. `sent` rejects when the source fails, and settles when it has stopped. */
export class BodySender {
  readonly sent: Promise<void>;
  private readonly source: BodySource;
  private over = false;

  constructor(port: ChannelPort, channel: number, body: Body | undefined, trailers: () => HeaderList = none) {
    this.source = new BodySource(body);
    this.sent = this.source
      .run((bytes) => port.data(channel, bytes))
      .then(() => {
        if (!this.over) port.end(channel, trailers());
      });
  }

  resume(): void {
    this.source.resume();
  }

  /** Nobody wants more. */
  stop(): void {
    this.over = true;
    void this.source.stop();
  }
}

/** Error: ARGUMENT. */
export function checkHandler(handler: RequestHandler): void {
  if (typeof handler !== "function") throw new RevdialError("ARGUMENT", "a handler is a function");
}

export const nothingServed: RequestHandler = () => {
  throw new RevdialError("SERVICE_UNKNOWN", "nothing is served here");
};

/** A reporter that throws must not take the process with it. */
export function guarded(report: (error: unknown) => void): (error: unknown) => void {
  return (error) => {
    try {
      report(error);
    } catch (fault) {
      warn(fault);
    }
  };
}

/** Calls a listener whose mistakes must not cost what it is told of. */
export function tell(listener: () => void, report: (error: unknown) => void = warn): void {
  try {
    listener();
  } catch (thrown) {
    guarded(report)(thrown);
  }
}

export function warn(error: unknown): void {
  process.emitWarning(
    error instanceof Error ? (error.stack ?? error.message) : String(error),
    "RevdialWarning",
  );
}

/** A tunnel's end as the peer's GOAWAY announces it. */
export function goawayEnd({ code, reason, retryAfterMs }: Effect & { effect: "goaway" }): TunnelEnd {
  return { code: goawayCodeName(code), reason, ...(retryAfterMs > 0 ? { retryAfterMs } : {}) };
}

export function retryAfter({ retryAfterMs }: TunnelEnd): { retryAfterMs?: number } {
  return retryAfterMs === undefined ? {} : { retryAfterMs };
}
