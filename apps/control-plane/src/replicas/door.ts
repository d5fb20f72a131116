/**
 * Where other replicas ask for this one's tunnels. Whoever shows no credential of a living replica learns nothing; what comes in goes
 * to a tunnel that ends here, or nowhere: nothing is passed on twice.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP, type Socket } from "node:net";
import { type Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { RevdialError, type TunnelRequest, type TunnelResponse } from "revdial";
import type { Clock } from "../clock.ts";
import { ApiError, renderProblem } from "../http/problem.ts";
import type { Log } from "../logger.ts";
import type { TunnelLink } from "../tunnels/helix/grace.ts";
import { answerRaw } from "../tunnels/refused-upgrade.ts";
import { pairsOf, travelling } from "./fields.ts";
import { framedAnswer } from "./framing.ts";
import { type HopWatch, unwatchedHops } from "./hop-watch.ts";
import {
  CLIENT_FIELD,
  DEADLINE_FIELD,
  FATE_FIELD,
  INTERNAL_PREFIX,
  type InternalTarget,
  targetOf,
  UPGRADE_FIELD,
  UPGRADE_NAME,
} from "./internal-wire.ts";
import type { Membership } from "./membership.ts";
import { becomeCall } from "./passed-on.ts";
import { REPLICA_FIELD, type ReplicaCredentials } from "./replica-credential.ts";

export interface Door {
  isInternal(request: IncomingMessage): boolean;
  /** Never throws. */
  request(request: IncomingMessage, response: ServerResponse): void;
  /** Never throws. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface DoorOptions {
  credentials: Pick<ReplicaCredentials, "check">;
  membership: Pick<Membership, "lives" | "knows" | "expired">;
  /** Tunnels of this replica only. */
  /** Its connections are not kept any more. Default: never. */
  draining?: () => boolean;
  links: { wolf(id: string): TunnelLink | undefined; sandbox(id: string): TunnelLink | undefined };
  /** A wolf whose tunnel is here is to be compared. */
  look: (wolfId: string) => void;
  /** Calls of users and agents that came to the other replica first, from here on as if they had come to this one. */
  calls: {
    request(request: IncomingMessage, response: ServerResponse): void;
    upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  };
  clock: Clock;
  log: Log;
  /** Default: nobody watches. */
  hops?: Pick<HopWatch, "in">;
  onAsked?: (outcome: "answered" | "refused" | "failed") => void;
  /** Exchanges at once; more are refused. Default 4,096. */
  inFlightMax?: number;
}

const IN_FLIGHT_MAX = 4096;
const CLOCKS = " The clocks of the two replicas differ by more than 30 s: set both by NTP.";
const DEADLINE_MS_MAX = 2 ** 31 - 1;

