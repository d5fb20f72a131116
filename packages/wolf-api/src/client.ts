/**
 * Wolf's API over any fetch-like function: a tunnel, a Unix socket, the emulator. It bounds and checks every reply, and
 * every error says whether the request may have had an effect.
 */
import { z } from "zod";
import { parseWolfJson } from "./json.ts";
import { classLimits } from "./routes.ts";
import {
  CreateLobbyReply,
  CreateLobbyRequest,
  FailureReply,
  ListLobbiesReply,
  type Lobby,
  StopLobbyRequest,
  SuccessReply,
} from "./schemas.ts";

export interface FetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
  /** Time for the exchange, for transports that carry it along. */
  deadlineMs?: number;
}
export type FetchLike = (url: string, init?: FetchInit) => Promise<Response>;

export type WolfApiErrorCode = "WOLF_REFUSED" | "WOLF_REPLY_BROKEN" | "WOLF_TIMEOUT" | "WOLF_UNREACHABLE";

export class WolfApiError extends Error {
  readonly code: WolfApiErrorCode;
  /** False only when Wolf certainly has not acted on the request. */
  readonly mayHaveRun: boolean;
  readonly status: number | undefined;
  /** Wolf's own words, at most 300 characters. */
  readonly wolfMessage: string | undefined;

  constructor(
    code: WolfApiErrorCode,
    message: string,
    options: { mayHaveRun: boolean; status?: number; wolfMessage?: string; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "WolfApiError";
    this.code = code;
    this.mayHaveRun = options.mayHaveRun;
    this.status = options.status;
    this.wolfMessage = options.wolfMessage;
  }
}

export interface WolfClientOptions {
  fetch: FetchLike;
  /** Default "http://wolf": the transport knows where it leads. */
  baseUrl?: string;
  /** For lobby creation, which Wolf answers after up to 20 s. Default 30,000 ms. */
  createTimeoutMs?: number;
  /** For everything else. Default 15,000 ms. */
  timeoutMs?: number;
}

export interface WolfClient {
  listLobbies(signal?: AbortSignal): Promise<Lobby[]>;
  createLobby(request: CreateLobbyRequest, signal?: AbortSignal): Promise<{ lobby_id: string }>;
  stopLobby(request: StopLobbyRequest, signal?: AbortSignal): Promise<void>;
  /** Wolf's own description of itself: the only way to learn what this build can do, as there is no version. */
  openApiSchema(signal?: AbortSignal): Promise<Record<string, unknown>>;
}

/** More than the agent gives Wolf: its own word on a Wolf that does not answer has to arrive first. */
const AGENT_SLACK_MS = 5000;
const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const WOLF_MESSAGE_CHARACTERS_MAX = 300;

/** The agent's refusals carry this header: Wolf has not seen the request. */
export const refusedHeader = "x-wolfpack-refused";

/**
 * Every method rejects with a WolfApiError, except that a request which does not fit its own schema is the caller's
 * mistake and rejects with a ZodError before anything is sent. Timeouts count per attempt.
 */
export function wolfClient(options: WolfClientOptions): WolfClient {
  const {
    fetch,
    baseUrl = "http://wolf",
    createTimeoutMs = classLimits.create.timeoutMs + AGENT_SLACK_MS,
    timeoutMs = Math.max(classLimits.read.timeoutMs, classLimits.change.timeoutMs) + AGENT_SLACK_MS,
  } = options;

  async function once<T>(
    method: "GET" | "POST",
    path: string,
    reply: z.ZodType<T>,
    body: unknown,
    limitMs: number,
    signal?: AbortSignal,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(limitMs);
    const init: FetchInit = {
      method,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      deadlineMs: limitMs,
    };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { "content-type": "application/json" };
    }
    let response: Response;
    try {
      response = await fetch(`${baseUrl}${path}`, init);
    } catch (cause) {
      throw transportError(cause, timeout.aborted, limitMs);
    }
    let replyText: string;
    try {
      replyText = await boundedText(response);
    } catch (cause) {
      throw bodyError(cause, response.status, {
        timedOut: timeout.aborted,
        given: signal?.aborted === true,
        limitMs,
      });
    }
    return readReply(response, replyText, reply);
  }

  /** A GET whose reply came back broken is asked again once (Wolf corrupts some replies above 64 KiB); a POST never. */
  async function get<T>(path: string, reply: z.ZodType<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await once("GET", path, reply, undefined, timeoutMs, signal);
    } catch (error) {
      if (!(error instanceof WolfApiError) || error.code !== "WOLF_REPLY_BROKEN") throw error;
      return once("GET", path, reply, undefined, timeoutMs, signal);
    }
  }

  return {
    async listLobbies(signal) {
      return (await get("/api/v1/lobbies", ListLobbiesReply, signal)).lobbies;
    },
    async createLobby(request, signal) {
      const body = CreateLobbyRequest.parse(request);
      const { lobby_id } = await once(
        "POST",
        "/api/v1/lobbies/create",
        CreateLobbyReply,
        body,
        createTimeoutMs,
        signal,
      );
      return { lobby_id };
    },
    async stopLobby(request, signal) {
      await once(
        "POST",
        "/api/v1/lobbies/stop",
        SuccessReply,
        StopLobbyRequest.parse(request),
        timeoutMs,
        signal,
      );
    },
    openApiSchema: (signal) => get("/api/v1/openapi-schema", z.record(z.string(), z.unknown()), signal),
  };
}

