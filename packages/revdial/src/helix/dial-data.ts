/**
 * The client's data connections: each is picked up when a line asks for it, and is a connection of an HTTP server that listens nowhere.
 * The original's servers open one for each request and leave it to the other end to close it, so that an idle one is closed here, and
 * so is one that is never used.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import type { HttpFront } from "../http/front.ts";
import { connectHelix } from "./dial-socket.ts";
import type { ControlLine } from "./lines.ts";
import { type HelixSocketOptions, type WebSocket, WebSocketStream } from "./web-socket-stream.ts";

export interface DataConnectionsOptions {
  /** That of the control connection; pick-ups have another query. */
  control: URL;
  /** Made anew for each pick-up. */
  socketOptions: () => Promise<HelixSocketOptions>;
  /** Rejects when the local target takes no connections, with why. */
  checkTarget: ((signal: AbortSignal) => Promise<void>) | undefined;
  clock: Clock;
  pickupTimeoutMs: number;
  connectionsMax: number;
  /** Until the first request of each. */
  unusedTimeoutMs: number;
  front: HttpFront;
  /** Sends a line; false when it is too long. */
  say: (line: ControlLine) => boolean;
  /** Told why a pick-up failed, in words that name no dialer. */
  onPickupFailed: (reason: string) => void;
}

/** Of what is sent, as in the original. */
const MESSAGES = { bytesMax: 32 * 1024 };
/** Without a request for so long a connection is closed, once it has had one. */
const IDLE_MS = 5000;
/** A new one may have its request on its way: only then it is too old to be spared when another is asked for. */
const SPARED_MS = 5000;
/** For the last answers to leave, and for the server to answer a close. */
const FINISH_MS = 5000;
const ERR_CHARACTERS_MAX = 200;
const DRAINING = "draining";

/**
 * Where to pick up. Whatever a server calls the API's mount, it is where the control connection is, at the same host; undefined for
 * any other place: the credential goes nowhere else.
 */
export function pickupUrl(connPath: string | undefined, control: URL): URL | undefined {
  const [, query = ""] = /^(?:\/api\/v1)?\/revdial\?([\x21\x22\x24-\x7e]+)$/.exec(connPath ?? "") ?? [];
  if (!new URLSearchParams(query).get("revdial.dialer")) return undefined;
  const url = new URL(control);
  url.search = query;
  return url;
}

interface Connection {
  stream: WebSocketStream;
  /** Answers that are not complete. */
  answers: Set<ServerResponse | Duplex>;
  /** It has had a request. */
  used: boolean;
  /** Since when no request is open; undefined: one is. */
  idleAt: number | undefined;
  idleTimer: Timer | undefined;
}

export class DataConnections {
  private readonly options: DataConnectionsOptions;
  private readonly server: Server;
  private readonly dialling = new Set<AbortController>();
  private readonly open = new Map<Duplex, Connection>();
  private draining = false;
  private over = false;
  private emptied: (() => void) | undefined;

