/** HTTP in, one look, HTTP out: a wolf's tunnel, what its host has said of itself, and what its guard lets through. */
import { UsageHistory as UsageHistoryView, WolfPolicyView, WolfTunnelView } from "@wolfpack/api-contract";
import type { Tunnel } from "revdial";
import type { z } from "zod";
import type { AnyCall, Handlers } from "../http/call.ts";
import { ApiError } from "../http/problem.ts";
import type { Calls } from "../replicas/calls.ts";
import type { UsageHistory } from "../wolves/usage-history.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { answerOfHolder } from "./answer-of-holder.ts";
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
  /** Default: no other replica holds anything. */
  calls?: Pick<Calls, "askHolder">;
}

type Handled = "getWolfTunnel" | "listUsageHistory" | "getWolfPolicy";

export function seeingHandlers(options: SeeingHandlersOptions): Pick<Handlers, Handled> {
  const { requireWolf, gateway, tunnelHistory, usageHistory, replica, calls } = options;

  /** Of the newest epoch: one that was overtaken counts no more. */
  function liveTunnel({ id, epoch }: Wolf): Tunnel | undefined {
    return gateway.wolfEpoch(id) === epoch ? gateway.wolf(id) : undefined;
  }

  function tunnelOf(wolf: Wolf): Tunnel {
    const tunnel = liveTunnel(wolf);
    if (tunnel === undefined)
      throw new ApiError("wolf-unreachable", "The wolf has no live tunnel to this replica.");
    return tunnel;
  }

  /** What only the replica with the wolf's tunnel knows, it says; all others pass on its answer. */
  async function byHolder<Body>(
    { request, response }: Pick<AnyCall, "request" | "response">,
    wolf: Wolf,
    schema: z.ZodType<unknown, Body>,
    here: () => Promise<Body> | Body,
  ): Promise<{ status: 200; body: Body }> {
    if (calls !== undefined && liveTunnel(wolf) === undefined) {
      const body = await answerOfHolder(calls, wolf.id, { request, response }, schema);
      if (body !== undefined) return { status: 200, body };
    }
    return { status: 200, body: await here() };
  }

  return {
    async getWolfTunnel(call) {
      const wolf = await requireWolf(call.params.id);
      return byHolder(call, wolf, WolfTunnelView, () => {
        const { transport, rttMs, load, metrics } = tunnelOf(wolf);
        return {
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
        };
      });
    },

    async listUsageHistory(call) {
      const wolf = await requireWolf(call.params.id);
      const heardHere = () => usageHistory.list(wolf.id);
      try {
        return await byHolder(call, wolf, UsageHistoryView, heardHere);
      } catch (cause) {
        if (!(cause instanceof ApiError && cause.code === "wolf-unreachable")) throw cause;
        return { status: 200, body: heardHere() };
      }
    },

    async getWolfPolicy(call) {
      const wolf = await requireWolf(call.params.id);
      return byHolder(call, wolf, WolfPolicyView, async () => {
        const answer = await askGuardPolicy(tunnelOf(wolf));
        const guard = wolf.tunnelBy.protocol === "helix" ? "control-plane" : "agent";
        return { guard, ...answer } as const;
      });
    },
  };
}
