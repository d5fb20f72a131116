/**
 * Every number of the agent, with its help and the values of its labels; docs/metrics.md says the same for people, and a test compares.
 * What a caller made up is no value of a label.
 */
import { type Definitions, OTHER, ownText, processDefinitions } from "@wolfpack/telemetry";
import { wolfRefusalCodes } from "@wolfpack/wolf-api";
import { revdialErrorCodes } from "revdial";
import { lifeTransitions } from "./life.ts";

export const wolfStates = ["ok", "slow", "stuck", "unreachable", "unknown"] as const;
/** What is served through the tunnel. */
export const services = ["wolf", "screen", "agent", OTHER] as const;
const upstreamCodes = ["upstream-unreachable", "upstream-reply-broken", "upstream-timeout", "cancelled"];
const refusals = [...wolfRefusalCodes, "service-unknown", "reply-too-large", OTHER];

export const agentDefinitions = {
  wolfpack_agent_info: { type: "gauge", help: "Always 1.", labels: { version: ownText } },
  wolfpack_agent_uptime_seconds: { type: "gauge", help: "Since the agent started." },
  wolfpack_agent_state: {
    type: "gauge",
    help: "1 for the state of the agent's life.",
    labels: { state: Object.keys(lifeTransitions) },
  },
  wolfpack_agent_ready: { type: "gauge", help: "1 while the tunnel takes requests." },
  wolfpack_agent_alive: { type: "gauge", help: "0 when only a restart helps." },
  wolfpack_agent_wolf: {
    type: "gauge",
    help: "1 for the way Wolf answers.",
    labels: { answers: wolfStates },
  },
  wolfpack_agent_events_wait_seconds: {
    type: "gauge",
    help: "How long the turn at Wolf's events has been waited for; 0 when they are ours.",
  },

  wolfpack_agent_tunnel_rtt_seconds: {
    type: "histogram",
    help: "The newest round trip to the control plane, sampled every 10 s.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 5],
  },
  wolfpack_agent_reconnect_duration_seconds: {
    type: "histogram",
    help: "From the end of a tunnel to the next one.",
    buckets: [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60, 300, 1800, 3600],
  },
  wolfpack_agent_tunnels_total: { type: "counter", help: "Tunnels that came up." },
  wolfpack_agent_endings_total: {
    type: "counter",
    help: "Tries and tunnels that ended, by cause.",
    labels: { cause: [...revdialErrorCodes, "REGISTRATION_FAILED", OTHER] },
  },
  wolfpack_agent_tunnel_sent_bytes_total: { type: "counter", help: "Bytes of messages sent." },
  wolfpack_agent_tunnel_received_bytes_total: { type: "counter", help: "Bytes of messages received." },
  wolfpack_agent_tunnel_pings_answered_total: {
    type: "counter",
    help: "Pings that the control plane answered.",
  },
  wolfpack_agent_tunnel_credit_stalls_total: {
    type: "counter",
    help: "Times a reply had to wait for its reader.",
  },

  wolfpack_agent_requests_total: { type: "counter", help: "Requests of the control plane." },
  wolfpack_agent_requests_refused_total: {
    type: "counter",
    help: "Requests refused before they began: no memory, or on the way out.",
  },
  wolfpack_agent_request_resets_total: {
    type: "counter",
    help: "Requests that ended before their time, by code.",
    labels: { code: [...revdialErrorCodes, OTHER] },
  },
  wolfpack_agent_request_duration_seconds: {
    type: "histogram",
    help: "From a request's arrival to its answer, by what was asked.",
    labels: { service: services, outcome: ["answered", "refused", "failed"] },
  },
  wolfpack_agent_wolf_duration_seconds: {
    type: "histogram",
    help: "Exchanges with Wolf for requests of the control plane, by how they ended.",
    labels: { outcome: ["answered", ...upstreamCodes, OTHER] },
  },
  wolfpack_agent_refusals_total: {
    type: "counter",
    help: "Requests that the guard or the agent refused, by code.",
    labels: { code: refusals },
  },
  wolfpack_agent_refusal_duration_seconds: {
    type: "histogram",
    help: "The same, with the time until it was said, and with callers that gave up.",
    labels: { code: refusals },
    buckets: [0.0005, 0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 15, 30, 60],
  },
  wolfpack_agent_events_not_sent_total: {
    type: "counter",
    help: "Events of Wolf that did not go up.",
    labels: { why: ["not-needed", "malformed"] },
  },
  wolfpack_agent_pickups_failed_total: {
    type: "counter",
    help: "Pick-ups of a Helix control plane that failed.",
  },
  ...processDefinitions("wolfpack_agent"),
} as const satisfies Definitions;
