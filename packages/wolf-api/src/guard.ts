/**
 * The guard around one Wolf: checks the request, waits for a place, asks, checks the reply, and takes secrets out of it. How
 * Wolf is reached is given; nothing here opens a socket.
 */
import {
  bodyTooLarge,
  checkWolfBody,
  checkWolfRoute,
  refusal,
  WOLF_BODY_BYTES_MAX,
  type WolfCheck,
  type WolfRefusal,
} from "./check.ts";
import { maySecret, withoutSecrets } from "./events.ts";
import { homesOnce } from "./homes.ts";
import { parseWolfJson } from "./json.ts";
import type { WolfPolicy } from "./policy.ts";
import { type ClassLimits, classLimits, type RouteClass, type WolfRoute } from "./routes.ts";
import { type Leaving, Semaphore } from "./semaphore.ts";

export type UpstreamErrorCode =
  | "upstream-unreachable"
  | "upstream-reply-broken"
  | "upstream-timeout"
  | "cancelled";

export class UpstreamError extends Error {
  readonly code: UpstreamErrorCode;
  /** Of a reply that broke after part of its body had come: whoever sent it lives. */
  readonly status: number | undefined;
  constructor(
    code: UpstreamErrorCode,
    message: string,
    options?: ErrorOptions & { status?: number | undefined },
  ) {
    super(message, options);
    this.name = "UpstreamError";
    this.code = code;
    this.status = options?.status;
  }
}

/**
 * A reply with more bytes than are taken. Where Wolf sent it, it is broken, as ever: callers of before would read another code as a
 * refusal, after which nothing may have run. A screen's has a code of its own.
 */
export class ReplyTooLarge extends UpstreamError {
  readonly bytesMax: number;
  constructor(bytesMax: number, status?: number) {
    super("upstream-reply-broken", `a reply of more than ${bytesMax} bytes`, { status });
    this.bytesMax = bytesMax;
  }
}

/** How whoever asked a screen is answered then. */
export const screenReplyTooLarge = ({ bytesMax }: Pick<ReplyTooLarge, "bytesMax">) => ({
  status: 502,
  code: "reply-too-large" as const,
  detail: `The screen service's answer is larger than ${sizeText(bytesMax)}.`,
});

const MIB = 1024 * 1024;
const sizeText = (bytes: number) =>
  bytes % MIB === 0 ? `${bytes / MIB} MiB` : `${Math.floor(bytes / 1024)} KiB`;

export interface WolfReply {
  status: number;
  contentType: string | undefined;
  body: Uint8Array;
}

/** One exchange on a connection of its own. Rejects with an UpstreamError. */
export type AskWolf = (request: {
  method: "GET" | "POST";
  path: string;
  body?: string;
  timeoutMs: number;
  /** Of the span that this exchange is in (W3C Trace Context), to go with it. */
  traceparent?: string;
}) => Promise<WolfReply>;

export interface GuardRequest {
  method: string;
  path: string;
  /**
   * As the caller wrote it, if it did. A tunnel has refused already what does not fit its body; the guard stands for
   * itself, whatever carries its requests, and what it asks of Wolf has a length of its own in any case.
   */
  contentLength?: string | undefined;
  /** Undefined: none. */
  body: AsyncIterable<Uint8Array> | undefined;
  signal: Leaving;
  /** How Wolf is reached for this request. Default: as for all of the guard, which outlives the ways to its Wolf. */
  ask?: AskWolf;
}

export type GuardReply = ({ ok: true } & WolfReply) | { ok: false; refusal: WolfRefusal };

export interface GuardOptions {
  ask: AskWolf;
  policy: WolfPolicy;
  /** Lobby creations at once: Wolf's cores - 1, at least 1. */
  createsMax: number;
  limits?: Readonly<Record<RouteClass, ClassLimits>>;
  /** Milliseconds of a clock that never steps back. Default: performance.now. */
  now?: () => number;
}

/**
 * Three of four replies above 64 KiB came broken in measurements: of these tries all fail in 1 of 100 cases, and in 1 of
 * 10,000 when the control plane's client then asks once more. All tries share the class's timeout.
 */
