/**
 * Who may open which tunnel, whatever carries it: the caller is authenticated and its target looked up before any tunnel
 * exists.
 */
import type { IncomingMessage } from "node:http";
import { type Action, SessionId, WolfName } from "@wolfpack/api-contract";
import type { Tunnel, TunnelOptions } from "revdial";
import type { Limits } from "../http/limits.ts";
import { ApiError } from "../http/problem.ts";
import { tokenOf } from "../http/web-cookie.ts";
import { decide, requireMay } from "../identity/policy.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import { version } from "../version.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import { type DoctorTunnels, doctorTunnelOptions } from "./doctor-tunnels.ts";
import type { TunnelGateway } from "./tunnel-gateway.ts";

export const TUNNEL_PATH = "/api/v1/revdial";
/** Requests between arrival and answer; more are told to come back. */
const PENDING_MAX = 256;

export interface AdmissionOptions {
  identity: Identity;
  wolves: Pick<WolfStore, "getByName">;
  /** The owner of a session that has not ended. */
  ownerOf: (sessionId: string) => Promise<string | undefined>;
  gateway: Pick<TunnelGateway, "acceptWolf" | "acceptSandbox">;
  doctors: Pick<DoctorTunnels, "full" | "accept">;
  log: Log;
  draining: () => boolean;
  /** Default: none. */
  limits?: Pick<Limits, "byCredential" | "unknown">;
  /** Requests between arrival and answer, upgrades and others together. Default 256; past it 503. */
  pendingMax?: number;
}

export interface Admission {
  /**
   * Resolves to what the tunnel is; rejects with the problem that refuses it. `checkProtocol` is asked once the caller is
   * known, and throws what is wrong with its way to open a tunnel.
   */
  admit(request: TunnelRequest, checkProtocol?: (request: IncomingMessage) => void): Promise<Admitted>;
}

/** Express keeps the whole target apart. */
type TunnelRequest = IncomingMessage & { originalUrl?: string };

export interface Admitted {
  /** What the tunnel is made with. */
  tunnelOptions: TunnelOptions;
  takeOver(tunnel: Tunnel): void;
}

export function createAdmission(options: AdmissionOptions): Admission {
  const { log, pendingMax = PENDING_MAX } = options;
  const tunnelOptions: TunnelOptions = {
    agent: `wolfpack-control-plane/${version}`,
    onHandlerError: (err) => log.error({ err }, "a tunnel's handler failed"),
  };
  let pending = 0;

  /** Cheap checks first; nothing about wolves or sessions is said before the caller is known. */
  async function check(
    request: TunnelRequest,
    checkProtocol: ((request: IncomingMessage) => void) | undefined,
  ): Promise<Admitted> {
    const url = URL.parse(request.originalUrl ?? request.url ?? "", "http://control-plane");
    if (url?.pathname !== TUNNEL_PATH) throw new ApiError("not-found", "There is no tunnel here.");
    if (options.draining()) throw new ApiError("draining", "This replica is shutting down.");
    if (pending > pendingMax) throw new ApiError("draining", "Too many agents connect at once.");
    // Nor with the cookie that a browser adds by itself: no page needs a tunnel, not even one of ours.
    if (request.headers.origin !== undefined || tokenOf(request.headers) !== undefined)
      throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
    const principal = await options.identity.authenticate(request.headers);
    if (principal === undefined) {
      options.limits?.unknown(request);
      throw new ApiError("unauthenticated", "Send the runner token or an API key as a bearer credential.");
    }
    options.limits?.byCredential(principal, request);
    checkProtocol?.(request);
    const { kind, id } = readRunnerId(url.searchParams);
    // The gateway's accept functions never reject.
    if (kind === "wolf") {
      const wolf = await wolfOf(id, principal, options);
      return { tunnelOptions, takeOver: (tunnel) => void options.gateway.acceptWolf(wolf, tunnel) };
    }
    if (kind === "doctor") {
      requireRunner(principal, "agent.diagnose");
      if (options.doctors.full) throw new ApiError("draining", "Too many doctors are at work.");
      return {
        tunnelOptions: { ...tunnelOptions, ...doctorTunnelOptions },
        takeOver: (tunnel) => options.doctors.accept(id, tunnel),
      };
    }
    const sessionId = await sandboxOf(id, principal, options);
    return { tunnelOptions, takeOver: (tunnel) => void options.gateway.acceptSandbox(sessionId, tunnel) };
  }

  return {
    async admit(request, checkProtocol) {
      pending += 1;
      try {
        return await check(request, checkProtocol);
      } finally {
        pending -= 1;
      }
    },
  };
}

function readRunnerId(query: URLSearchParams): { kind: "wolf" | "doctor" | "sandbox"; id: string } {
  for (const name of query.keys()) {
    if (name === "runnerid") continue;
    throw new ApiError("invalid-request", "The only query parameter is runnerid.", {
      extras: { errors: [{ path: "query", message: "unknown parameter" }] },
    });
  }
  const ids = query.getAll("runnerid");
  const [, kind, id = ""] =
    /^(wolf|doctor|sandbox)-(.+)$/s.exec(ids.length === 1 ? (ids[0] ?? "") : "") ?? [];
  if ((kind === "wolf" || kind === "doctor") && WolfName.safeParse(id).success) return { kind, id };
  if (kind === "sandbox" && SessionId.safeParse(id).success) return { kind, id };
  throw new ApiError(
    "runner-id-invalid",
    "runnerid has to be wolf-<name>, doctor-<name> or sandbox-<session id>.",
  );
}

function requireRunner(principal: Principal, action: Action): void {
  if (decide(principal, action) !== "allowed")
    throw new ApiError("forbidden", "This tunnel is opened with the runner token.");
}

async function wolfOf(name: string, principal: Principal, { wolves }: AdmissionOptions): Promise<Wolf> {
  requireRunner(principal, "agent.connect");
  const wolf = await wolves.getByName(name);
  if (wolf === undefined) throw new ApiError("wolf-not-found", "No wolf of this name is registered.");
  return wolf;
}

const noSession = () => new ApiError("session-not-found", "There is no such session.");

/** A foreign session reads like one that does not exist. */
async function sandboxOf(id: string, principal: Principal, { ownerOf }: AdmissionOptions): Promise<string> {
  if (principal.kind !== "user")
    throw new ApiError("forbidden", "A sandbox's tunnel is opened with its owner's API key.");
  const owner = await ownerOf(id);
  if (owner === undefined) throw noSession();
  requireMay(principal, "session.tunnel", owner, noSession);
  return id;
}
