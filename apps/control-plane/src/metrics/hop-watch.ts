/** Requests between replicas: a span on either side, so that a trace shows the hop. */
import { type Tracing, traced } from "@wolfpack/telemetry";
import type { HopWatch } from "../replicas/hop-watch.ts";

export function hopWatch(tracing: Tracing): HopWatch {
  return {
    out({ replica, service }, ask) {
      const attributes = { "wolfpack.service": service, "wolfpack.replica": replica };
      return traced(tracing, "to another replica", { kind: "client", attributes }, (span) =>
        ask(span.traceparent),
      );
    },
    in({ replica, service, traceparent }, ask) {
      const attributes = { "wolfpack.service": service, "wolfpack.replica": replica };
      const about = { kind: "server", traceparent, attributes } as const;
      // What began no trace there begins none here.
      if (traceparent === undefined) return ask(undefined);
      return traced(tracing, "from another replica", about, (span) => ask(span.traceparent ?? traceparent));
    },
  };
}
