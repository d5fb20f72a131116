/**
 * Who may open which tunnel, whatever carries it: the caller is authenticated and its target looked up before any tunnel
 * exists.
 */
import type { IncomingMessage } from "node:http";
import { SessionId, WolfName } from "@wolfpack/api-contract";
import type { Tunnel, TunnelOptions } from "revdial";
import { ApiError } from "../http/problem.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
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
  log: Log;
  draining: () => boolean;
  /** Requests between arrival and answer, upgrades and others together. Default 256; past it 503. */
  pendingMax?: number;
}

export interface Admission {
  /** What every accepted tunnel is made with. */
  readonly tunnelOptions: TunnelOptions;
  /**
   * Resolves to what takes the accepted tunnel over; rejects with the problem that refuses it. `checkProtocol` is asked
   * once the caller is known, and throws what is wrong with its way to open a tunnel.
   */
  admit(request: TunnelRequest, checkProtocol?: (request: IncomingMessage) => void): Promise<TakeOver>;
}

/** Express keeps the whole target apart. */
type TunnelRequest = IncomingMessage & { originalUrl?: string };
type TakeOver = (tunnel: Tunnel) => void;

export function createAdmission(options: AdmissionOptions): Admission {
  const { log, pendingMax = PENDING_MAX } = options;
  let pending = 0;

  /** Cheap checks first; nothing about wolves or sessions is said before the caller is known. */
  async function check(
    request: TunnelRequest,
    checkProtocol: ((request: IncomingMessage) => void) | undefined,
  ): Promise<TakeOver> {
    const url = URL.parse(request.originalUrl ?? request.url ?? "", "http://control-plane");
    if (url?.pathname !== TUNNEL_PATH) throw new ApiError("not-found", "There is no tunnel here.");
    if (options.draining()) throw new ApiError("draining", "This replica is shutting down.");
    if (pending > pendingMax) throw new ApiError("draining", "Too many agents connect at once.");
    if (request.headers.origin !== undefined)
      throw new ApiError("origin-refused", "Tunnels are not opened by web pages.");
    const principal = await options.identity.authenticate(request.headers.authorization);
    if (principal === undefined)
      throw new ApiError("unauthenticated", "Send the runner token or an API key as a bearer credential.");
    checkProtocol?.(request);
    const { kind, id } = readRunnerId(url.searchParams);
    // The gateway's accept functions never reject.
    if (kind === "wolf") {
      const wolf = await wolfOf(id, principal, options);
      return (tunnel) => void options.gateway.acceptWolf(wolf, tunnel);
    }
    const sessionId = await sandboxOf(id, principal, options);
    return (tunnel) => void options.gateway.acceptSandbox(sessionId, tunnel);
  }

  return {
    tunnelOptions: {
      agent: "wolfpack-control-plane",
      onHandlerError: (err) => log.error({ err }, "a tunnel's handler failed"),
    },
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

function readRunnerId(query: URLSearchParams): { kind: "wolf" | "sandbox"; id: string } {
  for (const name of query.keys()) {
    if (name === "runnerid") continue;
    throw new ApiError("invalid-request", "The only query parameter is runnerid.", {
      extras: { errors: [{ path: "query", message: "unknown parameter" }] },
    });
  }
  const ids = query.getAll("runnerid");
  const [, kind, id = ""] = /^(wolf|sandbox)-(.+)$/s.exec(ids.length === 1 ? (ids[0] ?? "") : "") ?? [];
  if (kind === "wolf" && WolfName.safeParse(id).success) return { kind, id };
  if (kind === "sandbox" && SessionId.safeParse(id).success) return { kind, id };
  throw new ApiError("runner-id-invalid", "runnerid has to be wolf-<name> or sandbox-<session id>.");
}

async function wolfOf(name: string, principal: Principal, { wolves }: AdmissionOptions): Promise<Wolf> {
  if (principal.kind !== "runner")
    throw new ApiError("forbidden", "A wolf's tunnel is opened with the runner token.");
  const wolf = await wolves.getByName(name);
  if (wolf === undefined) throw new ApiError("wolf-not-found", "No wolf of this name is registered.");
  return wolf;
}

/** A foreign session reads like one that does not exist. */
async function sandboxOf(id: string, principal: Principal, { ownerOf }: AdmissionOptions): Promise<string> {
  if (principal.kind !== "user")
    throw new ApiError("forbidden", "A sandbox's tunnel is opened with its owner's API key.");
  const owner = await ownerOf(id);
  if (owner === undefined || (owner !== principal.userId && principal.role !== "admin"))
    throw new ApiError("session-not-found", "There is no such session.");
  return id;
}
