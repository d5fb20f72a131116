/** HTTP in, one service call, HTTP out: wolf instances, with the original's paths and shapes. */
import {
  DiskHistoryQuery,
  ForceQuery,
  HeartbeatRequest,
  ListWolvesQuery,
  RegisterWolfRequest,
  WolfId,
  type WolfInstance,
} from "@wolfpack/api-contract";
import { Router } from "express";
import { requireAdmin, requireRunnerOrAdmin, requireUser } from "../http/authenticate.ts";
import { sendPage } from "../http/page.ts";
import { parseBody, parseId, parseOptionalBody, parseQuery } from "../http/validate.ts";
import type { Identity } from "../identity/principal.ts";
import type { DiskHistory } from "./disk-history.ts";
import { derivedStatus } from "./wolf-lifecycle.ts";
import { type WolfService, wolfNotFound } from "./wolf-service.ts";
import type { Wolf } from "./wolf-store.ts";

export interface WolfRoutesOptions {
  wolves: WolfService;
  diskHistory: DiskHistory;
  identity: Identity;
  /** Last measured round trip of a wolf's live tunnel. */
  rttMsOf: (wolfId: string) => number | undefined;
}

export function wolfRoutes({ wolves, diskHistory, identity, rttMsOf }: WolfRoutesOptions): Router {
  const router = Router();
  const toResponse = (wolf: Wolf): WolfInstance => toWolfResponse(wolf, rttMsOf(wolf.id));
  const idOf = (value: unknown) => parseId(WolfId, value, wolfNotFound);

  router.post("/wolf-instances/register", requireRunnerOrAdmin(identity), async (req, res) => {
    res.json(toResponse(await wolves.register(parseBody(RegisterWolfRequest, req))));
  });

  router.post("/wolf-instances/:id/heartbeat", requireRunnerOrAdmin(identity), async (req, res) => {
    await wolves.heartbeat(idOf(req.params.id), parseOptionalBody(HeartbeatRequest, req));
    res.json({ status: "ok" });
  });

  router.get("/wolf-instances", requireUser(identity), async (req, res) => {
    const query = parseQuery(ListWolvesQuery, req);
    sendPage(req, res, (await wolves.list(query)).map(toResponse), query.limit);
  });

  router.get("/wolf-instances/:id", requireUser(identity), async (req, res) => {
    res.json(toResponse(await wolves.get(idOf(req.params.id))));
  });

  router.get("/wolf-instances/:id/disk-history", requireUser(identity), async (req, res) => {
    const query = parseQuery(DiskHistoryQuery, req);
    sendPage(req, res, await diskHistory.list(idOf(req.params.id), query), query.limit);
  });

  router.delete("/wolf-instances/:id", requireAdmin(identity), async (req, res) => {
    const { force } = parseQuery(ForceQuery, req);
    await wolves.remove(idOf(req.params.id), force);
    res.json({ status: "ok" });
  });

  return router;
}

/** The one translation from row to API: a new column is not a new field. */
export function toWolfResponse(wolf: Wolf, rttMs: number | undefined): WolfInstance {
  return {
    id: wolf.id,
    name: wolf.name,
    address: wolf.address,
    status: derivedStatus[wolf.connectivity][wolf.health],
    connectivity: wolf.connectivity,
    health: wolf.health,
    health_reasons: wolf.healthReasons,
    intent: wolf.intent,
    gpu_type: wolf.gpuType,
    connected_sandboxes: wolf.connectedSandboxes,
    max_sandboxes: wolf.maxSandboxes,
    last_heartbeat: wolf.lastHeartbeat?.toISOString() ?? null,
    labels: wolf.labels,
    region: wolf.region,
    cost_per_hour: wolf.costPerHour,
    agent_version: wolf.agentVersion,
    wolf_capabilities: wolf.capabilities,
    host: wolf.host,
    usage: wolf.usage,
    wolf_restarts: wolf.wolfRestarts,
    images: wolf.images,
    tunnel:
      wolf.tunnelSince === null
        ? null
        : { epoch: wolf.epoch, since: wolf.tunnelSince.toISOString(), rtt_ms: rttMs ?? null },
    created_at: wolf.createdAt.toISOString(),
    updated_at: wolf.updatedAt.toISOString(),
  };
}