  constructor(options: DataConnectionsOptions) {
    this.options = options;
    const { front } = options;
    // It never listens, and enforces none of its own times, which would need a socket's; the last one it tells its clients.
    this.server = createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: IDLE_MS });
    const run = (request: IncomingMessage, response: ServerResponse) => {
      this.begun(request.socket, response);
      front.request(request, response);
    };
    this.server.on("request", run).on("checkContinue", run);
    this.server.on("upgrade", (request, socket, head) => {
      this.begun(socket, socket);
      front.upgrade(request, socket, head);
    });
  }

  /** A line has asked for one. */
  pickUp(connPath: string | undefined): void {
    const { control, connectionsMax } = this.options;
    const url = pickupUrl(connPath, control);
    if (url === undefined || connPath === undefined)
      return this.failed(connPath ?? "", "a pick-up is at /revdial or /api/v1/revdial of this server");
    if (this.draining) return this.failed(connPath, DRAINING);
    if (this.dialling.size + this.open.size >= connectionsMax && !this.makeRoom())
      return this.failed(connPath, `there are ${connectionsMax} data connections already`);
    void this.connect(url, connPath);
  }

  /** No new ones: what is idle ends, the others with their answers. */
  drain(): void {
    if (this.draining) return;
    this.draining = true;
    for (const dial of this.dialling) dial.abort(new Error(DRAINING));
    for (const { stream, answers, used, idleAt } of this.open.values()) {
      // What has just been asked for is told that we leave.
      if (used && idleAt !== undefined) stream.end();
      for (const answer of answers) endsWith(answer);
    }
  }

  /** Resolves when the last answers have left and all connections are gone, in bounded time. */
  async finish(): Promise<void> {
    this.drain();
    for (const { stream, answers } of this.open.values()) if (answers.size === 0) stream.end();
    if (this.open.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.emptied = resolve;
      const timer = this.options.clock.setTimer(FINISH_MS, resolve);
      await promise;
      timer.cancel();
    }
    this.destroy();
  }

  destroy(): void {
    this.over = true;
    this.draining = true;
    for (const dial of this.dialling) dial.abort(new Error("the tunnel is over"));
    for (const { stream } of this.open.values()) stream.destroy();
    this.emptied?.();
  }

  private async connect(url: URL, connPath: string): Promise<void> {
    const { clock, pickupTimeoutMs, checkTarget, socketOptions } = this.options;
    const dial = new AbortController();
    this.dialling.add(dial);
    const timer = clock.setTimer(pickupTimeoutMs, () =>
      dial.abort(new Error(`no data connection within ${pickupTimeoutMs / 1000} s`)),
    );
    try {
      await unlessAborted(checkTarget?.(dial.signal), dial.signal);
      const options = await unlessAborted(socketOptions(), dial.signal);
      if (options !== undefined) await this.upgrade(url, options, dial.signal);
    } catch (error) {
      this.failed(connPath, wordsOf(error));
    } finally {
      timer.cancel();
      this.dialling.delete(dial);
    }
  }

  private async upgrade(url: URL, options: HelixSocketOptions, signal: AbortSignal): Promise<void> {
    const { clock } = this.options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abandon = connectHelix(
      url,
      { ...options, clock, what: "pick-up" },
      {
        opened: (socket) => {
          if (signal.aborted) return;
          this.carry(socket);
          resolve();
        },
        failed: reject,
        refused: (refusal) => void refusal.then(reject),
      },
    );
    try {
      await unlessAborted(promise, signal);
    } catch (error) {
      abandon();
      throw error;
    }
  }

  private carry(socket: WebSocket): void {
    const stream = new WebSocketStream(MESSAGES);
    const connection: Connection = {
      stream,
      answers: new Set(),
      used: false,
      idleAt: undefined,
      idleTimer: undefined,
    };
    this.open.set(stream, connection);
    this.idle(connection, this.options.unusedTimeoutMs);
    stream.on("error", () => undefined);
    stream.once("close", () => {
      connection.idleTimer?.cancel();
      this.open.delete(stream);
      if (this.open.size === 0) this.emptied?.();
    });
    stream.attach(socket);
    this.server.emit("connection", stream);
  }

  /** The answer is a connection of its own where HTTP has let go of it. */
  private begun(socket: Duplex, answer: ServerResponse | Duplex): void {
    const connection = this.open.get(socket);
    if (connection === undefined) return;
    const { stream } = connection;
    connection.used = true;
    connection.idleAt = undefined;
    connection.idleTimer?.cancel();
    connection.answers.add(answer);
    if (this.draining) endsWith(answer);
    answer.once("close", () => {
      connection.answers.delete(answer);
      if (connection.answers.size > 0) return;
      if (this.draining) stream.end();
      else this.idle(connection, IDLE_MS);
    });
  }

  private idle(connection: Connection, ms: number): void {
    const { clock } = this.options;
    connection.idleAt = clock.now();
    connection.idleTimer = clock.setTimer(ms, () => connection.stream.end());
  }

  /** Ends the one that has been idle, or without its first request, for longest, if any is. */
  private makeRoom(): boolean {
    const sparedFrom = this.options.clock.now() - SPARED_MS;
    let oldest: Connection | undefined;
    for (const connection of this.open.values()) {
      const { used, idleAt = Number.POSITIVE_INFINITY } = connection;
      if (!used && idleAt > sparedFrom) continue;
      if (idleAt < (oldest?.idleAt ?? Number.POSITIVE_INFINITY)) oldest = connection;
    }
    if (oldest === undefined) return false;
    this.open.delete(oldest.stream);
    oldest.stream.end();
    return true;
  }

  private failed(connPath: string, reason: string): void {
    if (this.over) return;
    const { say, onPickupFailed } = this.options;
    const err = reason.slice(0, ERR_CHARACTERS_MAX).toWellFormed();
    const line = { command: "pickup-failed", connPath };
    // Rather without a reason than not at all.
    if (!say({ ...line, err })) say(line);
    if (reason !== DRAINING) onPickupFailed(err);
  }
}

/** Its connection ends with this answer, and says so where that is still possible. */
function endsWith(answer: ServerResponse | Duplex): void {
  if ("shouldKeepAlive" in answer && !answer.headersSent) answer.shouldKeepAlive = false;
}

async function unlessAborted<Result>(
  promise: Promise<Result> | undefined,
  signal: AbortSignal,
): Promise<Result | undefined> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** For the server, and for a log. */
function wordsOf(error: unknown): string {
  const { message = String(error), detail = "" } = (error ?? {}) as { message?: string; detail?: string };
  return `${message}${detail === "" ? "" : `: ${detail}`}`.replace(/[\p{C}\s]+/gu, " ").trim();
}