export function createDoor(options: DoorOptions): Door {
  const {
    credentials,
    membership,
    links,
    look,
    calls,
    clock,
    log,
    hops = unwatchedHops,
    onAsked = () => {},
    inFlightMax = IN_FLIGHT_MAX,
    draining = () => false,
  } = options;
  let inFlight = 0;

  function checkRoom(): void {
    if (inFlight < inFlightMax) return;
    const why = `${inFlightMax} requests of replicas are in flight`;
    throw new RevdialError("REFUSED", why, { sent: "not-sent" });
  }

  /** What it asks for; throws the problem that refuses it. */
  async function admit(request: IncomingMessage): Promise<{ from: string; target: InternalTarget }> {
    const { url = "", method = "" } = request;
    const shown = request.headers[REPLICA_FIELD];
    const credential = typeof shown === "string" ? shown : undefined;
    const checked = credentials.check(credential, method, url, clock.now().getTime());
    if (typeof checked === "string")
      throw refused(`The replica's credential is ${checked}.${checked === "expired" ? CLOCKS : ""}`);
    const target = targetOf(url);
    // Asked by one that is not yet a replica, whether it may be; and by one that may be none any more.
    if (target?.kind === "self" || target?.kind === "known") return { from: checked.from, target };
    if (!(await membership.lives(checked.from)))
      throw refused(`Replica ${checked.from} has no lease: it has ended, or was taken for gone.`);
    if (membership.expired()) throw refused("The lease of this replica has ended.");
    if (target === undefined) throw new ApiError("not-found", "Replicas ask for nothing of this path.");
    return { from: checked.from, target };
  }

  /** What becomes of it is the program's to say, and not told to the replica: it passes on whatever comes. */
  async function handOver(
    request: IncomingMessage,
    { from, path, end, take }: { from: string; path: string; end: ServerResponse | Duplex; take: () => void },
  ): Promise<void> {
    const address = request.headers[CLIENT_FIELD];
    if (typeof address !== "string" || isIP(address) === 0)
      throw new ApiError("invalid-request", `${CLIENT_FIELD} is no address.`);
    const over = new Promise<void>((resolve) => end.once("close", resolve));
    becomeCall(request, path, { from, address });
    take();
    if (!end.closed) await over;
  }

  function ask(
    from: string,
    { holder, id, service }: InternalTarget & { kind: "tunnel" },
    request: TunnelRequest,
  ): Promise<TunnelResponse> {
    const link = links[holder](id);
    if (link === undefined)
      throw new RevdialError("CLOSED", "the tunnel does not end here", { sent: "not-sent" });
    return hops.in({ replica: from, service, traceparent: request.traceparent }, (traceparent) =>
      link.request({ ...request, traceparent }),
    );
  }

  function requestOf(
    { service, path }: InternalTarget & { kind: "tunnel" },
    request: IncomingMessage,
    signal: AbortSignal,
  ): TunnelRequest {
    const { method = "GET", headers, rawHeaders } = request;
    const { traceparent } = headers;
    const fields = travelling(pairsOf(rawHeaders)).filter(([name]) => name !== "traceparent");
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
    return {
      service,
      method,
      path,
      headers: fields,
      signal,
      deadlineMs: deadlineOf(headers[DEADLINE_FIELD]),
      traceparent: typeof traceparent === "string" ? traceparent : undefined,
      ...(hasBody && { body: request, trailers: () => travelling(pairsOf(request.rawTrailers)) }),
    };
  }

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
  ): Promise<void> {
    checkRoom();
    response.sendDate = false;
    const { from, target } = await admit(request);
    if (target.kind === "call") {
      response.sendDate = true;
      const take = () => calls.request(request, response);
      return handOver(request, { from, path: target.path, end: response, take });
    }
    if (target.kind === "self" || target.kind === "known") {
      const status = target.kind === "self" || (await membership.knows(from)) ? 204 : 410;
      return void response.writeHead(status, { "x-request-id": requestId }).end();
    }
    if (target.kind === "look") {
      if (request.method !== "POST")
        throw new ApiError("method-not-allowed", "POST.", { headers: { allow: "POST" } });
      if (links.wolf(target.wolfId) !== undefined) look(target.wolfId);
      response.writeHead(202, { "x-request-id": requestId, "content-length": "0" }).end();
      return;
    }
    const gone = new AbortController();
    response.once("close", () => gone.abort(new Error("the other replica hung up")));
    const reply = await ask(from, target, {
      ...requestOf(target, request, gone.signal),
      onInterim: (status, headers) => {
        if (status === 103 && !response.headersSent) response.writeEarlyHints(hintsOf(headers));
      },
    });
    const { headers, body, isWhole } = framedAnswer(reply, request.method);
    response.writeHead(reply.status, headers.flat());
    response.flushHeaders();
    await pipeline(Readable.from(body), response, { end: isWhole });
    if (isWhole) return;
    const trailers = await reply.trailers;
    if (trailers.length > 0) response.addTrailers(travelling(trailers));
    response.end();
  }

  async function open(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    onStarted: () => void,
  ): Promise<void> {
    checkRoom();
    const { from, target } = await admit(request);
    if (target.kind === "call") {
      const take = () => {
        onStarted();
        calls.upgrade(request, socket, head);
      };
      return handOver(request, { from, path: target.path, end: socket, take });
    }
    if (target.kind !== "tunnel" || request.headers.upgrade?.toLowerCase() !== UPGRADE_NAME)
      throw new ApiError("not-found", "There is no channel to be had here.");
    const gone = new AbortController();
    const hungUp = () => gone.abort(new Error("the other replica hung up"));
    socket.once("close", hungUp);
    const wanted = request.headers[UPGRADE_FIELD];
    const reply = await ask(from, target, {
      ...requestOf(target, request, gone.signal),
      upgrade: typeof wanted === "string" && wanted !== "-" ? wanted : "",
    });
    socket.off("close", hungUp);
    onStarted();
    // Silence ends it no more than in a tunnel.
    if ("setTimeout" in socket) (socket as Socket).setTimeout(0);
    const fields = travelling(reply.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    if (reply.socket === undefined) {
      // Whatever it is, it is an ordinary answer, of which the length may not be known: it ends with the connection.
      const start = `HTTP/1.1 ${reply.status} ${reply.status === 200 ? "OK" : "Refused"}\r\n`;
      socket.write(
        `${start}${fields.filter((field) => !field.startsWith("content-length")).join("")}connection: close\r\n\r\n`,
      );
      await pipeline(Readable.from(reply.body), socket);
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${UPGRADE_NAME}\r\n${fields.join("")}\r\n`,
    );
    if (head.length > 0) reply.socket.write(head);
    await Promise.all([pipeline(socket, reply.socket), pipeline(reply.socket, socket)]);
  }

  /** The problem, or what became of the request, as head and body. */
  function refusal(cause: unknown, requestId: string) {
    if (cause instanceof RevdialError) {
      const fate = `${cause.code} ${cause.sent ?? "may-have-run"}`;
      return {
        status: 502,
        headers: { [FATE_FIELD]: fate, "x-request-id": requestId },
        body: "",
        level: "debug" as const,
      };
    }
    const error =
      cause instanceof ApiError ? cause : new ApiError("internal", "Unexpected failure.", { cause });
    const rendered = renderProblem(error, requestId);
    // Nothing of the request has left this replica.
    const headers: Record<string, string> = {
      ...rendered.headers,
      [FATE_FIELD]: "REFUSED not-sent",
      "x-request-id": requestId,
    };
    return {
      ...rendered,
      headers,
      level: error.code === "internal" ? ("error" as const) : ("warn" as const),
    };
  }

  function counted(run: Promise<void>, onFailed: (cause: unknown) => void): void {
    inFlight += 1;
    run
      .then(
        () => onAsked("answered"),
        (cause: unknown) => {
          onAsked(cause instanceof RevdialError ? "failed" : "refused");
          onFailed(cause);
        },
      )
      .finally(() => {
        inFlight -= 1;
      });
  }

  return {
    isInternal: ({ url = "" }) => url.startsWith(INTERNAL_PREFIX),

    request(request, response) {
      const requestId = randomUUID();
      if (draining()) response.setHeader("connection", "close");
      counted(answer(request, response, requestId), (cause) => {
        const { status, headers, body, level } = refusal(cause, requestId);
        if (!request.readableEnded) request.resume();
        log[level]({ err: cause, request_id: requestId }, "a replica's request was not answered");
        if (response.headersSent) return void response.destroy();
        response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
      });
    },

    upgrade(request, socket, head) {
      const requestId = randomUUID();
      let started = false;
      socket.on("error", () => socket.destroy());
      const opening = open(request, socket, head, () => {
        started = true;
      });
      counted(opening, (cause) => {
        const { level, ...raw } = refusal(cause, requestId);
        log[level]({ err: cause, request_id: requestId }, "a replica's channel was not opened");
        if (started) return void socket.destroy();
        answerRaw(socket, raw, requestId);
      });
    },
  };
}

const refused = (detail: string) => new ApiError("replica-refused", detail);

function deadlineOf(field: string | string[] | undefined): number | undefined {
  if (field === undefined) return undefined;
  const ms = Number(field);
  if (typeof field !== "string" || !Number.isInteger(ms) || ms < 1 || ms > DEADLINE_MS_MAX)
    throw new ApiError("invalid-request", `${DEADLINE_FIELD} is not a number of milliseconds.`);
  return ms;
}

function hintsOf(headers: Iterable<readonly [string, string]>): Record<string, string> {
  return Object.fromEntries(headers);
}
