/** The operations that steer the fleet, the queue and the events: a part of the table in operations.ts. */
import { z } from "zod";
import * as f from "./fleet.ts";
import { SessionId, WolfId } from "./ids.ts";
import type { Operation } from "./operations.ts";
import { PlacementPreview, PlacementPreviewRequest } from "./placement.ts";
import { WolfInstance } from "./schemas.ts";
import { ExtendSessionRequest, Session } from "./sessions.ts";

const intent = {
  method: "POST",
  action: "wolf.steer",
  params: z.object({ id: WolfId }),
  body: f.IntentRequest,
  bodyOptional: true,
  responses: { 200: WolfInstance },
  problems: ["wolf-not-found", "intent-refused"],
} as const satisfies Partial<Operation>;

export const fleetOperations = {
  cordonWolf: {
    ...intent,
    path: "/api/v1/wolf-instances/{id}/cordon",
    summary: "No new sessions for this wolf; a drain stops",
  },
  uncordonWolf: {
    ...intent,
    path: "/api/v1/wolf-instances/{id}/uncordon",
    summary: "Sessions again: undoes cordon, drain, maintenance and retirement",
  },
  drainWolf: {
    ...intent,
    body: f.DrainRequest,
    path: "/api/v1/wolf-instances/{id}/drain",
    summary: "No new sessions, and none left after the deadline",
  },
  maintainWolf: {
    ...intent,
    path: "/api/v1/wolf-instances/{id}/maintenance",
    summary: "No new sessions, and its absence is nothing to be alarmed about",
  },
  retireWolf: {
    ...intent,
    path: "/api/v1/wolf-instances/{id}/retire",
    summary: "Out of the fleet, with its history; only without live sessions",
    problems: ["wolf-not-found", "intent-refused", "wolf-has-sessions"],
  },
  readmitWolf: {
    ...intent,
    path: "/api/v1/wolf-instances/{id}/readmit",
    summary: "End a quarantine at once and forget what led to it",
  },
  listWolfLobbies: {
    method: "GET",
    path: "/api/v1/wolf-instances/{id}/lobbies",
    summary: "What its Wolf runs now, ours or not",
    action: "wolf.inspect",
    params: z.object({ id: WolfId }),
    responses: { 200: z.array(f.WolfLobby) },
    problems: ["wolf-not-found", "wolf-unreachable", "wolf-timeout", "wolf-failed"],
  },
  getFleet: {
    method: "GET",
    path: "/api/v1/fleet",
    summary: "Counts, and whether evictions are frozen",
    action: "wolf.read",
    responses: { 200: f.FleetState },
    problems: [],
  },
  unfreezeFleet: {
    method: "POST",
    path: "/api/v1/fleet/unfreeze",
    summary: "Lift the freeze of evictions for ten minutes: the loss is real",
    action: "wolf.steer",
    responses: { 200: f.FleetState },
    problems: [],
  },
  previewPlacement: {
    method: "POST",
    path: "/api/v1/placements/preview",
    summary: "Where a session would go now, and why; nothing is taken",
    action: "placement.preview",
    body: PlacementPreviewRequest,
    responses: { 200: PlacementPreview },
    problems: [],
  },
  listQueue: {
    method: "GET",
    path: "/api/v1/queue",
    summary: "Sessions that wait for a wolf, next first (users: their own)",
    action: "session.read",
    query: f.ListQueueQuery,
    responses: { 200: z.array(f.QueueEntry) },
    headers: { Link: '`rel="next"` leads to the next page; absent on the last.' },
    problems: ["session-not-found"],
  },
  extendSession: {
    method: "POST",
    path: "/api/v1/sessions/{id}/extend",
    summary: "Let a session live longer, counted from now",
    action: "session.touch",
    params: z.object({ id: SessionId }),
    body: ExtendSessionRequest,
    responses: { 200: Session },
    problems: ["session-not-found", "session-ended"],
  },
  listEvents: {
    method: "GET",
    path: "/api/v1/events",
    summary:
      "What happened to sessions, wolves and the fleet (users: to their sessions and to wolves), by pages; with `Accept: text/event-stream` what happens from now on, as it happens",
    action: "event.read",
    query: f.ListFleetEventsQuery,
    responses: { 200: z.array(f.FleetEvent) },
    streams: true,
    headers: { Link: '`rel="next"` leads to the next page; absent on the last, and of a stream.' },
    problems: ["too-many-streams"],
  },
} as const satisfies Record<string, Operation>;
