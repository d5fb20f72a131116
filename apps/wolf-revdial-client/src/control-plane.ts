/** The agent's two ways to its control plane: single calls by HTTP, and the tunnel; both with the same trust in certificates. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import {
  AgentChallenge,
  type AgentInventory,
  CONNECTION_PARAMETER,
  CONNECTIONS_PARAMETER,
  Enrollment,
  type EnrollRequest,
} from "@wolfpack/api-contract";
import { type DialOptions, dialTunnel, type RequestHandler, type Tunnel } from "revdial";
import { dialHelix, type HelixDialOptions } from "revdial/helix";
import { z } from "zod";
import { tunnelUrlOf } from "./api-url.ts";
import type { Clock } from "./clock.ts";
import type { AgentConfig } from "./config.ts";

const REGISTER_TIMEOUT_MS = 15_000;
const REPLY_BYTES_MAX = 256 * 1024;

export interface Refusal {
  /** Undefined: it could not be reached. */
  status?: number | undefined;
  /** Of its problem. */
  code?: string | undefined;
  /** What time it says it is, where the clocks differ too much. */
  serverTime?: string | undefined;
  /** The server's wish, from `Retry-After`. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** The control plane did not take a registration, an enrolment, or a question for a challenge. */
export class RegistrationFailed extends Error {
  override readonly name = "RegistrationFailed";
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly serverTime: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { status, code, serverTime, retryAfterMs, cause }: Refusal) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    this.serverTime = serverTime;
    this.retryAfterMs = retryAfterMs;
  }
}

export type ControlPlaneConfig = Pick<AgentConfig, "apiUrl" | "ca" | "insecure">;

/** In the way of before agents had keys. Rejects with a RegistrationFailed. */
export async function register(
  config: AgentConfig,
  inventory: AgentInventory,
  signal: AbortSignal,
): Promise<void> {
  const body = { name: config.wolfId, address: config.address, ...inventory };
  await post(config, "/api/v1/wolf-instances/register", { bearer: config.token, body, signal });
}

/** Rejects with a RegistrationFailed, whose code is `not-found` at a control plane of before agents had keys. */
export async function askChallenge(config: ControlPlaneConfig, signal: AbortSignal): Promise<AgentChallenge> {
  return as(AgentChallenge, await post(config, "/api/v1/agents/challenges", { signal }));
}

/** Rejects with a RegistrationFailed. */
export async function enroll(
  config: ControlPlaneConfig,
  request: { bearer: string; body: EnrollRequest; signal: AbortSignal },
): Promise<Enrollment> {
  return as(Enrollment, await post(config, "/api/v1/agents/enroll", request));
}

function as<Reply>(schema: z.ZodType<Reply>, json: unknown): Reply {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new RegistrationFailed(`unexpected-reply: ${z.prettifyError(parsed.error)}`, {});
}

