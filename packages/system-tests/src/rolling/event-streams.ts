/** Long streams of events, each gone on with where it ended, as a browser's EventSource does. */
import { type ClientRequest, get } from "node:http";

export interface EventStreams {
  /** Of these sessions and all streams, how many a stream has heard nothing of. */
  lacking(sessionIds: readonly string[]): number;
  /** Ends that told when to come back, and those that did not. */
  readonly ends: { told: number; untold: number };
  readonly reconnects: number;
  /** Events that were said to be missing. */
  readonly missed: number;
  /** Resolves when every stream has seen an event about this object, such as a session's id. */
  untilSeen(what: string): Promise<void>;
  stop(): void;
}

/** Until a stream that failed is tried again, where none was told. */
const RETRY_MS = 500;

/** Resolves when all are open. */
export async function startEventStreams(url: string, key: string, count: number): Promise<EventStreams> {
  const streams = Array.from(
    { length: count },
    () => new Stream(new URL("/api/v1/events?kind=session.*", url), key),
  );
  await Promise.all(streams.map((stream) => stream.opened));
  const sum = (of: (stream: Stream) => number) => streams.reduce((all, stream) => all + of(stream), 0);
  return {
    lacking: (sessionIds) => sum(({ seen }) => sessionIds.filter((id) => !seen.has(id)).length),
    get ends() {
      return { told: sum(({ told }) => told), untold: sum(({ untold }) => untold) };
    },
    get reconnects() {
      return sum(({ opens }) => opens - 1);
    },
    get missed() {
      return sum(({ missed }) => missed);
    },
    async untilSeen(what) {
      await Promise.all(streams.map((stream) => stream.untilSeen(what)));
    },
    stop() {
      for (const stream of streams) stream.stop();
    },
  };
}

class Stream {
  readonly seen = new Set<string>();
  readonly opened: Promise<void>;
  told = 0;
  untold = 0;
  opens = 0;
  missed = 0;
  private readonly url: URL;
  private readonly key: string;
  private readonly isOpened = Promise.withResolvers<void>();
  private last: string | undefined;
  private readonly waiting = new Map<string, () => void>();
  private request: ClientRequest | undefined;
  private timer: NodeJS.Timeout | undefined;
  private retryMs: number | undefined;
  private stopped = false;

  constructor(url: URL, key: string) {
    this.url = url;
    this.key = key;
    this.opened = this.isOpened.promise;
    this.open();
  }

  private open(): void {
    this.retryMs = undefined;
    const { last } = this;
    const headers = {
      accept: "text/event-stream",
      authorization: `Bearer ${this.key}`,
      ...(last !== undefined && { "last-event-id": last }),
    };
    let over = false;
    const end = () => {
      if (over || this.stopped) return;
      over = true;
      if (this.retryMs === undefined) this.untold += 1;
      else this.told += 1;
      this.timer = setTimeout(() => this.open(), this.retryMs ?? RETRY_MS);
    };
    const request = get(this.url, { agent: false, headers }, (response) => {
      if (response.statusCode !== 200) {
        // Told as well, in another way.
        if (response.statusCode === 503) this.retryMs = RETRY_MS;
        return void request.destroy();
      }
      this.opens += 1;
      this.isOpened.resolve();
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        const lines = (text + chunk).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) this.hear(line);
      });
      response.on("error", () => undefined);
    });
    request.on("error", () => undefined);
    request.on("close", end);
    this.request = request;
  }

  private hear(line: string): void {
    const [, field, value = ""] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === undefined) return;
    // Each stream begins with one as well: the last word before the end is what counts.
    this.retryMs = field === "retry" ? Number(value) : undefined;
    if (field === "event" && value === "missed") this.missed += 1;
    if (field === "id") this.last = value;
    if (field !== "data") return;
    for (const [what, found] of this.waiting) if (value.includes(what)) found();
    const session = /ses_[0-9A-Z]{26}/.exec(value)?.[0];
    if (session !== undefined) this.seen.add(session);
  }

  untilSeen(what: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.seen.has(what)) return resolve();
      this.waiting.set(what, () => {
        this.waiting.delete(what);
        resolve();
      });
    });
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.request?.destroy();
  }
}
