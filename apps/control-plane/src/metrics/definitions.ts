/**
 * Every number of the control plane, with its help and the values of its labels. docs/metrics.md says the same for people, and a test
 * compares. A label never names a wolf, a session, a user or a path: their numbers grow with the fleet, and series do not end.
 */
import {
  Connectivity,
  Health,
  Intent,
  operations,
  problemCodes,
  SessionStatus,
} from "@wolfpack/api-contract";
import { type Definitions, OTHER, ownText, processDefinitions } from "@wolfpack/telemetry";
import { wolfRefusalCodes } from "@wolfpack/wolf-api";
import { revdialErrorCodes } from "revdial";

/** What the agent, or what stands in for one, says of a service that it does not have. */
export const refusalCodes = [...wolfRefusalCodes, "service-unknown", "reply-too-large", OTHER] as const;
export const services = ["wolf", "screen", OTHER] as const;
const statuses = ["2xx", "3xx", "4xx", "5xx", OTHER] as const;

const sessionSeconds = [0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300] as const;

export const definitions = {
  wolfpack_info: { type: "gauge", help: "Always 1.", labels: { version: ownText } },
  wolfpack_draining: { type: "gauge", help: "1 while this replica shuts down." },

  wolfpack_http_request_duration_seconds: {
    type: "histogram",
    help: "From a request's head to the end of its answer, by operation of the API; `unread` was refused before, at 0. Streams and tunnels are not in it.",
    labels: { operation: [...Object.keys(operations), "unread", OTHER], status: statuses },
  },
  wolfpack_http_requests_in_flight: { type: "gauge", help: "Requests that have no whole answer yet." },
  wolfpack_event_streams: { type: "gauge", help: "Clients that follow the events at this replica." },
  wolfpack_http_problems_total: {
    type: "counter",
    help: "Answers that are problems, by code.",
    labels: { code: [...problemCodes, OTHER] },
  },

  wolfpack_placement_duration_seconds: {
    type: "histogram",
    help: "From a session's wish to its slot, its place in the queue, or its refusal.",
    labels: {
      outcome: [
        "claimed",
        "queued",
        "exists",
        "no-capacity",
        "placement-impossible",
        "queue-full",
        "quota-exceeded",
        "rate-limited",
        OTHER,
      ],
    },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  wolfpack_queue_wait_duration_seconds: {
    type: "histogram",
    help: "How long sessions have waited in the queue that got a wolf.",
    buckets: [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200],
  },
  wolfpack_session_start_duration_seconds: {
    type: "histogram",
    help: "From a session's slot to its running sandbox, its failure, or its move to another wolf.",
    labels: { outcome: ["running", "failed", "moved"] },
    buckets: sessionSeconds,
  },
  wolfpack_lobby_create_duration_seconds: {
    type: "histogram",
    help: "How long wolves took to create a lobby, or to fail.",
    labels: {
      outcome: ["created", "WOLF_REFUSED", "WOLF_REPLY_BROKEN", "WOLF_TIMEOUT", "WOLF_UNREACHABLE", OTHER],
    },
    buckets: sessionSeconds,
  },

  wolfpack_tunnels: { type: "gauge", help: "Wolves whose live tunnel ends at this replica." },
  wolfpack_tunnel_rtt_seconds: {
    type: "histogram",
    help: "The newest round trip of each live tunnel of a wolf, sampled every 10 s.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5],
  },
  wolfpack_tunnel_reconnect_duration_seconds: {
    type: "histogram",
    help: "From the loss of a wolf's tunnel to its next one at this replica. Who stays away for an hour is not in it.",
    buckets: [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 300, 1800, 3600],
  },
  wolfpack_tunnel_ends_total: {
    type: "counter",
    help: "Tunnels of any kind that ended, by code.",
    labels: { code: [...revdialErrorCodes, OTHER] },
  },
  wolfpack_replicas: {
    type: "gauge",
    help: "Replicas that others can reach and whose lease runs, besides this one, as last seen.",
  },
  wolfpack_forwarded_requests_total: {
    type: "counter",
    help: "Requests for wolves whose tunnel another replica holds: sent there, or come from there.",
    labels: { direction: ["out", "in"], outcome: ["answered", "refused", "failed"] },
  },
  wolfpack_fenced_total: {
    type: "counter",
    help: "Times that this replica was taken for gone and began anew.",
  },
  wolfpack_tunnel_request_duration_seconds: {
    type: "histogram",
    help: "From a request's way into a tunnel to the head of its answer, or its failure.",
    labels: { service: services, outcome: ["answered", "refused", "failed"] },
  },
  wolfpack_guard_refusal_duration_seconds: {
    type: "histogram",
    help: "Requests that a guard before a Wolf, or the agent, refused or could not get answered, by code, with the time until it said so.",
    labels: { code: refusalCodes },
    buckets: [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 15, 30, 60],
  },

  wolfpack_wolves: {
    type: "gauge",
    help: "Wolves by connectivity, without those that are pending, in maintenance or retired. The same at every replica.",
    labels: { connectivity: Connectivity.options },
  },
  wolfpack_wolves_by_health: {
    type: "gauge",
    help: "Wolves by health, without those that are pending, in maintenance or retired. The same at every replica.",
    labels: { health: Health.options },
  },
  wolfpack_wolves_by_intent: {
    type: "gauge",
    help: "All wolves by intent. The same at every replica.",
    labels: { intent: Intent.options },
  },
  wolfpack_wolves_quarantined: {
    type: "gauge",
    help: "Wolves that get no sessions for a while, without those that are pending, in maintenance or retired. The same at every replica.",
  },
  wolfpack_slots: {
    type: "gauge",
    help: "Slots of active, connected wolves: taken by sessions, by what no session has, and free. The same at every replica.",
    labels: { state: ["claimed", "other", "free"] },
  },
  wolfpack_sessions: {
    type: "gauge",
    help: "Live sessions by status; `queued` is the length of the queue. The same at every replica.",
    labels: { status: SessionStatus.options },
  },
  wolfpack_evictions_frozen: {
    type: "gauge",
    help: "1 while so many wolves are away that none is given up. The same at every replica.",
  },

  wolfpack_database_pool_wait_seconds: {
    type: "histogram",
    help: "How long statements waited for a connection to PostgreSQL.",
    labels: { outcome: ["given", "failed"] },
    buckets: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
  },
  wolfpack_database_pool_use_seconds: {
    type: "histogram",
    help: "How long connections to PostgreSQL were used until they were given back: a statement, or a transaction.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 15],
  },
  wolfpack_database_pool_connections: {
    type: "gauge",
    help: "Connections of the pool to PostgreSQL.",
    labels: { state: ["used", "idle"] },
  },
  wolfpack_database_pool_waiting: { type: "gauge", help: "Statements that wait for a connection." },

  wolfpack_metrics_failures_total: {
    type: "counter",
    help: "Readings of this page in which a number could not be had; it is missing there.",
  },
  ...processDefinitions("wolfpack"),
} as const satisfies Definitions;

export type ControlPlaneDefinitions = typeof definitions;