async function post(
  config: ControlPlaneConfig,
  path: string,
  { bearer, body, signal }: { bearer?: string; body?: unknown; signal: AbortSignal },
): Promise<unknown> {
  let response: Response;
  let text: string;
  try {
    response = await trustingFetch(config)(new URL(path, config.apiUrl), {
      method: "POST",
      headers: {
        accept: "application/json, application/problem+json",
        ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? "" : JSON.stringify(body),
      signal: AbortSignal.any([signal, AbortSignal.timeout(REGISTER_TIMEOUT_MS)]),
    });
    text = await response.text();
  } catch (cause) {
    throw new RegistrationFailed(`network-failed: POST ${path} got no whole reply`, { cause });
  }
  const json = parseJson(text);
  const { status } = response;
  if (status >= 200 && status <= 299 && typeof json === "object") return json;
  const { code, detail, server_time: serverTime } = (json ?? {}) as Record<string, unknown>;
  throw new RegistrationFailed(
    typeof detail === "string" ? detail : `POST ${path} was answered with status ${status} without a problem`,
    {
      status,
      code: typeof code === "string" ? code : undefined,
      serverTime: typeof serverTime === "string" ? serverTime : undefined,
      retryAfterMs: readRetryAfter(response.headers),
    },
  );
}

/** What is no JSON reads as undefined. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** RFC 9110 section 10.2.3: seconds, or a date, which is measured against the server's own `Date`. */
export function readRetryAfter(headers: Headers): number | undefined {
  const value = headers.get("retry-after") ?? "";
  const ms = /^\d{1,10}$/.test(value)
    ? Number(value) * 1000
    : Date.parse(value) - Date.parse(headers.get("date") ?? "");
  return Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}

export interface DialAs {
  /** Made for each way that is tried. */
  headers: () => Promise<Record<string, string>>;
  version: string;
  incarnation: number;
  clock: Clock;
  signal: AbortSignal;
  /** Serves from the first moment. */
  handler: RequestHandler;
  onHandlerError: (error: unknown) => void;
  transport: AgentConfig["transport"];
  /** For the WebSocket, before plain HTTP is tried. Default: revdial's. */
  upgradeTimeoutMs?: number;
  /** Of a tunnel beside the first: which, and of how many. */
  connection?: { at: number; of: number };
  onAnswer?: NonNullable<DialOptions["onAnswer"]>;
  /** Told why the tunnel goes on over plain HTTP. */
  onFallback?: NonNullable<DialOptions["onFallback"]>;
  /** Of a Helix control plane only. */
  pickups?: Pick<HelixDialOptions, "checkTarget" | "onPickupFailed">;
}

/** Rejects with a RevdialError, or with what making the headers failed with. */
export function dial(config: AgentConfig, how: DialAs): Promise<Tunnel> {
  const { version, transport, upgradeTimeoutMs, onFallback, onAnswer, connection, pickups, ...both } = how;
  const { protocol, apiUrl, sessionId, wolfId, insecure, ca } = config;
  const url = tunnelUrlOf(apiUrl, sessionId === undefined ? `wolf-${wolfId}` : `sandbox-${sessionId}`);
  if (connection !== undefined) {
    url.searchParams.set(CONNECTION_PARAMETER, String(connection.at));
    url.searchParams.set(CONNECTIONS_PARAMETER, String(connection.of));
  }
  const options = {
    agent: `wolf-revdial-client/${version}`,
    insecure,
    ...(ca === undefined ? {} : { ca }),
    ...both,
  };
  if (protocol === "helix") return dialHelix(url, { service: "wolf", ...options, ...pickups });
  return dialTunnel(url, {
    ...options,
    transport,
    ...(upgradeTimeoutMs === undefined ? {} : { upgradeTimeoutMs }),
    ...(onFallback === undefined ? {} : { onFallback }),
    ...(onAnswer === undefined ? {} : { onAnswer }),
  });
}

/** fetch with our own certificates, which the built-in one cannot be given. Requests and replies are small JSON. */
export function trustingFetch({ ca, insecure }: Pick<AgentConfig, "ca" | "insecure">): typeof fetch {
  return (input, init) =>
    new Promise((resolve, reject) => {
      const url = new URL(String(input));
      const body = typeof init?.body === "string" ? Buffer.from(init.body) : undefined;
      const options = {
        method: init?.method ?? "GET",
        agent: false as const,
        headers: {
          ...(init?.headers as Record<string, string>),
          ...(body === undefined ? {} : { "content-length": String(body.length) }),
        },
        ...(init?.signal ? { signal: init.signal } : {}),
      };
      const respond = (response: IncomingMessage) => void toResponse(response).then(resolve, reject);
      const request =
        url.protocol === "https:"
          ? httpsRequest(
              url,
              { ...options, rejectUnauthorized: !insecure, ...(ca === undefined ? {} : { ca }) },
              respond,
            )
          : httpRequest(url, options, respond);
      request.on("error", reject);
      request.end(body);
    });
}

async function toResponse(response: IncomingMessage): Promise<Response> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > REPLY_BYTES_MAX) throw new Error(`a reply of more than ${REPLY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  const status = response.statusCode ?? 502;
  const empty = status === 204 || status === 205 || status === 304;
  return new Response(empty ? null : Buffer.concat(chunks), {
    status: status >= 200 && status <= 599 ? status : 502,
    headers: {
      "content-type": response.headers["content-type"] ?? "",
      "retry-after": response.headers["retry-after"] ?? "",
      date: response.headers.date ?? "",
    },
  });
}
