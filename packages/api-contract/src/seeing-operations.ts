/** The operations that show the control plane's own health and the inside of a wolf: a part of the table in operations.ts. */
import { z } from "zod";
import type { Operation } from "./operations.ts";
import { WolfIdOrName } from "./schemas.ts";
import * as v from "./seeing.ts";

const wolf = z.object({ id: WolfIdOrName });

export const seeingOperations = {
  getHealth: {
    method: "GET",
    path: "/api/v1/health",
    summary: "Numbered checks of the control plane itself",
    action: "health.read",
    responses: { 200: v.HealthReport },
    problems: [],
  },
  listReplicas: {
    method: "GET",
    path: "/api/v1/replicas",
    summary: "The control plane's processes",
    action: "wolf.read",
    responses: { 200: z.array(v.Replica) },
    problems: [],
  },
  getWolfTunnel: {
    method: "GET",
    path: "/api/v1/wolf-instances/{id}/tunnel",
    summary: "A wolf's live tunnel: round trips of the last hour, channels, bytes",
    action: "wolf.read",
    params: wolf,
    responses: { 200: v.WolfTunnelView },
    problems: ["wolf-not-found", "wolf-unreachable"],
  },
  listUsageHistory: {
    method: "GET",
    path: "/api/v1/wolf-instances/{id}/usage-history",
    summary:
      "How busy a wolf's host was, as this replica has heard: oldest first, one sample a minute at most",
    action: "wolf.read",
    params: wolf,
    responses: { 200: v.UsageHistory },
    problems: ["wolf-not-found"],
  },
  getWolfPolicy: {
    method: "GET",
    path: "/api/v1/wolf-instances/{id}/policy",
    summary: "What the guard of a wolf lets through, asked of it now",
    action: "wolf.inspect",
    params: wolf,
    responses: { 200: v.WolfPolicyView },
    problems: ["wolf-not-found", "wolf-unreachable", "wolf-timeout"],
  },
} as const satisfies Record<string, Operation>;
