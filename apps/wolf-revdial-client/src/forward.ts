/**
 * What the agent serves through its tunnel: Wolf's API behind the guard, and the screens of sandboxes. Whatever is refused
 * never reaches a socket of this host, and says so with a code.
 */
import { SessionId } from "@wolfpack/api-contract";
import { checkWolfRequest, parseWolfJson, refusedHeader, WOLF_BODY_BYTES_MAX } from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, RequestHandler } from "revdial";
import type { Log } from "./logger.ts";
import { Semaphore } from "./semaphore.ts";
import type { Target } from "./target.ts";
import { askUpstream, UpstreamError, type UpstreamErrorCode, type UpstreamReply } from "./upstream.ts";

export interface ForwardOptions {
  wolf: Target;
  screen: ((sessionId: string) => Target) | undefined;
  log: Log;
  /** Lobby creations at once: each holds one of Wolf's threads for up to 20 s. */
  createsMax: number;
  createTimeoutMs?: number;
  timeoutMs?: number;
}

const CREATE_TIMEOUT_MS = 25_000;
const TIMEOUT_MS = 10_000;
const CREATES_WAITING_MAX = 64;
const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const IMAGE_BYTES_MAX = 20 * 1024 * 1024;
const CREATE_PATH = "/api/v1/lobbies/create";

const upstreamStatus: Record<UpstreamErrorCode, number> = {
  "upstream-unreachable": 502,
  "upstream-reply-broken": 502,
  "upstream-timeout": 504,
  cancelled: 499,
};

export function createForwarder(options: ForwardOptions): RequestHandler {
  const {
    wolf,
    screen,
    log,
    createsMax,
    createTimeoutMs = CREATE_TIMEOUT_MS,
    timeoutMs = TIMEOUT_MS,
  } = options;
  const creates = new Semaphore(createsMax, CREATES_WAITING_MAX);

  function refuse(request: IncomingRequest, status: number, code: string, detail: string): OutgoingResponse {
    log.warn(
      { service: request.service, method: request.method, path: request.path.slice(0, 200), code, detail },
      "refused",
    );
    const problem = { type: `/problems/${code}`, title: "Refused by the agent", status, detail, code };
    return {
      status,
      headers: [
        ["content-type", "application/problem+json"],
        [refusedHeader, code],
      ],
      body: Buffer.from(JSON.stringify(problem)),
    };
  }

  async function serveWolf(request: IncomingRequest): Promise<OutgoingResponse> {
    const body = await boundedBody(request.body, WOLF_BODY_BYTES_MAX);
    if (body === undefined)
      return refuse(request, 413, "body-too-large", `The body has more than ${WOLF_BODY_BYTES_MAX} bytes.`);
    const check = checkWolfRequest({ method: request.method, path: request.path, bodyText: body });
    if (!check.ok) return refuse(request, check.refusal.status, check.refusal.code, check.refusal.detail);
    const { route, bodyText } = check;
    const ask = () =>
      askUpstream({
        target: wolf,
        method: route.method,
        path: route.path,
        ...(route.method === "POST" ? { body: bodyText } : {}),
        timeoutMs: route.path === CREATE_PATH ? createTimeoutMs : timeoutMs,
        replyBytesMax: REPLY_BYTES_MAX,
        signal: request.signal,
      }).then(checkedJson);
    let reply: UpstreamReply;
    if (route.path === CREATE_PATH) {
      const slot = await creates.take(request.signal);
      if (slot === undefined)
        return refuse(
          request,
          503,
          "create-queue-full",
          "Too many lobby creations are waiting on this host.",
        );
      reply = await ask().finally(slot);
    } else if (route.method === "GET") {
      // Wolf corrupts some replies above 64 KiB; asking again is harmless.
      reply = await ask().catch((error: unknown) => {
        if (
          error instanceof UpstreamError &&
          error.code === "upstream-reply-broken" &&
          !request.signal.aborted
        )
          return ask();
        throw error;
      });
    } else {
      reply = await ask();
    }
    return {
      status: reply.status,
      headers: [["content-type", reply.contentType ?? "application/json"]],
      body: reply.body,
    };
  }

  async function serveScreen(request: IncomingRequest): Promise<OutgoingResponse> {
    const [, sessionId, what] = /^\/([^/]+)\/(screenshot|clipboard)$/.exec(request.path) ?? [];
    if (what === undefined || !SessionId.safeParse(sessionId).success)
      return refuse(request, 404, "route-unknown", "The screen service has no such path.");
    if (screen === undefined)
      return refuse(
        request,
        404,
        "service-unknown",
        "This agent serves no screens: start it with --service screen=…",
      );
    const method = request.method;
    if (method !== "GET" && !(method === "POST" && what === "clipboard"))
      return refuse(request, 405, "method-not-allowed", "The screen service does not take this method.");
    const body = await boundedBody(request.body, WOLF_BODY_BYTES_MAX);
    if (body === undefined)
      return refuse(request, 413, "body-too-large", `The body has more than ${WOLF_BODY_BYTES_MAX} bytes.`);
    const reply = await askUpstream({
      target: screen(sessionId as string),
      method,
      path: `/${what}`,
      ...(method === "POST" ? { body } : {}),
      timeoutMs,
      replyBytesMax: IMAGE_BYTES_MAX,
      signal: request.signal,
    });
    return {
      status: reply.status,
      headers: reply.contentType === undefined ? [] : [["content-type", reply.contentType]],
      body: reply.body,
    };
  }

  return async (request) => {
    try {
      if (request.service === "wolf") return await serveWolf(request);
      if (request.service === "screen") return await serveScreen(request);
      return refuse(request, 404, "service-unknown", "This agent does not serve that.");
    } catch (error) {
      if (error instanceof UpstreamError)
        return refuse(request, upstreamStatus[error.code], error.code, `${error.message}.`);
      throw error;
    }
  };
}

/** Wolf answers JSON on every open route; what does not parse was cut or corrupted. */
function checkedJson(reply: UpstreamReply): UpstreamReply {
  try {
    parseWolfJson(reply.body.toString("utf8"));
    return reply;
  } catch (cause) {
    throw new UpstreamError("upstream-reply-broken", "the reply is not JSON", { cause });
  }
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