const GET_TRIES_MAX = 16;

/** What whoever asked is answered with, wherever the guard stands. */
export const upstreamStatus: Record<UpstreamErrorCode, number> = {
  "upstream-unreachable": 502,
  "upstream-reply-broken": 502,
  "upstream-timeout": 504,
  cancelled: 499,
};

/** Resolves to what the caller gets; rejects only for a fault of ours, or of the caller's body. */
export function createWolfGuard({
  ask: askAnyhow,
  policy,
  createsMax,
  limits = classLimits,
  now = () => performance.now(),
}: GuardOptions): (request: GuardRequest) => Promise<GuardReply> {
  const placesOf = ({ concurrentMax, waitingMax }: ClassLimits) =>
    new Semaphore(concurrentMax === "per-host" ? createsMax : concurrentMax, waitingMax);
  const creates = placesOf(limits.create);
  const homes = homesOnce();
  const places: Record<RouteClass, Semaphore> = {
    read: placesOf(limits.read),
    change: placesOf(limits.change),
    create: creates,
    pull: creates,
  };

  async function exchange(
    { route, target, bodyText }: Checked,
    { signal, ask = askAnyhow }: Pick<GuardRequest, "signal" | "ask">,
    calledAt: number,
  ): Promise<WolfReply> {
    const { timeoutMs, timeoutFrom } = limits[route.class];
    const deadline = (timeoutFrom === "call" ? calledAt : now()) + timeoutMs;
    const leftMs = () => Math.max(1, Math.ceil(deadline - now()));
    const request = { method: route.method, path: target };
    if (route.method === "POST") {
      const reply = await askOnce(ask, route, { ...request, body: bodyText, timeoutMs: leftMs() });
      return checkReply(route, reply, policy);
    }
    for (let tries = 1; ; tries += 1) {
      try {
        return checkReply(route, await ask({ ...request, timeoutMs: leftMs() }), policy);
      } catch (error) {
        if (!isBroken(error) || tries >= GET_TRIES_MAX || signal.aborted || now() >= deadline) throw error;
      }
    }
  }

  /** Wolf's thread stays busy also when the caller goes away, so that the place is kept until Wolf has answered. */
  async function inPlace(exchanged: Promise<WolfReply>, giveBack: () => void): Promise<WolfReply> {
    try {
      return await exchanged;
    } finally {
      giveBack();
    }
  }

  async function askOnce(
    ask: AskWolf,
    route: WolfRoute,
    request: Parameters<AskWolf>[0],
  ): Promise<WolfReply> {
    try {
      return await ask(request);
    } catch (error) {
      // Silence is how Wolf says yes here; it is also how it dies, so that nothing more is promised.
      if (route.reply === "none" && isBroken(error)) return json(202, { success: true, confirmed: false });
      throw error;
    }
  }

  return async (request) => {
    const { method, path, contentLength, body, signal } = request;
    const routed = checkWolfRoute(method, path, policy);
    if (!routed.ok) return routed;
    const given =
      body === undefined && contentLength === undefined ? "" : await bodyOf(body, contentLength, signal);
    if (typeof given !== "string") return given;
    const check = checkWolfBody(routed, given, policy);
    if (!check.ok) return check;
    const { route, home } = check;
    const calledAt = now();
    const { waitingMax, waitMs } = limits[route.class];
    const giveBack = await places[route.class].take(signal, { waitingMax, waitMs });
    if (giveBack === undefined) return signal.aborted ? upstreamRefusal(gaveUp()) : queueFull(route.class);
    if (home !== undefined && !homes.take(home)) {
      giveBack();
      return homeTaken();
    }
    try {
      return {
        ok: true,
        ...(await unlessAborted(inPlace(exchange(check, request, calledAt), giveBack), signal)),
      };
    } catch (error) {
      if (home !== undefined && isUnsent(error)) homes.giveBack(home);
      if (error instanceof UpstreamError) return upstreamRefusal(error);
      throw error;
    }
  };
}

