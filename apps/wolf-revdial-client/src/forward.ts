/**
 * What the agent serves through its tunnel: Wolf's API behind the guard, and the screens of sandboxes. Whatever is refused
 * never reaches a socket of this host, and says so with a code, a counter and a line of the log.
 */
import { randomUUID } from "node:crypto";
import { AGENT_SERVICE, POLICY_PATH, SessionId } from "@wolfpack/api-contract";
import {
  type AskWolf,
  createWolfGuard,
  policyDocument,
  ReplyTooLarge,
  refusedHeader,
  screenReplyTooLarge,
  upstreamStatus,
  WOLF_BODY_BYTES_MAX,
  type WolfPolicy,
} from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, Reply, RequestHandler } from "revdial";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { openDoor } from "./screen-door.ts";
import { screenPlaces } from "./screen-places.ts";
import type { Target } from "./target.ts";
import { askUpstream, UpstreamError } from "./upstream.ts";

export interface ForwardOptions {
  wolf: AskWolf;
  screen: ((sessionId: string) => Target) | undefined;
  log: Log;
  metrics: Metrics;
  policy: WolfPolicy;
  /** Inside a sandbox: its session, whose screen is served and nothing else. */
  sessionId?: string | undefined;
  /** Lobby creations at once: each holds one of Wolf's threads for up to 20 s. */
  createsMax: number;
}

/** For the wait and the exchange: the agent's word comes before the control plane gives up. */
const SCREEN_TIMEOUT_MS = 10_000;
const IMAGE_BYTES_MAX = 20 * 1024 * 1024;
const CLIPBOARD_REPLY_BYTES_MAX = 256 * 1024;
const LOGGED_PATH_CHARACTERS_MAX = 200;

