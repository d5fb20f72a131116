/** Requests into tunnels: their time, what became of them, and the span that the far end's span goes on from. */
import { type Tracing, traced } from "@wolfpack/telemetry";
import type { TunnelResponse } from "revdial";
import type { LinkOutcome, LinkWatch } from "../tunnels/watched-links.ts";
import type { ControlPlaneMeters } from "./metrics.ts";

export function linkWatch(
  meters: ControlPlaneMeters,
  tracing: Tracing,
  now = () => performance.now(),
): LinkWatch {
  return {
    async asking({ service, method }, ask, outcomeOf) {
      const begunAt = now();
      const seconds = () => (now() - begunAt) / 1000;
      const observe = (outcome: LinkOutcome["outcome"]) =>
        meters.observe("wolfpack_tunnel_request_duration_seconds", seconds(), { service, outcome });
      const attributes = { "wolfpack.service": service, "http.request.method": method };
      try {
        const response: TunnelResponse = await traced(
          tracing,
          `tunnel ${service}`,
          { kind: "client", attributes },
          async (span) => {
            const answer = await ask(span.traceparent);
            span.set({ "http.response.status_code": answer.status });
            return answer;
          },
        );
        const outcome = outcomeOf(response);
        observe(outcome.outcome);
        if (outcome.outcome === "refused")
          meters.observe("wolfpack_guard_refusal_duration_seconds", seconds(), { code: outcome.code });
        return response;
      } catch (error) {
        observe("failed");
        throw error;
      }
    },
  };
}