/** System errors of a connection that was never made: nothing can have been sent on it. */
const neverConnected = new Set(["ECONNREFUSED", "ENOENT", "ENOTFOUND", "EAI_AGAIN"]);
const CAUSES_READ = 4;

/** Errors of a transport say themselves whether the request was sent (`sent`, as revdial's do); any other may have been. */
function transportError(cause: unknown, timedOut: boolean, limitMs: number): WolfApiError {
  let mayHaveRun = true;
  let deadline = timedOut;
  let link = cause;
  for (let read = 0; read < CAUSES_READ && typeof link === "object" && link !== null; read += 1) {
    const { sent, code, cause: inner } = link as { sent?: unknown; code?: unknown; cause?: unknown };
    if (sent === "not-sent" || neverConnected.has(String(code))) mayHaveRun = false;
    if (code === "DEADLINE") deadline = true;
    link = inner;
  }
  return deadline
    ? new WolfApiError("WOLF_TIMEOUT", `no answer within ${limitMs} ms`, { mayHaveRun, cause })
    : new WolfApiError("WOLF_UNREACHABLE", "the request could not be carried", { mayHaveRun, cause });
}

/** The reply began and did not end: Wolf has acted, or is acting. */
function bodyError(
  cause: unknown,
  status: number,
  { timedOut, given, limitMs }: { timedOut: boolean; given: boolean; limitMs: number },
): WolfApiError {
  if (cause instanceof WolfApiError) return cause;
  const options = { mayHaveRun: true, status, cause };
  if (timedOut || (cause as { code?: unknown } | null)?.code === "DEADLINE")
    return new WolfApiError("WOLF_TIMEOUT", `no whole answer within ${limitMs} ms`, options);
  if (given)
    return new WolfApiError("WOLF_UNREACHABLE", "the call was given up while its reply arrived", options);
  return new WolfApiError("WOLF_REPLY_BROKEN", `status ${status} with a body that cannot be read`, options);
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (response.body === null) return "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > REPLY_BYTES_MAX) {
      throw new WolfApiError("WOLF_REPLY_BROKEN", `a reply of more than ${REPLY_BYTES_MAX} bytes`, {
        mayHaveRun: true,
        status: response.status,
      });
    }
    chunks.push(chunk);
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(whole);
}

function readReply<T>(response: Response, replyText: string, reply: z.ZodType<T>): T {
  const { status } = response;
  const refusal = response.headers.get(refusedHeader);
  if (refusal !== null) throw agentRefusal(refusal, status, replyText);
  let json: unknown;
  let broken: unknown;
  try {
    json = parseWolfJson(replyText);
  } catch (cause) {
    broken = cause;
  }
  const failed = FailureReply.safeParse(json);
  if (failed.success || status < 200 || status > 299) {
    const wolfMessage = (failed.success ? failed.data.error : `status ${status}`).slice(
      0,
      WOLF_MESSAGE_CHARACTERS_MAX,
    );
    // A refusal is no proof of nothing done: "Lobby setup timed out" comes after Wolf has begun. An unknown route is.
    throw new WolfApiError("WOLF_REFUSED", `Wolf refused: ${wolfMessage}`, {
      mayHaveRun: status !== 404 && status !== 405,
      status,
      wolfMessage,
    });
  }
  if (broken !== undefined)
    throw new WolfApiError("WOLF_REPLY_BROKEN", `status ${status} with a body that is not JSON`, {
      mayHaveRun: true,
      status,
      cause: broken,
    });
  const parsed = reply.safeParse(json);
  if (!parsed.success) {
    throw new WolfApiError(
      "WOLF_REPLY_BROKEN",
      `a reply of another shape: ${z.prettifyError(parsed.error)}`,
      { mayHaveRun: true, status },
    );
  }
  return parsed.data;
}

/** What the agent answers in Wolf's place, by its code. */
function agentRefusal(refusal: string, status: number, body: string): WolfApiError {
  const wolfMessage = `${refusal}: ${body}`.slice(0, WOLF_MESSAGE_CHARACTERS_MAX);
  if (refusal === "upstream-timeout")
    return new WolfApiError("WOLF_TIMEOUT", "Wolf did not answer its agent in time", {
      mayHaveRun: true,
      status,
      wolfMessage,
    });
  if (refusal === "upstream-reply-broken")
    return new WolfApiError("WOLF_REPLY_BROKEN", "Wolf's reply was broken", {
      mayHaveRun: true,
      status,
      wolfMessage,
    });
  if (refusal === "upstream-unreachable")
    return new WolfApiError("WOLF_UNREACHABLE", "the agent cannot reach Wolf", {
      mayHaveRun: false,
      status,
      wolfMessage,
    });
  return new WolfApiError("WOLF_REFUSED", `the agent refused: ${refusal}`, {
    // A caller that gave up does not stop what Wolf has begun.
    mayHaveRun: refusal === "cancelled",
    status,
    wolfMessage,
  });
}
