/** The tunnel, step by step, as a doctor's tunnel: it belongs to no wolf, and a running agent does not notice it. */
import { randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { HELD_BY_FIELD, type HeldBy, readHeldBy } from "@wolfpack/api-contract";
import { dialTunnel, REVDIAL_SUBPROTOCOL, RevdialError, type Tunnel } from "revdial";
import type { AgentConfig } from "../config.ts";
import { type DoctorKey, noTunnelYet, tunnelHeaders, tunnelUrl } from "./key.ts";
import { type Check, type Finding, failed, ok, warning } from "./run.ts";

export interface TunnelOptions {
  config: Pick<
    AgentConfig,
    "apiUrl" | "token" | "joinToken" | "ca" | "insecure" | "transport" | "wolfId" | "connections"
  >;
  key: DoctorKey;
  version: string;
  quick: boolean;
  timeoutMs: number;
  /** For one message to come back. */
  echoTimeoutMs: number;
  idleMs: number;
  /** A cut after a shorter silence meets agents, whose tunnels speak every 5 s. */
  idleFatalMs: number;
  now: () => number;
}

const ECHO_BYTES = [1, 1024, 1400, 4096, 16_384, 65_536, 262_144, 1_048_576] as const;
const FALLBACK_ECHO_BYTES = 65_536;
/** Longer than any examination: the silence is what is examined. */
const SILENT_MS = 600_000;
const REFUSAL_BYTES_MAX = 2048;

export function tunnelChecks(options: TunnelOptions): Check[] {
  const { config, key, quick, timeoutMs, echoTimeoutMs, idleMs } = options;
  const { transport } = config;
  const none = noTunnelYet(config, key);
  const webSocket = none ?? (transport === "http" ? "--transport is http" : undefined);
  return [
    {
      code: "D11",
      needs: ["D07", "D10"],
      skip: webSocket,
      timeoutMs,
      run: (signal) => upgrade(options, signal),
    },
    {
      code: "D12",
      needs: ["D11"],
      skip: webSocket,
      timeoutMs,
      run: (signal) =>
        withTunnel(options, "websocket", signal, async (tunnel, held) => {
          await tunnel.reached;
          const rtt = tunnel.rttMs === undefined ? "" : `, round trip ${Math.round(tunnel.rttMs)} ms`;
          const at = held === undefined ? "" : `, replica ${held.replica} of ${held.of}`;
          const said = `HELLO of ${tunnel.peer?.agent.slice(0, 80)}${rtt}${at}`;
          return held === undefined && config.connections > 1
            ? warning(
                `${said}; this control plane takes one connection of an agent, and --connections is not used`,
              )
            : ok(said);
        }),
    },
    {
      code: "D13",
      needs: ["D12"],
      skip: webSocket,
      timeoutMs: timeoutMs + echoTimeoutMs * ECHO_BYTES.length,
      run: (signal) =>
        withTunnel(options, "websocket", signal, async (tunnel) => {
          for (const [at, bytes] of ECHO_BYTES.entries()) {
            const why = await echo(tunnel, bytes, echoTimeoutMs);
            const before = at === 0 ? "" : `; ${size(ECHO_BYTES[at - 1] ?? 0)} came back`;
            if (why !== undefined)
              return failed(`a message of ${size(bytes)} did not come back (${why})${before}`);
          }
          return ok(`messages from 1 byte to ${size(ECHO_BYTES.at(-1) ?? 0)} come back`);
        }),
    },
    {
      code: "D14",
      needs: ["D07", "D10"],
      skip: none ?? (transport === "websocket" ? "--transport is websocket" : undefined),
      timeoutMs: timeoutMs + echoTimeoutMs,
      run: (signal) => fallback(options, signal),
    },
    {
      code: "D19",
      needs: ["D12"],
      skip: quick ? "--quick" : webSocket,
      timeoutMs: timeoutMs + idleMs + echoTimeoutMs,
      run: (signal) => idle(options, signal),
    },
  ];
}

const size = (bytes: number) =>
  bytes < 1024 || bytes % 1024 !== 0
    ? `${bytes} byte${bytes === 1 ? "" : "s"}`
    : bytes < 1024 * 1024
      ? `${bytes / 1024} KiB`
      : `${bytes / 1024 / 1024} MiB`;

/** The tunnel ends with `use`, and when the signal aborts. */
async function withTunnel(
  { config, key, version, timeoutMs }: TunnelOptions,
  transport: "websocket" | "http",
  signal: AbortSignal,
  use: (tunnel: Tunnel, held: HeldBy | undefined) => Promise<Finding>,
): Promise<Finding> {
  const url = tunnelUrl(config);
  url.protocol = config.apiUrl.protocol === "https:" ? "wss:" : "ws:";
  let held: HeldBy | undefined;
  const tunnel = await dialTunnel(url, {
    onAnswer: (headers) => {
      held = readHeldBy(headers[HELD_BY_FIELD]);
    },
    headers: () => tunnelHeaders(config, key, signal),
    agent: `wolf-revdial-client-doctor/${version}`,
    insecure: config.insecure,
    ...(config.ca === undefined ? {} : { ca: config.ca }),
    transport,
    handshakeTimeoutMs: timeoutMs,
    pingIntervalMs: SILENT_MS,
    deadAfterMs: SILENT_MS,
    signal,
  }).catch((error: unknown) => {
    throw error instanceof RevdialError && error.detail
      ? new Error(`${error.message}: ${error.detail.slice(0, 200)}`)
      : error;
  });
  const end = () => tunnel.destroy();
  signal.addEventListener("abort", end, { once: true });
  try {
    return await use(tunnel, held);
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** Undefined, or why the message did not come back as it was. */
async function echo(tunnel: Tunnel, bytes: number, deadlineMs: number): Promise<string | undefined> {
  const body = randomBytes(bytes);
  try {
    const reply = await tunnel.request({ service: "echo", method: "POST", path: "/", body, deadlineMs });
    const chunks: Uint8Array[] = [];
    let came = 0;
    for await (const chunk of reply.body) {
      came += chunk.byteLength;
      if (came > bytes) break;
      chunks.push(chunk);
    }
    if (reply.status !== 200) return `status ${reply.status}`;
    return Buffer.concat(chunks).equals(body) ? undefined : "other bytes came back";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function fallback(options: TunnelOptions, signal: AbortSignal): Promise<Finding> {
  // Agents that may choose use it only where WebSockets are blocked.
  const bad = options.config.transport === "http" ? failed : warning;
  try {
    return await withTunnel(options, "http", signal, async (tunnel) => {
      const why = await echo(tunnel, FALLBACK_ECHO_BYTES, options.echoTimeoutMs);
      return why === undefined ? ok("the tunnel works over plain HTTP too") : bad(`opened, but ${why}`);
    });
  } catch (error) {
    return bad(error instanceof Error ? error.message : String(error));
  }
}

function idle(options: TunnelOptions, signal: AbortSignal): Promise<Finding> {
  const { now, idleMs, idleFatalMs, echoTimeoutMs } = options;
  return withTunnel(options, "websocket", signal, async (tunnel) => {
    await tunnel.reached;
    const begun = now();
    const over = Promise.withResolvers<"silent">();
    const timer = setTimeout(() => over.resolve("silent"), idleMs);
    const end = await Promise.race([over.promise, tunnel.closed]);
    clearTimeout(timer);
    if (end === "silent") {
      const why = await echo(tunnel, 1, echoTimeoutMs);
      return why === undefined
        ? ok(`alive after ${idleMs / 1000} s of silence`)
        : warning(`dead after ${idleMs / 1000} s of silence (${why})`);
    }
    const silentMs = now() - begun;
    const text = `cut after ${Math.round(silentMs / 100) / 10} s of silence`;
    return silentMs < idleFatalMs
      ? failed(text)
      : warning(`${text}; an agent's tunnel, which speaks every 5 s, stays up`);
  });
}

/** The handshake alone, by hand: what a proxy makes of it is seen as it is. */
async function upgrade({ config, key }: TunnelOptions, signal: AbortSignal): Promise<Finding> {
  const { authorization } = await tunnelHeaders(config, key, signal);
  return new Promise((resolve, reject) => {
    const url = tunnelUrl(config);
    const options = {
      agent: false as const,
      signal,
      headers: {
        authorization,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
        "sec-websocket-protocol": REVDIAL_SUBPROTOCOL,
      },
    };
    const request =
      url.protocol === "https:"
        ? httpsRequest(url, {
            ...options,
            rejectUnauthorized: !config.insecure,
            ...(config.ca === undefined ? {} : { ca: config.ca }),
          })
        : httpRequest(url, options);
    request.on("error", reject);
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      const protocol = response.headers["sec-websocket-protocol"];
      if (protocol === REVDIAL_SUBPROTOCOL) resolve(ok(`101 with ${REVDIAL_SUBPROTOCOL}`));
      else resolve(failed(`101, but without the subprotocol ${REVDIAL_SUBPROTOCOL}`));
    });
    request.on("response", (response) => {
      void start(response).then((text) => {
        request.destroy();
        resolve(failed(`answered with status ${response.statusCode} instead of 101 ${text}`.trim()));
      }, reject);
    });
    request.end();
  });
}

async function start(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) {
    text += chunk;
    if (text.length > REFUSAL_BYTES_MAX) break;
  }
  const code = /"code"\s*:\s*"([a-z-]{1,60})"/.exec(text)?.[1];
  return code === undefined ? "" : `(${code})`;
}
