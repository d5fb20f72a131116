/** Requests through the tunnel, and the exchanges with Wolf that they lead to, with somebody beside them who counts and traces. */
import { type Tracing, traced } from "@wolfpack/telemetry";
import { type AskWolf, refusedHeader } from "@wolfpack/wolf-api";
import type { OutgoingResponse, RequestHandler } from "revdial";
import type { Metrics } from "./metrics.ts";
import { services } from "./metrics-definitions.ts";

export interface ServedOptions {
  tracing: Tracing;
  metrics: Pick<Metrics, "observed">;
  /** Milliseconds that never go back. */
  now: () => number;
}

/** The agent begins no trace: one that is not asked for in a traced request is the control plane's own business of every few seconds. */
export function watchedHandler(
  handler: RequestHandler,
  { tracing, metrics, now }: ServedOptions,
): RequestHandler {
  return async (request, answer) => {
    const { method, traceparent } = request;
    const service = services.find((name) => name === request.service) ?? "other";
    const begunAt = now();
    const observe = (outcome: "answered" | "refused" | "failed", code?: string) =>
      metrics.observed({ name: "request", ms: now() - begunAt, service, outcome, code });
    const serve = async () => handler(request, answer);
    // A method that nobody knows may be any text.
    const attributes = {
      "wolfpack.service": service,
      "http.request.method": /^(GET|POST)$/.test(method) ? method : "_OTHER",
    };
    try {
      const response =
        traceparent === undefined
          ? await serve()
          : await traced(
              tracing,
              `agent ${service}`,
              { kind: "server", traceparent, attributes },
              async (span) => {
                const served = await serve();
                if (served) span.set({ "http.response.status_code": served.status });
                return served;
              },
            );
      const code = response ? refusalOf(response) : undefined;
      observe(code === undefined ? "answered" : "refused", code);
      return response;
    } catch (error) {
      observe("failed");
      throw error;
    }
  };
}

export function watchedAsk(ask: AskWolf, { tracing, metrics, now }: ServedOptions): AskWolf {
  return async (request) => {
    const begunAt = now();
    const observe = (outcome: string) => metrics.observed({ name: "wolf", ms: now() - begunAt, outcome });
    const attributes = { "http.request.method": request.method };
    try {
      const reply = await traced(tracing, "wolf", { kind: "client", attributes }, async (span) => {
        const { traceparent } = span;
        const answered = await ask(traceparent === undefined ? request : { ...request, traceparent });
        span.set({ "http.response.status_code": answered.status });
        return answered;
      });
      observe("answered");
      return reply;
    } catch (error) {
      observe(String((error as { code?: unknown } | null)?.code));
      throw error;
    }
  };
}

const refusalOf = ({ headers = [] }: OutgoingResponse) =>
  headers.find(([name]) => name === refusedHeader)?.[1];
