/**
 * Who may open which tunnel, whatever carries it: the caller is authenticated and its target looked up before any tunnel
 * exists.
 */
import type { IncomingMessage } from "node:http";
import { type Action, type ProofPurpose, problemKind, type TunnelProtocol } from "@wolfpack/api-contract";
import type { Tunnel, TunnelOptions } from "revdial";
import { type Clock, systemClock } from "../clock.ts";
import { onBehalfOf } from "../events/author.ts";
import type { ClientAddresses } from "../http/client-address.ts";
import type { Limits } from "../http/limits.ts";
import { ApiError, toApiError } from "../http/problem.ts";
import { tokenOf } from "../http/web-cookie.ts";
import { hostsOf } from "../identity/agent-proof.ts";
import type { AuditLog } from "../identity/audit.ts";
import { decide, requireMay } from "../identity/policy.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { RunnerBridge } from "../identity/runner-bridge.ts";
import type { Log } from "../logger.ts";
import { version } from "../version.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { type DoctorTunnels, doctorTunnelOptions } from "./doctor-tunnels.ts";
import { furtherKey } from "./further-connections.ts";
import type { Opener } from "./opener.ts";
import { repeatedRefusals } from "./repeated-refusals.ts";
import { readRunnerId } from "./runner-id.ts";
import { moonlightKey, type TunnelGateway } from "./tunnel-gateway.ts";
import { createTurns, type Turns } from "./turns.ts";

export const TUNNEL_PATH = "/api/v1/revdial";
/**
 * Agents that are being taken in; more are told when to come back. As many as keep a process busy with statements for several of them
 * each: with more, every user waits longer, whose statements stand behind theirs for a connection to PostgreSQL.
 */
export const PENDING_MAX = 128;

export interface AdmissionOptions {
  identity: Identity;
  audit: AuditLog;
  bridge: RunnerBridge;
  wolves: Pick<WolfStore, "getByName"> & {
    /** The wolf of this name as it is; an unknown one is registered. */
    registerOnConnect: (name: string, address: string) => Promise<Wolf>;
  };
  /** The owner of a session that has not ended. */
  ownerOf: (sessionId: string) => Promise<string | undefined>;
  gateway: Pick<
    TunnelGateway,
    "acceptWolf" | "acceptFurther" | "acceptSandbox" | "acceptMoonlight" | "takeoverWaitMs"
  >;
  doctors: Pick<DoctorTunnels, "full" | "accept">;
  /** Default: the system's. */
  clock?: Clock;
  /** Hosts of the URLs that agents are given. None: whatever a request names. */
  publicHosts: readonly string[];
  /** From before a credential is looked up. */
  mark: () => number;
  log: Log;
  draining: () => boolean;
  /** Default: none. */
  limits?: Pick<Limits, "byCredential" | "unknown">;
  /** Past proxies, for the audit log. Default: whose connection it is. */
  addressOf?: ClientAddresses["of"];
  /** Of requests between arrival and answer, upgrades and others together. Default: 128 at once; past it 503. */
  turns?: Turns;
}

export interface Admission {
  /** Resolves to what the tunnel is; rejects with the problem that refuses it. Either way the audit log has one event by then. */
  admit(request: TunnelRequest, requestId: string, way?: Way): Promise<Admitted>;
}

/** How a caller wants to open its tunnel. */
export interface Way {
  /** Default "revdial". */
  protocol?: TunnelProtocol;
  /** Asked once the caller is known; throws what is wrong with its way. */
  check?: (request: IncomingMessage) => void;
}

/** Express keeps the whole target apart. */
type TunnelRequest = IncomingMessage & { originalUrl?: string };

export interface Admitted {
  /** What the tunnel is made with. */
  tunnelOptions: TunnelOptions;
  /** What it leads to. */
  target: TunnelTarget;
  takeOver(tunnel: Tunnel): void;
}

export type TunnelTarget =
  | { kind: "wolf" | "moonlight"; wolf: Wolf }
  | { kind: "doctor"; name: string }
  | { kind: "sandbox"; sessionId: string };

