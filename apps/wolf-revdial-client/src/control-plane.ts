/** The agent's two ways to its control plane: registration by HTTP, and the tunnel; both with the same trust in certificates. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { type AgentInventory, WolfpackApiError, wolfpackClient } from "@wolfpack/api-contract";
import { type DialOptions, dialTunnel, type RequestHandler, type Tunnel } from "revdial";
import type { Clock } from "./clock.ts";
import type { AgentConfig } from "./config.ts";

const REGISTER_TIMEOUT_MS = 15_000;
const REPLY_BYTES_MAX = 256 * 1024;

/** The control plane did not take the registration: it said no, or could not be reached (no `status`). */
export class RegistrationFailed extends Error {
  readonly status: number | undefined;
  /** The server's wish, from `Retry-After`. */
  readonly retryAfterMs: number | undefined;

  constructor({ message, status, problem, cause }: WolfpackApiError, retryAfterMs: number | undefined) {
    super(problem?.detail ?? message, { cause });
    this.name = "RegistrationFailed";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Rejects with a RegistrationFailed. */
export async function register(
  config: AgentConfig,
  inventory: AgentInventory,
  signal: AbortSignal,
): Promise<void> {
  const send = trustingFetch(config);
  let retryAfterMs: number | undefined;
  const client = wolfpackClient({
    baseUrl: config.apiUrl,
    apiKey: config.token,
    fetch: async (input, init) => {
      const response = await send(input, init);
      retryAfterMs = readRetryAfter(response.headers);
      return response;
    },
  });
  try {
    await client.call("registerWolf", {
      body: { name: config.wolfId, address: config.address, ...inventory },
      signal: AbortSignal.any([signal, AbortSignal.timeout(REGISTER_TIMEOUT_MS)]),
    });
  } catch (error) {
    throw error instanceof WolfpackApiError ? new RegistrationFailed(error, retryAfterMs) : error;
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
  version: string;
  incarnation: number;
  clock: Clock;
  signal: AbortSignal;
  /** Serves from the first moment. */
  handler: RequestHandler;
  onHandlerError: (error: unknown) => void;
  transport: AgentConfig["transport"];
  /** Told why the tunnel goes on over plain HTTP. */
  onFallback?: NonNullable<DialOptions["onFallback"]>;
}

/** Rejects with a RevdialError. */
export function dial(config: AgentConfig, { version, ...how }: DialAs): Promise<Tunnel> {
  const url = new URL("/api/v1/revdial", config.apiUrl);
  url.protocol = config.apiUrl.protocol === "https:" ? "wss:" : "ws:";
  const { sessionId, wolfId } = config;
  url.searchParams.set("runnerid", sessionId === undefined ? `wolf-${wolfId}` : `sandbox-${sessionId}`);
  return dialTunnel(url, {
    headers: { authorization: `Bearer ${config.token}` },
    agent: `wolf-revdial-client/${version}`,
    insecure: config.insecure,
    ...how,
    ...(config.ca === undefined ? {} : { ca: config.ca }),
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
