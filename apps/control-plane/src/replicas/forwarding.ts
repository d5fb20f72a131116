/**
 * Requests for tunnels of other replicas, over HTTP/1.1 to the one that holds them (door.ts answers): bodies stream both ways, upgrades
 * become sockets, and whatever fails says what became of the request, as a tunnel's own errors do.
 */
import { once } from "node:events";
import http, { type ClientRequest, type IncomingMessage } from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import {
  type HeaderList,
  RevdialError,
  type RevdialErrorCode,
  revdialErrorCodes,
  type TunnelRequest,
  type TunnelResponse,
} from "revdial";
import type { Clock } from "../clock.ts";
import { pairsOf, travelling } from "./fields.ts";
import { framedRequest } from "./framing.ts";
import { DEADLINE_FIELD, FATE_FIELD, UPGRADE_FIELD, UPGRADE_NAME } from "./internal-wire.ts";
import { REPLICA_FIELD, type ReplicaCredentials } from "./replica-credential.ts";
import { endOf, type Owner } from "./replica-store.ts";

export interface Forwarding {
  /** `prefix`: what of the path comes before the request's own; `ours`: fields for the replica itself. Rejects with a RevdialError. */
  ask(owner: Owner, prefix: string, request: TunnelRequest, ours?: HeaderList): Promise<TunnelResponse>;
  /** Exchanges whose answer has not ended. */
  readonly inFlight: number;
  close(): void;
}

export interface ForwardingOptions {
  credentials: Pick<ReplicaCredentials, "sign">;
  clock: Clock;
  /** More at once are refused. Default 2,048. */
  inFlightMax?: number;
  /** Until a connection stands. Default 3,000. */
  connectMs?: number;
}

const IN_FLIGHT_MAX = 2048;
const CONNECT_MS = 3000;
const SOCKETS_PER_REPLICA_MAX = 512;
/** Shorter than the other side keeps an idle connection: a request is not sent into one that is just being closed. */
const IDLE_SOCKET_MS = 30_000;

