/**
 * The data connections of one agent: which are wished for, which it has been told of, which it has brought. It is told of few at a
 * time, since the oldest client loses what it does not read at once; a wish that is given up holds its place until the agent has
 * answered it, or its time is over.
 */
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import type { HelixFault } from "./accept.ts";
import { DataError, type WebSocket, WebSocketStream } from "./web-socket-stream.ts";

/**
 * Payload bytes of one message to an agent. What of a message is not among the bytes that one read of the oldest client brings, that
 * client loses: at most 4,096, and less where the network has cut them. So a request begins with messages that are a quarter of that
 * with their header, and fit into one segment of any network; each leaves alone, as long as the network takes them as they come, 16 KiB.
 * What comes behind that fills a whole read, for the sake of large bodies, and is cut as the network likes.
 */
const MESSAGES = { bytesMax: 4092, first: { bytesMax: 1020, count: 16 } } as const;
const REQUEST_ID_BYTES = 8;
const FAULT_TEXT_MAX = 200;

export interface PickupLimits {
  pickupsInFlightMax: number;
  connectionsMax: number;
  pickupTimeoutMs: number;
}

export interface PickupsOptions extends PickupLimits {
  clock: Clock;
  randomBytes: (size: number) => Buffer;
  /** Tells the agent to bring a data connection for this dial. */
  announce: (requestId: string) => void;
  /** The time of a dial that it was told of then is over, whether somebody still wanted it or not. */
  onUnanswered: (toldAt: number) => void;
  onFault: (fault: HelixFault) => void;
}

/** Why there is no data connection; nothing was sent on it. */
export class PickupError extends Error {
  override readonly name = "PickupError";
  readonly code: "PICKUP_FAILED" | "PICKUP_TIMEOUT" | "CONTROL_LOST";

  constructor(code: PickupError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A dial that the agent has been told of. */
interface Dial {
  /** Undefined once nobody wants it any more. */
  stream: DataStream | undefined;
  toldAt: number;
  timer: Timer;
}

export class Pickups {
  private readonly options: PickupsOptions;
  /** In the order of their wishes. */
  private readonly queue = new Set<DataStream>();
  private readonly told = new Map<string, Dial>();
  private readonly attached = new Set<DataStream>();
  /** Why there are no more of them. */
  private over: PickupError | undefined;

  constructor(options: PickupsOptions) {
    this.options = options;
  }

  /** Wishes that are not fulfilled. */
  get pending(): number {
    let count = this.queue.size;
    for (const { stream } of this.told.values()) if (stream !== undefined) count += 1;
    return count;
  }

  /** Data connections that are there. */
  get connections(): number {
    return this.attached.size;
  }

  /** Never throws: what cannot be is an error of the stream. */
  connect(): Duplex {
    const stream = new DataStream((error) => this.left(stream, error));
    if (this.over !== undefined) stream.destroy(this.over);
    else {
      this.queue.add(stream);
      this.pump();
    }
    return stream;
  }

  awaits(requestId: string | undefined): boolean {
    return requestId !== undefined && this.told.get(requestId)?.stream !== undefined;
  }

  /** False when nobody waits for it (any more): then it is still the caller's. */
  pickUp(requestId: string | undefined, webSocket: WebSocket): boolean {
    const stream = requestId === undefined ? undefined : this.answered(requestId);
    if (stream !== undefined) {
      this.attached.add(stream);
      stream.attach(webSocket);
    } else {
      this.options.onFault({ code: "pickup-late", detail: "a pick-up for which nobody waits" });
    }
    this.pump();
    return stream !== undefined;
  }

  /** The agent says that it cannot; of a dial that nobody knows it may say what it likes. */
  failed(requestId: string | undefined, err: string): void {
    const stream = requestId === undefined ? undefined : this.answered(requestId);
    if (stream !== undefined) {
      this.options.onFault({ code: "pickup-failed", detail: harmless(err) });
      stream.destroy(new PickupError("PICKUP_FAILED", "the agent could not bring a data connection"));
    }
    this.pump();
  }

  /** Nothing more comes: what has not been sent never will be. Data connections that are there stay. */
  stop(reason: string): void {
    this.over ??= new PickupError("CONTROL_LOST", reason);
    const unsent = [...this.queue];
    for (const { stream, timer } of this.told.values()) {
      timer.cancel();
      if (stream !== undefined) unsent.push(stream);
    }
    this.told.clear();
    for (const stream of unsent) stream.destroy(this.over);
  }

  /** `stop`, and all data connections end. */
  end(reason: string): void {
    this.stop(reason);
    for (const stream of [...this.attached]) stream.destroy();
  }

  /** Takes a dial off the list; whose it was, if anybody still wants it. */
  private answered(requestId: string): DataStream | undefined {
    const dial = this.told.get(requestId);
    if (dial === undefined) return undefined;
    this.told.delete(requestId);
    dial.timer.cancel();
    if (dial.stream !== undefined) dial.stream.dial = undefined;
    return dial.stream;
  }

  private pump(): void {
    const { pickupsInFlightMax, connectionsMax } = this.options;
    for (const stream of this.queue) {
      if (this.told.size >= pickupsInFlightMax || this.told.size + this.attached.size >= connectionsMax)
        return;
      this.queue.delete(stream);
      this.tell(stream);
    }
  }

  private tell(stream: DataStream): void {
    const { clock, randomBytes, announce, pickupTimeoutMs } = this.options;
    const requestId = randomBytes(REQUEST_ID_BYTES).toString("hex");
    const timer = clock.setTimer(pickupTimeoutMs, () => this.timedOut(requestId, dial.toldAt));
    const dial: Dial = { stream, toldAt: clock.now(), timer };
    stream.dial = dial;
    stream.connecting = true;
    this.told.set(requestId, dial);
    announce(requestId);
  }

  private timedOut(requestId: string, toldAt: number): void {
    const stream = this.answered(requestId);
    if (stream !== undefined) {
      const { pickupTimeoutMs, onFault } = this.options;
      const detail = `no pick-up within ${pickupTimeoutMs} ms`;
      onFault({ code: "pickup-timeout", detail });
      stream.destroy(new PickupError("PICKUP_TIMEOUT", detail));
    }
    this.options.onUnanswered(toldAt);
    this.pump();
  }

  private left(stream: DataStream, error: Error | null): void {
    if (error instanceof DataError && error.code === "TEXT_FRAME")
      this.options.onFault({ code: "text-frame", detail: error.message });
    if (stream.dial !== undefined) stream.dial.stream = undefined;
    this.queue.delete(stream);
    if (this.attached.delete(stream)) this.pump();
  }
}

class DataStream extends WebSocketStream {
  /** While the agent has been told of it, and has not answered. */
  dial: Dial | undefined;
  private readonly onDestroy: (error: Error | null) => void;

  constructor(onDestroy: (error: Error | null) => void) {
    super(MESSAGES);
    this.onDestroy = onDestroy;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    super._destroy(error, done);
    this.onDestroy(error);
  }
}

/** A text of the agent's for logs: short, of one line, and without what might be an id, which is a secret here. */
function harmless(text: string): string {
  return text
    .slice(0, FAULT_TEXT_MAX)
    .replace(/[^ -~]/g, "?")
    .replace(/[0-9a-f]{16,}/gi, "…");
}
