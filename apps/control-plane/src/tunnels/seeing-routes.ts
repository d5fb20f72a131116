/** HTTP in, one look, HTTP out: a wolf's tunnel, what its host has said of itself, and what its guard lets through. */
import type { Tunnel } from "revdial";
import type { Handlers } from "../http/call.ts";
import { ApiError } from "../http/problem.ts";
import type { UsageHistory } from "../wolves/usage-history.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { askGuardPolicy } from "./guard-policy.ts";
import type { TunnelGateway } from "./tunnel-gateway.ts";
import type { TunnelHistory } from "./tunnel-history.ts";

export interface SeeingHandlersOptions {
  /** Rejects with wolf-not-found. */
  requireWolf: (idOrName: string) => Promise<Wolf>;
  gateway: Pick<TunnelGateway, "wolf" | "wolfEpoch">;
  tunnelHistory: Pick<TunnelHistory, "rtts" | "reconnects">;
  usageHistory: Pick<UsageHistory, "list">;
  replica: string;
}

type Handled = "getWolfTunnel" | "listUsageHistory" | "getWolfPolicy";

export function seeingHandlers(options: SeeingHandlersOptions): Pick<Handlers, Handled> {
  const { requireWolf, gateway, tunnelHistory, usageHistory, replica } = options;

  /** Of the newest epoch: one that was overtaken counts no more. */
  function tunnelOf({ id, epoch }: Wolf): Tunnel {
    const tunnel = gateway.wolf(id);
    if (tunnel === undefined || gateway.wolfEpoch(id) !== epoch)
      throw new ApiError("wolf-unreachable", "The wolf has no live tunnel to this replica.");
    return tunnel;
  }

  return {
    async getWolfTunnel({ params }) {
      const wolf = await requireWolf(params.id);
      const { transport, rttMs, load, metrics } = tunnelOf(wolf);
      return {
        status: 200,
        body: {
          epoch: wolf.epoch,
          protocol: wolf.tunnelBy.protocol,
          transport,
          // Null while the row says that it is lost, which the next heartbeat of a live tunnel puts right.
          since: (wolf.tunnelSince ?? wolf.connectivitySince).toISOString(),
          replica,
          rtt_ms: rttMs ?? null,
          rtt_history: tunnelHistory.rtts(wolf.id).map(({ at, ms }) => ({ at: at.toISOString(), ms })),
          channels: load,
          requests_total: metrics.openedOutbound + metrics.openedInbound,
          bytes_in: metrics.bytesReceived,
          bytes_out: metrics.bytesSent,
          reconnects: tunnelHistory.reconnects(wolf.id),
        },
      };
    },

    async listUsageHistory({ params }) {
      const { id } = await requireWolf(params.id);
      return { status: 200, body: usageHistory.list(id) };
    },

    async getWolfPolicy({ params }) {
      const wolf = await requireWolf(params.id);
      const answer = await askGuardPolicy(tunnelOf(wolf));
      const guard = wolf.tunnelBy.protocol === "helix" ? "control-plane" : "agent";
      return { status: 200, body: { guard, ...answer } };
    },
  };
}