export function createForwarding(options: ForwardingOptions): Forwarding {
  const { credentials, clock, inFlightMax = IN_FLIGHT_MAX, connectMs = CONNECT_MS } = options;
  const settings = { keepAlive: true, maxSockets: SOCKETS_PER_REPLICA_MAX, timeout: IDLE_SOCKET_MS };
  const agents = { http: new http.Agent(settings), https: new https.Agent(settings) };
  let inFlight = 0;

  function open(
    owner: Owner,
    path: string,
    { method, deadlineMs, upgrade, traceparent }: TunnelRequest,
    framed: HeaderList,
    ours: HeaderList,
  ): ClientRequest {
    const { isSecure, host, port, authority } = endOf(owner);
    const headers: [string, string][] = Array.from(framed, ([name, value]) => [name, value]);
    for (const [name, value] of ours) headers.push([name, value]);
    headers.push([REPLICA_FIELD, credentials.sign(owner.id, method, path, clock.now().getTime())]);
    headers.push(["host", authority]);
    if (deadlineMs !== undefined) headers.push([DEADLINE_FIELD, String(deadlineMs)]);
    if (traceparent !== undefined) headers.push(["traceparent", traceparent]);
    if (upgrade !== undefined)
      headers.push(["connection", "upgrade"], ["upgrade", UPGRADE_NAME], [UPGRADE_FIELD, upgrade || "-"]);
    return (isSecure ? https : http).request({
      host,
      port,
      path,
      method,
      headers: headers.flat(),
      // What becomes a socket leaves the pool.
      agent: upgrade === undefined ? agents[isSecure ? "https" : "http"] : false,
    });
  }

  return {
    get inFlight() {
      return inFlight;
    },

    async ask(owner, prefix, request, ours = []) {
      if (inFlight >= inFlightMax)
        throw new RevdialError("REFUSED", `${inFlightMax} requests to other replicas are in flight`, {
          sent: "not-sent",
        });
      if (request.signal?.aborted) throw cancelled("not-sent", request.signal.reason);
      inFlight += 1;
      const { headers, body } = framedRequest(request);
      const asked = open(owner, `${prefix}${request.path}`, request, headers, ours);
      asked.once("close", () => {
        inFlight -= 1;
      });
      return new Exchange(asked, { ...request, body }, clock, connectMs).answer();
    },

    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

/** One request, from its connection to the end of its answer. */
class Exchange {
  private readonly asked: ClientRequest;
  private readonly request: TunnelRequest;
  private sent = false;
  private why: RevdialError | undefined;
  private readonly timers: { cancel(): void }[] = [];

  constructor(asked: ClientRequest, request: TunnelRequest, clock: Clock, connectMs: number) {
    this.asked = asked;
    this.request = request;
    const { deadlineMs, signal, upgrade } = request;
    asked.once("socket", (socket) => {
      if (!socket.connecting) {
        this.sent = true;
        return;
      }
      const late = clock.setTimer(connectMs, () =>
        this.end(new RevdialError("CLOSED", "the other replica cannot be reached", { sent: "not-sent" })),
      );
      this.timers.push(late);
      socket.once("connect", () => {
        late.cancel();
        this.sent = true;
      });
    });
    if (deadlineMs !== undefined) {
      const timer = clock.setTimer(deadlineMs, () =>
        this.end(new RevdialError("DEADLINE", "no whole answer in time", { sent: this.fate() })),
      );
      this.timers.push(timer);
      // As in a tunnel: until the head of an upgrade.
      if (upgrade !== undefined) asked.once("upgrade", () => timer.cancel());
    }
    const cancel = () => this.end(cancelled(this.fate(), signal?.reason));
    signal?.addEventListener("abort", cancel, { once: true });
    asked.once("close", () => {
      signal?.removeEventListener("abort", cancel);
      for (const timer of this.timers) timer.cancel();
    });
  }

  private fate() {
    return this.sent ? "may-have-run" : "not-sent";
  }

  private end(why: RevdialError): void {
    this.why ??= why;
    const { socket } = this.asked;
    // Where packets vanish the kernel would go on sending what is left, and deliver it after somebody has long been told of its failure.
    if (socket !== null && !(socket instanceof TLSSocket)) socket.resetAndDestroy();
    this.asked.destroy(why);
  }

  answer(): Promise<TunnelResponse> {
    const { asked, request } = this;
    return new Promise((resolve, reject) => {
      asked.on("error", (error) => reject(this.why ?? this.failed(error)));
      asked.on("information", ({ statusCode, rawHeaders }) => {
        if (statusCode !== 100) request.onInterim?.(statusCode, travelling(pairsOf(rawHeaders)));
      });
      asked.once("upgrade", (response, socket, head) => {
        if (request.upgrade !== undefined) return resolve(this.switched(response, socket, head));
        socket.destroy();
        const why = "the other replica switched protocols without being asked";
        reject(new RevdialError("CHANNEL_RESET", why, { sent: "may-have-run" }));
      });
      asked.once("response", (response) => {
        const refusal = refusalOf(response);
        if (refusal === undefined) return resolve(this.ordinary(response));
        response.resume();
        reject(refusal);
        // What is left of the body is for nobody, and the connection not for another's request while it is not sent.
        if (!asked.writableFinished) this.end(refusal);
      });
      this.send().catch((error: unknown) => {
        this.end(
          error instanceof RevdialError
            ? error
            : new RevdialError("CANCELLED", "the body failed", { sent: this.fate(), cause: error }),
        );
      });
    });
  }

  private async send(): Promise<void> {
    const { asked } = this;
    const { body, trailers } = this.request;
    if (body === undefined) return void asked.end();
    if (body instanceof Uint8Array) return void asked.end(body);
    asked.flushHeaders();
    for await (const chunk of body) {
      if (asked.destroyed) return;
      if (!asked.write(chunk)) await Promise.race([once(asked, "drain"), once(asked, "close")]);
    }
    const fields = trailers?.() ?? [];
    if (fields.length > 0) asked.addTrailers(travelling(fields));
    asked.end();
  }

  private ordinary(response: IncomingMessage): TunnelResponse {
    const trailers = once(response, "end").then(() => travelling(pairsOf(response.rawTrailers)));
    trailers.catch(() => undefined);
    const failed = (error: unknown) => this.why ?? this.failed(error);
    async function* chunks() {
      try {
        for await (const chunk of response) yield chunk as Uint8Array;
      } catch (error) {
        throw failed(error);
      }
    }
    return {
      status: response.statusCode ?? 502,
      headers: travelling(pairsOf(response.rawHeaders)),
      body: chunks(),
      trailers,
    };
  }

  private switched(response: IncomingMessage, socket: Duplex, head: Buffer): TunnelResponse {
    if (head.length > 0) socket.unshift(head);
    socket.on("error", () => socket.destroy());
    return {
      status: 101,
      headers: travelling(pairsOf(response.rawHeaders)),
      body: nothing(),
      trailers: Promise.resolve([]),
      socket,
    };
  }

  private failed(cause: unknown): RevdialError {
    return this.sent
      ? new RevdialError("TRANSPORT_LOST", "the other replica went away", { sent: "may-have-run", cause })
      : new RevdialError("CLOSED", "the other replica cannot be reached", { sent: "not-sent", cause });
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

const cancelled = (sent: "not-sent" | "may-have-run", cause: unknown) =>
  new RevdialError("CANCELLED", "the caller gave up", { sent, cause });

/** What the other replica itself says, in place of an answer of the wolf's. */
function refusalOf({ headers }: IncomingMessage): RevdialError | undefined {
  const said = headers[FATE_FIELD];
  if (typeof said !== "string") return undefined;
  const [code = "", fate] = said.split(" ");
  const known = (revdialErrorCodes as readonly string[]).includes(code);
  return new RevdialError(
    known ? (code as RevdialErrorCode) : "CHANNEL_RESET",
    "said by the replica that holds the tunnel",
    {
      sent: fate === "not-sent" ? "not-sent" : "may-have-run",
    },
  );
}