export function createForwarder(options: ForwardOptions): RequestHandler {
  const { wolf, screen, log, metrics, policy, createsMax, sessionId: onlySession } = options;
  const places = screenPlaces();
  const guard = createWolfGuard({
    ask: wolf,
    policy,
    createsMax,
  });

  function refuse(
    request: IncomingRequest,
    refusal: { status: number; code: string; detail: string; title?: string },
  ): OutgoingResponse {
    const { status, code, detail, title = "Refused by the agent" } = refusal;
    const about = aboutOf(request);
    const requestId = about.request_id;
    // Users leave, and callers give up: nothing was refused, and nobody reads the answer.
    if (code === "cancelled") log.debug(about, "the caller gave up");
    else {
      metrics.count("refusals", { code });
      log.warn({ ...about, code, detail }, "refused");
    }
    const problem = { type: `/problems/${code}`, title, status, detail, instance: requestId, code };
    return {
      status,
      headers: [
        ["content-type", "application/problem+json"],
        ["x-request-id", requestId],
        [refusedHeader, code],
      ],
      body: Buffer.from(JSON.stringify(problem)),
    };
  }

  function served(request: IncomingRequest, reply: OutgoingResponse): OutgoingResponse {
    if (log.isLevelEnabled("debug")) log.debug({ ...aboutOf(request), status: reply.status }, "served");
    return reply;
  }

  async function serveWolf(request: IncomingRequest, answer: Reply): Promise<OutgoingResponse> {
    const { method, path } = request;
    const reply = await guard({
      method,
      path,
      // A stream is made only when it is asked for.
      body: request.hasBody ? request.body : undefined,
      signal: new Caller(answer),
      contentLength: header(request, "content-length"),
    });
    if (!reply.ok) return refuse(request, reply.refusal);
    return served(request, {
      status: reply.status,
      headers: [["content-type", reply.contentType ?? "application/json"]],
      body: reply.body,
    });
  }

  /** What the guard lets through here, for the screens of those who run the fleet. */
  function servePolicy(request: IncomingRequest): OutgoingResponse {
    const no = (status: number, code: string, detail: string) => refuse(request, { status, code, detail });
    if (request.path !== POLICY_PATH)
      return no(404, "route-unknown", `The agent tells of itself at ${POLICY_PATH} only.`);
    if (request.method !== "GET")
      return no(405, "method-not-allowed", "The policy is the host's owner's: it is read here, not changed.");
    const body = Buffer.from(JSON.stringify(policyDocument(policy, createsMax)));
    return served(request, { status: 200, headers: [["content-type", "application/json"]], body });
  }

  async function serveScreen(request: IncomingRequest, answer: Reply): Promise<OutgoingResponse> {
    const no = (status: number, code: string, detail: string) => refuse(request, { status, code, detail });
    const [, sessionId = "", what] = /^\/([^/]+)\/(screenshot|clipboard)$/.exec(request.path) ?? [];
    if (what === undefined || !SessionId.safeParse(sessionId).success)
      return no(404, "route-unknown", "The screen service has no such path.");
    if (screen === undefined)
      return no(404, "service-unknown", "This agent serves no screens: start it with --service screen=…");
    const { method, signal } = request;
    if (method !== "GET" && !(method === "POST" && what === "clipboard"))
      return no(405, "method-not-allowed", "The screen service does not take this method.");
    const body = await boundedBody(request.body, WOLF_BODY_BYTES_MAX);
    if (body === undefined)
      return no(413, "body-too-large", `The body has more than ${WOLF_BODY_BYTES_MAX} bytes.`);
    const dueAt = performance.now() + SCREEN_TIMEOUT_MS;
    const replyBytesMax = what === "screenshot" ? IMAGE_BYTES_MAX : CLIPBOARD_REPLY_BYTES_MAX;
    const place = await places.take(sessionId, replyBytesMax, signal);
    if (place === undefined)
      return signal.aborted
        ? no(upstreamStatus.cancelled, "cancelled", "The caller gave up.")
        : no(503, "queue-full", "Too many calls of this kind are waiting on this host.");
    // The answer stays in memory until it has gone.
    answer.onClose(() => place.giveBack());
    try {
      const door = await openDoor(screen(sessionId), sessionId);
      const reply = await askUpstream({
        target: door.target,
        method,
        path: `/${what}`,
        ...(method === "POST" ? { body } : {}),
        timeoutMs: Math.max(1, Math.ceil(dueAt - performance.now())),
        replyBytesMax,
        signal,
      }).finally(door.close);
      place.answered(reply.body.byteLength);
      return served(request, {
        status: reply.status,
        headers: reply.contentType === undefined ? [] : [["content-type", reply.contentType]],
        body: reply.body,
      });
    } catch (error) {
      if (error instanceof ReplyTooLarge) return refuse(request, screenReplyTooLarge(error));
      if (error instanceof UpstreamError)
        return no(upstreamStatus[error.code], error.code, `${error.message}.`);
      throw error;
    }
  }

  return async (request, answer) => {
    const { service, path } = request;
    if (onlySession !== undefined && !(service === "screen" && path.startsWith(`/${onlySession}/`)))
      return refuse(request, {
        status: 404,
        code: "service-unknown",
        detail: "A sandbox serves its own screen and nothing else.",
      });
    if (service === "wolf") return serveWolf(request, answer);
    if (service === "screen") return serveScreen(request, answer);
    if (service === AGENT_SERVICE) return servePolicy(request);
    return refuse(request, {
      status: 404,
      code: "service-unknown",
      detail: "This agent does not serve that.",
    });
  };
}

/** Who waits for an answer, as a signal of one listener: an AbortSignal would cost a tenth of a small request. */
class Caller {
  private readonly answer: Reply;
  private listener: (() => void) | undefined;

  constructor(answer: Reply) {
    this.answer = answer;
    answer.onClose((error) => {
      if (error) this.listener?.();
    });
  }

  get aborted(): boolean {
    return this.answer.over;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.listener = listener;
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    if (this.listener === listener) this.listener = undefined;
  }
}

/** What is logged of a request. */
function aboutOf(request: IncomingRequest) {
  const { service, method, path } = request;
  return {
    request_id: requestIdOf(request),
    service: service.slice(0, 64),
    method,
    path: path.slice(0, LOGGED_PATH_CHARACTERS_MAX),
  };
}

function header({ headers }: IncomingRequest, name: string): string | undefined {
  return headers.find(([field]) => field.toLowerCase() === name)?.[1];
}

/** The control plane's id of this request, so that both logs can be read together; or one of our own. */
function requestIdOf(request: IncomingRequest): string {
  const given = header(request, "x-request-id");
  return given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
}

/** The body as text; undefined when it is larger than allowed. */
async function boundedBody(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