export function createAdmission(options: AdmissionOptions): Admission {
  const refusals = repeatedRefusals(options.clock ?? systemClock);
  const { log, clock = systemClock, addressOf = ({ socket }) => socket.remoteAddress ?? "" } = options;
  const turns = options.turns ?? createTurns({ clock, max: PENDING_MAX });
  const tunnelOptions: TunnelOptions = {
    agent: `wolfpack-control-plane/${version}`,
    onHandlerError: (err) => log.error({ err }, "a tunnel's handler failed"),
  };
  /** Cheap checks first; nothing about wolves or sessions is said before the caller is known. */
  async function check(
    request: TunnelRequest,
    trail: TurnTrail,
    caller: Caller,
    { protocol = "revdial", check: checkWay }: Way,
  ): Promise<Admitted> {
    const url = URL.parse(request.originalUrl ?? request.url ?? "", "http://control-plane");
    if (url?.pathname !== TUNNEL_PATH) throw new ApiError("not-found", "There is no tunnel here.");
    if (options.draining()) throw new ApiError("draining", "This replica is shutting down.");
    requireRoom(turns.begin());
    trail.hasTurn = true;
    const asked = url.searchParams.get("runnerid") ?? "";
    trail.action = actionOf(asked);
    trail.object = asked;
    // Nor with the cookie that a browser adds by itself: no page needs a tunnel, not even one of ours.
    if (request.headers.origin !== undefined || tokenOf(request.headers) !== undefined)
      throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
    const purpose = trail.action === "agent.diagnose" ? "diagnose" : "connect";
    const mark = options.mark();
    const principal = await callerOf(request, purpose, options);
    trail.principal = principal;
    options.limits?.byCredential(principal, request);
    checkWay?.(request);
    const { kind, id, connection } = readRunnerId(url.searchParams, protocol);
    const hosts = hostsOf(request.headers.host, options.publicHosts);
    const opener: Opener = { principal, mark, hosts, protocol, ...caller };
    if (protocol === "helix") trail.detail = { protocol, ...(kind === "moonlight" && { service: kind }) };
    // The gateway's accept functions never reject.
    const { gateway } = options;
    if (kind === "wolf" || kind === "moonlight") {
      const asked = { kind, name: id, protocol } as const;
      const wolf = await onBehalfOf(opener, () => wolfOf(asked, principal, caller, options), "connected");
      trail.object = wolf.id;
      const target = { kind, wolf };
      if (connection !== undefined) {
        trail.detail = { connection };
        requireTurn(gateway.takeoverWaitMs(furtherKey({ wolfId: wolf.id, connection })));
        return {
          tunnelOptions,
          target,
          takeOver: (one) => void gateway.acceptFurther({ wolfId: wolf.id, connection }, one, opener),
        };
      }
      requireTurn(gateway.takeoverWaitMs(kind === "wolf" ? wolf.id : moonlightKey(wolf.id)));
      if (kind === "moonlight")
        return { tunnelOptions, target, takeOver: (one) => void gateway.acceptMoonlight(wolf, one, opener) };
      const accept = (one: Tunnel) => gateway.acceptWolf(wolf, one, opener);
      return {
        tunnelOptions,
        target,
        takeOver: (one) => void onBehalfOf(opener, () => accept(one), "connected"),
      };
    }
    if (kind === "doctor") {
      await checkDoctor(id, principal, options);
      if (options.doctors.full) throw new ApiError("draining", "Too many doctors are at work.");
      return {
        tunnelOptions: { ...tunnelOptions, ...doctorTunnelOptions },
        target: { kind, name: id },
        takeOver: (tunnel) => options.doctors.accept(id, tunnel),
      };
    }
    const sessionId = await sandboxOf(id, principal, options);
    trail.object = sessionId;
    requireTurn(gateway.takeoverWaitMs(sessionId));
    return {
      tunnelOptions,
      target: { kind, sessionId },
      takeOver: (tunnel) => void gateway.acceptSandbox(sessionId, tunnel, opener),
    };
  }

  return {
    async admit(request, requestId, way = {}) {
      const trail: TurnTrail = {
        action: undefined,
        principal: undefined,
        object: undefined,
        detail: {},
        hasTurn: false,
      };
      const caller = { requestId, address: addressOf(request) };
      try {
        const admitted = await check(request, trail, caller, way);
        await recordOpened(options.audit, trail, caller);
        return admitted;
      } catch (cause) {
        const error = toApiError(cause);
        const { hasTurn: _, ...said } = trail;
        const known = { ...caller, ...said, code: error.code };
        if (way.protocol === "helix" && refusals.isRepeated(known)) throw error;
        throw await recordRefused(options.audit, trail, caller, error);
      } finally {
        if (trail.hasTurn) turns.end();
      }
    },
  };
}

/** What the audit log will say of one tunnel. */
interface TunnelTrail {
  /** Undefined: nothing was decided. */
  action: Action | undefined;
  principal: Principal | undefined;
  object: string | undefined;
  detail: Record<string, unknown>;
}

interface TurnTrail extends TunnelTrail {
  /** It is one of those that are taken in at the moment. */
  hasTurn: boolean;
}

interface Caller {
  requestId: string;
  address: string;
}

function actionOf(runnerId: string): Action {
  if (runnerId.startsWith("sandbox-")) return "session.tunnel";
  return runnerId.startsWith("doctor-") ? "agent.diagnose" : "agent.connect";
}

