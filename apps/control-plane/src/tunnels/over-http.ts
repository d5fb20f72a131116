/**
 * Tunnels over plain HTTP (revdial's SPEC section 12), for networks that swallow upgrades: a POST opens one, its answer never
 * ends, and further POSTs carry what the peer says.
 */
import { type RequestHandler, Router } from "express";
import { createHttpAcceptor } from "revdial";
import { ApiError } from "../http/problem.ts";
import { giveRequestId, requestIdOf } from "../http/request-id.ts";
import { type Admission, TUNNEL_PATH } from "./admission.ts";

/** At once; more than a replica holds over WebSockets. */
const TUNNELS_MAX = 20_000;

export interface TunnelsOverHttp {
  /**
   * Takes POSTs upwards, and passes everything else on. Ahead of everything: there are hundreds a second, their header
   * holds the tunnel's key, and they are what a replica that shuts down still waits for.
   */
  posts: RequestHandler;
  /** Opens tunnels. */
  routes: Router;
  /** Ends all that are left, and takes no more. */
  close(): void;
}

export function tunnelsOverHttp(
  admission: Admission,
  { tunnelsMax = TUNNELS_MAX }: { tunnelsMax?: number } = {},
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
    const tunnel = acceptor.open(request, response, tunnelOptions);
    if (tunnel === undefined) return; // Closed meanwhile, or full; it has been answered.
    open += 1;
    void tunnel.closed.then(() => {
      open -= 1;
    });
    takeOver(tunnel);
  });

  return {
    posts(request, response, next) {
      if (request.path !== TUNNEL_PATH || acceptor.kindOf(request) !== "post") return next();
      // Its answers have no body, so that of all the fields that tell a browser what to do with one none is needed.
      giveRequestId(request, response);
      acceptor.receive(request, response);
    },
    routes,
    close: () => acceptor.close(),
  };
}
