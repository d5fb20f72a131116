/** The dialling decision: over which transport, how long, and whether an intermediary is to blame when it fails. */
import { validateHeaderName, validateHeaderValue } from "node:http";
import { systemClock } from "./clock.ts";
import { createTunnel } from "./core-tunnel.ts";
import type { Connecting, DialOptions, WayOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { tell } from "./exchange.ts";
import { connectHttp } from "./http-dial.ts";
import { defaults } from "./numbers.ts";
import { checkDialOptions } from "./options.ts";
import type { Tunnel } from "./tunnel.ts";
import { connectWebSocket } from "./websocket.ts";

/** Returns how to give up. */
type Connect = (target: URL, options: WayOptions, events: Connecting) => () => void;

/** What only a server says that has read the request: another transport would hear the same. */
const SERVER_STATUSES = new Set([401, 409, 429, 503]);
/** To an upgrade, filters say these too, though not with a problem of RFC 9457; over HTTP, the server itself. */
const FILTER_STATUSES = new Set([403, 404]);
const SERVER_STATUSES_OVER_HTTP = new Set([...SERVER_STATUSES, ...FILTER_STATUSES]);
/** A connection that stood and broke. All other network errors, of DNS, TCP or certificates, would meet HTTP as well. */
const BROKEN_CONNECTION = /^(ECONNRESET|EPIPE|ECONNABORTED|HPE_.*|WS_ERR_.*)$/;

/**
 * Dials and resolves when HELLOs are exchanged. Rejects with a RevdialError: DIAL_REFUSED (`status`, `retryAfterMs`,
 * `detail`), DIAL_FAILED (network), DIAL_TIMEOUT, CANCELLED, ARGUMENT, or the protocol's own code. When "auto" failed
 * both ways it is the server's refusal over HTTP, else the WebSocket's error; the other one is its `cause`. With what a function
 * in place of `headers` throws.
 */
export async function dialTunnel(url: string | URL, options: DialOptions = {}): Promise<Tunnel> {
  checkDialOptions(options);
  const { transport = "websocket", clock = systemClock } = options;
  const { handshakeTimeoutMs = defaults.dial.handshakeTimeoutMs } = options;
  const { upgradeTimeoutMs = defaults.dial.upgradeTimeoutMs } = options;
  const target = dialTarget(url, options);
  const way = isWay(options) ? options : await wayOf(options);
  if (transport === "websocket") return attempt(connectWebSocket, target, way, handshakeTimeoutMs, "ready");
  const plain = new URL(target.href.replace(/^ws/, "http"));
  if (transport === "http") return attempt(connectHttp, plain, way, handshakeTimeoutMs, "ready");
  const begun = clock.now();
  try {
    // A HELLO proves the way down only, and a WebSocket whose way up is swallowed would never be left.
    const timeoutMs = Math.min(upgradeTimeoutMs, handshakeTimeoutMs);
    return await attempt(connectWebSocket, target, way, timeoutMs, "reached");
  } catch (error) {
    const leftMs = handshakeTimeoutMs - (clock.now() - begun);
    if (!(error instanceof RevdialError) || !blamesIntermediary(error) || leftMs <= 0) throw error;
    tell(() => options.onFallback?.(error), options.onHandlerError);
    const second = isWay(options) ? options : await wayOf(options);
    return await attempt(connectHttp, plain, second, leftMs, "ready").catch((overHttp: unknown) => {
      if (options.signal?.aborted || !(overHttp instanceof RevdialError)) throw overHttp;
      throw isRefusal(overHttp, SERVER_STATUSES_OVER_HTTP)
        ? withCause(overHttp, error)
        : withCause(error, overHttp);
    });
  }
}

/** One way to dial, in time, to its tunnel; whatever it was is undone where it fails. */
export async function attempt(
  connect: Connect,
  target: URL,
  options: WayOptions,
  timeoutMs: number,
  proof: "ready" | "reached",
): Promise<Tunnel> {
  const { signal, clock = systemClock } = options;
  if (signal?.aborted)
    throw new RevdialError("CANCELLED", "cancelled before dialling", { cause: signal.reason });
  const outcome = Promise.withResolvers<Tunnel>();
  const fail = (error: RevdialError) => outcome.reject(error);
  let tunnel: Tunnel | undefined;
  const abandon = connect(target, options, {
    failed: fail,
    refused(refusal) {
      const refused = refusal.then((error) => Promise.reject(error));
      refused.catch(() => undefined); // It may come too late.
      outcome.resolve(refused);
    },
    opened(transport) {
      const opened = createTunnel(transport, true, options);
      tunnel = opened;
      if (options.handler) opened.serve(options.handler);
      opened[proof].then(() => outcome.resolve(opened), fail);
    },
  });
  const cancel = () =>
    fail(new RevdialError("CANCELLED", "cancelled while dialling", { cause: signal?.reason }));
  signal?.addEventListener("abort", cancel, { once: true });
  const timer = clock.setTimer(timeoutMs, () =>
    fail(new RevdialError("DIAL_TIMEOUT", `no tunnel within ${timeoutMs} ms`)),
  );
  try {
    return await outcome.promise;
  } catch (error) {
    tunnel?.destroy();
    abandon();
    throw error;
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", cancel);
  }
}

/** The URL, where it and the options can be used at all. Error: ARGUMENT. */
export function dialTarget(url: string | URL, { headers = {} }: DialOptions): URL {
  const target = URL.canParse(String(url)) ? new URL(url) : undefined;
  if (target?.protocol !== "ws:" && target?.protocol !== "wss:")
    throw new RevdialError("ARGUMENT", "the URL is neither ws: nor wss:");
  if (target.hash !== "") throw new RevdialError("ARGUMENT", "the URL has a fragment"); // RFC 6455 section 3.
  if (typeof headers !== "function") checkHeaders(headers);
  return target;
}

/** Error: ARGUMENT. */
function checkHeaders(headers: Record<string, string>): Record<string, string> {
  try {
    if (Symbol.iterator in headers) throw new TypeError("the headers are an object: name to value");
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
  } catch (cause) {
    throw new RevdialError("ARGUMENT", "a header cannot be sent", { cause });
  }
  return headers;
}

/** Nothing has to be made for each way. */
function isWay(options: DialOptions): options is WayOptions {
  return typeof options.headers !== "function";
}

/** With headers made for one way. Rejects as `dialTunnel` does. */
export async function wayOf(options: DialOptions): Promise<WayOptions> {
  const { headers, ...others } = options;
  const { signal } = options;
  if (typeof headers !== "function") return headers === undefined ? others : { ...others, headers };
  const cancelled = Promise.withResolvers<never>();
  const cancel = () =>
    cancelled.reject(new RevdialError("CANCELLED", "cancelled before dialling", { cause: signal?.reason }));
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    if (signal?.aborted) cancel();
    const made = signal?.aborted ? {} : headers();
    return { ...others, headers: checkHeaders(await Promise.race([cancelled.promise, made])) };
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

function isRefusal({ code, status = 0 }: RevdialError, statuses: ReadonlySet<number>): boolean {
  return code === "DIAL_REFUSED" && statuses.has(status);
}

/** Whether something between us and the server may have got in the way of the WebSocket. */
function blamesIntermediary(error: RevdialError): boolean {
  switch (error.code) {
    case "DIAL_REFUSED":
      return !isRefusal(error, SERVER_STATUSES) && !(isRefusal(error, FILTER_STATUSES) && isProblem(error));
    case "DIAL_FAILED": {
      const { cause } = error;
      const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
      // `ws` gives an upgrade that was answered wrongly no code.
      return code === undefined || (typeof code === "string" && BROKEN_CONNECTION.test(code));
    }
    case "DIAL_TIMEOUT":
    case "HELLO_TIMEOUT":
    case "DEAD_PEER":
    case "TRANSPORT_LOST":
      return true;
    default:
      return false;
  }
}

/** RFC 9457 section 3.1: a body that names the status it came with. */
function isProblem({ status, detail = "" }: RevdialError): boolean {
  try {
    const body: unknown = JSON.parse(detail);
    return (
      typeof body === "object" &&
      body !== null &&
      "type" in body &&
      "status" in body &&
      body.status === status
    );
  } catch {
    return false;
  }
}

function withCause(error: RevdialError, cause: RevdialError): RevdialError {
  const { code, status, retryAfterMs, detail } = error;
  return new RevdialError(code, error.message.slice(`${code}: `.length), {
    cause,
    ...(status === undefined ? {} : { status }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(detail === undefined ? {} : { detail }),
  });
}
