/**
 * Tunnels over plain HTTP (revdial's SPEC section 12), for networks that swallow upgrades: a POST opens one, its answer never
 * ends, and further POSTs carry what the peer says.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { HELD_BY_FIELD, type HeldBy, heldByText } from "@wolfpack/api-contract";
import { type RequestHandler, Router } from "express";
import { createHttpAcceptor } from "revdial";
import { ApiError } from "../http/problem.ts";
import { giveRequestId, requestIdOf } from "../http/request-id.ts";
import type { Calls } from "../replicas/calls.ts";
import { type Admission, TUNNEL_PATH } from "./admission.ts";

/** At once; more than a replica holds over WebSockets. */
const TUNNELS_MAX = 20_000;
const RETRY_AFTER_S = "1";

export interface TunnelsOverHttp {
  /**
   * Takes POSTs upwards, and passes everything else on. Ahead of everything: there are hundreds a second, their header
   * holds the tunnel's key, and they are what a replica that shuts down still waits for.
   */
  posts: RequestHandler;
  /** Opens tunnels. */
  routes: Router;
  /** Tunnels that are open. */
  readonly open: number;
  /** Ends all that are left, and takes no more. */
  close(): void;
}

export interface OverHttpOptions {
  tunnelsMax?: number;
  /** Who holds the tunnel, of how many replicas. Default: nothing is said. */
  heldBy?: () => HeldBy;
  /** POSTs for tunnels of other replicas. Default: there are none. */
  calls?: Pick<Calls, "hold" | "ownerOf" | "passOn"> | undefined;
}

export function tunnelsOverHttp(
  admission: Admission,
  { tunnelsMax = TUNNELS_MAX, calls, heldBy }: OverHttpOptions = {},
): TunnelsOverHttp {
  const acceptor = createHttpAcceptor({ tunnelsMax });
  const routes = Router();
  let open = 0;

  routes.post("/revdial", async (request, response) => {
    if (acceptor.kindOf(request) === undefined) {
      throw new ApiError(
        "unsupported-media-type",
        "A tunnel over HTTP is opened with Content-Type: application/vnd.revdial.v3.",
      );
    }
    const { tunnelOptions, takeOver } = await admission.admit(request, requestIdOf(response), {
      check() {
        if (open >= tunnelsMax) throw new ApiError("draining", "Too many tunnels are open over HTTP.");
      },
    });
    if (heldBy !== undefined) response.setHeader(HELD_BY_FIELD, heldByText(heldBy()));
    const key = acceptor.newKey();
    // The first POST may come to another replica as soon as the key is out.
    await calls?.hold("http", key, response);
    const tunnel = acceptor.open(request, response, tunnelOptions, key);
    if (tunnel === undefined) return; // Closed meanwhile, or full; it has been answered.
    open += 1;
    void tunnel.closed.then(() => {
      open -= 1;
    });
    takeOver(tunnel);
  });

  /** Of a tunnel that does not end here. What fails is sent again by the peer (SPEC 12.4), once its tunnel is found or known to be gone. */
  async function elsewhere(key: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const owner = await calls?.ownerOf("http", key, request);
      if (owner === undefined) return acceptor.receive(request, response);
      await calls?.passOn(owner, request, response);
    } catch {
      request.resume();
      if (response.headersSent) return void response.destroy();
      const fields = { "retry-after": RETRY_AFTER_S, "cache-control": "no-store", "content-length": 0 };
      response.writeHead(503, fields).end();
    }
  }

  return {
    get open() {
      return open;
    },
    posts(request, response, next) {
      if (request.path !== TUNNEL_PATH || acceptor.kindOf(request) !== "post") return next();
      // Its answers have no body, so that of all the fields that tell a browser what to do with one none is needed.
      giveRequestId(request, response);
      const key = acceptor.keyOf(request);
      if (key === undefined || acceptor.holds(key) || request.headers.origin !== undefined)
        return acceptor.receive(request, response);
      void elsewhere(key, request, response);
    },
    routes,
    close: () => acceptor.close(),
  };
}
