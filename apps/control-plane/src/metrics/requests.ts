/** Requests of the API: their number, their time, and the span that a trace begins with, or goes on with from the caller's. */
import type { Tracing } from "@wolfpack/telemetry";
import type { RequestWatch } from "../http/request-watch.ts";
import { TUNNEL_PATH } from "../tunnels/admission.ts";
import type { ControlPlaneMeters } from "./metrics.ts";

/** Probes and scrapes are no part of anything; a tunnel over HTTP lasts as long as its agent. */
const untraced = new Set(["/healthz", "/readyz", "/metrics", TUNNEL_PATH]);

export function requestWatchOf(
  meters: ControlPlaneMeters,
  tracing: Tracing,
  now = () => performance.now(),
): RequestWatch {
  let inFlight = 0;
  meters.onRead(() => meters.set("wolfpack_http_requests_in_flight", inFlight));
  const classOf = (status: number) => `${Math.floor(status / 100)}xx`;
  return {
    unread({ status, code }) {
      const labels = { operation: "unread", status: classOf(status) };
      meters.observe("wolfpack_http_request_duration_seconds", 0, labels);
      meters.add("wolfpack_http_problems_total", 1, { code });
    },

    began({ method, path, traceparent }) {
      const begunAt = now();
      inFlight += 1;
      // A method that nobody knows may be any text.
      const attributes = { "http.request.method": /^[A-Z]{3,7}$/.test(method) ? method : "_OTHER" };
      const span =
        tracing.on && !untraced.has(path)
          ? tracing.open("request", { kind: "server", traceparent, attributes })
          : undefined;
      return {
        traceId: span?.traceId,
        within: (run) => (span === undefined ? run() : span.within(run)),
        ended({ operation, status, code, isStream }) {
          inFlight -= 1;
          const labels = { operation: operation ?? "other", status: classOf(status) };
          if (!isStream)
            meters.observe("wolfpack_http_request_duration_seconds", (now() - begunAt) / 1000, labels);
          if (code !== undefined) meters.add("wolfpack_http_problems_total", 1, { code });
          if (operation !== undefined) span?.rename(operation);
          span?.set({ "http.response.status_code": status });
          span?.end(status >= 500 ? (code ?? "error") : undefined);
        },
      };
    },
  };
}