/** Rejects when it cannot be written: there is no tunnel then. */
async function recordOpened(audit: AuditLog, trail: TunnelTrail, caller: Caller): Promise<void> {
  const { action, ...rest } = trail;
  if (action === undefined || action === "agent.diagnose") return;
  await audit.record({ ...rest, ...caller, action, result: "allowed" });
  trail.action = undefined;
}

/** The problem to answer: that the event could not be written is the greater one. */
async function recordRefused(
  audit: AuditLog,
  { action, ...trail }: TunnelTrail,
  caller: Caller,
  error: ApiError,
): Promise<ApiError> {
  const { status } = problemKind(error.code);
  // What fails here, or has no room, is no decision about the caller; the log has it. Limits keep floods out of the database.
  if (action === undefined || status >= 500 || status === 429) return error;
  const denied = error.denied || status === 401 || status === 403;
  try {
    await audit.record({
      ...trail,
      ...caller,
      principal: trail.principal ?? error.shownBy,
      action,
      result: denied ? "denied" : "failed",
      code: error.code,
    });
    return error;
  } catch (cause) {
    return toApiError(cause);
  }
}

/** Also a proof that is refused is nobody's: everybody can make one. */
async function callerOf(
  request: IncomingMessage,
  purpose: ProofPurpose,
  { identity, limits }: AdmissionOptions,
): Promise<Principal> {
  try {
    const principal = await identity.authenticate(request.headers, purpose);
    if (principal !== undefined) return principal;
    throw new ApiError(
      "unauthenticated",
      request.headers.authorization === undefined
        ? "Send a proof of the agent's key, or a bearer credential."
        : "The credential is not known here.",
    );
  } catch (cause) {
    const error = toApiError(cause);
    if (problemKind(error.code).status === 401) limits?.unknown(request);
    throw error;
  }
}

/** Each is told another moment: Error: draining. */
export function requireRoom(waitSeconds: number | undefined): void {
  if (waitSeconds === undefined) return;
  const headers = { "retry-after": String(waitSeconds) };
  throw new ApiError("draining", "Too many agents connect at once.", { headers });
}

function requireTurn(waitMs: number | undefined): void {
  if (waitMs === undefined) return;
  throw new ApiError("rate-limited", "Agents take over from each other here: is one identity used twice?", {
    headers: { "retry-after": String(Math.ceil(waitMs / 1000)) },
  });
}

function requireMachine(principal: Principal, action: Action): void {
  if (decide(principal, action) !== "allowed")
    throw new ApiError("forbidden", "This tunnel is opened with an agent's own key.");
}

/**
 * An agent's key opens its own wolf's tunnel, whatever it asks for; what it asks for is only compared. An agent of Helix registers by
 * its first tunnel.
 */
async function wolfOf(
  { kind, name, protocol }: { kind: "wolf" | "moonlight"; name: string; protocol: TunnelProtocol },
  principal: Principal,
  { address }: Caller,
  { wolves, bridge }: AdmissionOptions,
): Promise<Wolf> {
  requireMachine(principal, "agent.connect");
  // Before anything is registered.
  if (protocol === "helix") await bridge.check(principal, { name });
  const known = await wolves.getByName(name);
  if (principal.kind === "agent" && known?.id !== principal.wolfId) throw notItsName();
  const registers = protocol === "helix" && kind === "wolf";
  const wolf = known ?? (registers ? await wolves.registerOnConnect(name, address) : undefined);
  if (wolf === undefined) throw new ApiError("wolf-not-found", "No wolf of this name is registered.");
  await bridge.check(principal, wolf);
  return wolf;
}

async function checkDoctor(name: string, principal: Principal, { wolves }: AdmissionOptions): Promise<void> {
  requireMachine(principal, "agent.diagnose");
  if (principal.kind !== "agent") return;
  if ((await wolves.getByName(name))?.id !== principal.wolfId) throw notItsName();
}

const notItsName = () => new ApiError("forbidden", "runnerid names another wolf than the agent's key.");

const noSession = () => new ApiError("session-not-found", "There is no such session.");

/** A foreign session reads like one that does not exist. */
async function sandboxOf(id: string, principal: Principal, { ownerOf }: AdmissionOptions): Promise<string> {
  if (principal.kind !== "user")
    throw new ApiError("forbidden", "A sandbox's tunnel is opened with its owner's API key.");
  // Who may open none does not learn either which sessions there are.
  requireMay(principal, "session.tunnel", undefined, noSession);
  const owner = await ownerOf(id);
  if (owner === undefined) throw noSession();
  requireMay(principal, "session.tunnel", owner, noSession);
  return id;
}
