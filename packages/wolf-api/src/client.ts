/**
 * Wolf's API over any fetch-like function: a tunnel, a Unix socket, the emulator. It bounds and checks every reply, and
 * every error says whether the request may have had an effect.
 */
import { z } from "zod";
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
  /** For lobby creation, which Wolf answers after up to 20 s. Default 25,000 ms. */
  createTimeoutMs?: number;
  /** For everything else. Default 10,000 ms. */
  timeoutMs?: number;
}

export interface WolfClient {
  listLobbies(signal?: AbortSignal): Promise<Lobby[]>;
  createLobby(request: CreateLobbyRequest, signal?: AbortSignal): Promise<{ lobby_id: string }>;
  stopLobby(request: StopLobbyRequest, signal?: AbortSignal): Promise<void>;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const WOLF_MESSAGE_CHARACTERS_MAX = 300;

/** The agent's refusals carry this header: Wolf has not seen the request. */
export const refusedHeader = "x-wolfpack-refused";

export function wolfClient(options: WolfClientOptions): WolfClient {
  const { fetch, baseUrl = "http://wolf", createTimeoutMs = 25_000, timeoutMs = 10_000 } = options;

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
    let replyText: string;
    try {
      response = await fetch(`${baseUrl}${path}`, init);
      replyText = await boundedText(response);
    } catch (cause) {
      throw transportError(cause, timeout.aborted, limitMs);
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
  };
}

/** Errors of a transport say themselves whether the request was sent (`sent`, as revdial's do); any other may have been. */
function transportError(cause: unknown, timedOut: boolean, limitMs: number): WolfApiError {
  if (cause instanceof WolfApiError) return cause;
  const { sent, code } = (typeof cause === "object" && cause !== null ? cause : {}) as {
    sent?: unknown;
    code?: unknown;
  };
  const mayHaveRun = sent !== "not-sent";
  if (timedOut || code === "DEADLINE")
    return new WolfApiError("WOLF_TIMEOUT", `no answer within ${limitMs} ms`, { mayHaveRun, cause });
  return new WolfApiError("WOLF_UNREACHABLE", "the request could not be carried", { mayHaveRun, cause });
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
  return new TextDecoder().decode(whole);
}

function readReply<T>(response: Response, replyText: string, reply: z.ZodType<T>): T {
  const { status } = response;
  const refusal = response.headers.get(refusedHeader);
  if (refusal !== null) throw agentRefusal(refusal, status, replyText);
  let json: unknown;
  try {
    json = JSON.parse(replyText);
  } catch (cause) {
    throw new WolfApiError("WOLF_REPLY_BROKEN", `status ${status} with a body that is not JSON`, {
      mayHaveRun: true,
      status,
      cause,
    });
  }
  const failed = FailureReply.safeParse(json);
  if (failed.success || status < 200 || status > 299) {
    const wolfMessage = (failed.success ? failed.data.error : `status ${status}`).slice(
      0,
      WOLF_MESSAGE_CHARACTERS_MAX,
    );
    // Wolf answers 500 "Lobby setup timed out" after it has begun: a refusal is no proof of nothing done.
    throw new WolfApiError("WOLF_REFUSED", `Wolf refused: ${wolfMessage}`, {
      mayHaveRun: true,
      status,
      wolfMessage,
    });
  }
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
    mayHaveRun: false,
    status,
    wolfMessage,
  });
}