type Checked = Extract<WolfCheck, { ok: true }>;

const isBroken = (error: unknown) => error instanceof UpstreamError && error.code === "upstream-reply-broken";
const isUnsent = (error: unknown) => error instanceof UpstreamError && error.code === "upstream-unreachable";
const homeTaken = () =>
  refusal(
    403,
    "state-folder-refused",
    "State folder refused",
    "A sandbox has had this folder, and may have left links in it that Wolf would follow.",
  );
const gaveUp = () => new UpstreamError("cancelled", "the caller gave up");
const upstreamRefusal = ({ code, message }: UpstreamError) =>
  refusal(upstreamStatus[code], code, "Refused by the agent", `${message}.`);
const queueFull = (routeClass: RouteClass) =>
  routeClass === "create"
    ? refusal(503, "create-queue-full", "Busy", "Too many lobby creations are waiting on this host.")
    : refusal(503, "queue-full", "Busy", "Too many calls of this kind are waiting on this host.");

function unlessAborted<T>(promise: Promise<T>, signal: Leaving): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(gaveUp());
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave);
    const settle = (done: () => void) => {
      signal.removeEventListener("abort", leave);
      done();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

function bodyOf(
  body: GuardRequest["body"] = nothing,
  contentLength: string | undefined,
  signal: Leaving,
): ReturnType<typeof readBody> {
  return readBody(body, contentLength).catch((error: unknown) => {
    if (signal.aborted) return upstreamRefusal(gaveUp());
    throw error;
  });
}

const nothing: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** The body as text. A length that is no number ends Wolf, and one that is wrong makes it read another request (H4). */
async function readBody(
  body: AsyncIterable<Uint8Array>,
  contentLength: string | undefined,
): Promise<string | Extract<GuardReply, { ok: false }>> {
  if (contentLength !== undefined && !/^[0-9]{1,15}$/.test(contentLength)) return lengthInvalid();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > WOLF_BODY_BYTES_MAX) return bodyTooLarge();
    chunks.push(chunk);
  }
  if (contentLength !== undefined && Number(contentLength) !== bytes) return lengthInvalid();
  const [only] = chunks;
  try {
    if (only === undefined || chunks.length === 1) return utf8.decode(only);
    const decoder = new TextDecoder("utf-8", decoding);
    return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
  } catch {
    return refusal(400, "body-invalid", "Invalid body", "The body is not UTF-8.");
  }
}

const lengthInvalid = () =>
  refusal(400, "content-length-invalid", "Invalid length", "Content-Length is not the body's length.");

const decoding = { fatal: true, ignoreBOM: true };
const utf8 = new TextDecoder("utf-8", decoding);
const encoder = new TextEncoder();
const json = (status: number, value: unknown): WolfReply => ({
  status,
  contentType: "application/json",
  body: encoder.encode(JSON.stringify(value)),
});

/** Throws an UpstreamError for what was cut or corrupted. */
export function checkReply(route: WolfRoute, reply: WolfReply, policy: WolfPolicy): WolfReply {
  if (route.reply === "bytes") return reply;
  // A Wolf that has no such route says so without a body.
  if (reply.status === 404 && reply.body.byteLength === 0) return reply;
  try {
    const text = utf8.decode(reply.body);
    const contentType = reply.contentType ?? "application/json";
    if (route.reply === "lines" && reply.status === 200) {
      const lines = text.split("\r\n").filter((line) => line !== "");
      const [last] = lines.map((line) => JSON.parse(line) as { success?: unknown }).slice(-1);
      if (last?.success !== true) throw new Error("it does not end in success");
      return { ...reply, contentType: "application/x-ndjson" };
    }
    if (route.reply === "schema" || policy.secrets || !maySecret(text)) {
      JSON.parse(text);
      return { ...reply, contentType };
    }
    return { ...json(reply.status, withoutSecrets(parseWolfJson(text))), contentType };
  } catch (cause) {
    throw new UpstreamError("upstream-reply-broken", "the reply was cut or is no JSON", { cause });
  }
}
