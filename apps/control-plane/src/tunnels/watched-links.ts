/** The way into wolves' tunnels with somebody beside it who counts and traces. What goes through is the same. */
import { refusedHeader } from "@wolfpack/wolf-api";
import type { TunnelRequest, TunnelResponse } from "revdial";
import type { TunnelLink } from "./helix/grace.ts";
import type { Links } from "./tunnels.ts";

export interface AskedOf {
  service: string;
  method: string;
}

export type LinkOutcome = { outcome: "answered" | "failed" } | { outcome: "refused"; code: string };

export interface LinkWatch {
  /**
   * Around one request. `ask` takes the trace context that is to travel with it; `outcomeOf` says how it went. Resolves and rejects
   * as `ask` does.
   */
  asking(
    asked: AskedOf,
    ask: (traceparent: string | undefined) => Promise<TunnelResponse>,
    outcomeOf: (response: TunnelResponse) => LinkOutcome,
  ): Promise<TunnelResponse>;
}

export function watchedLinks(links: Links, watch: LinkWatch): Links {
  const watched = (link: TunnelLink | undefined): TunnelLink | undefined =>
    link && {
      request: (request: TunnelRequest) => {
        const { service, method } = request;
        const ask = (traceparent: string | undefined) =>
          link.request(traceparent === undefined ? request : { ...request, traceparent });
        return watch.asking({ service, method }, ask, outcomeOf);
      },
    };
  return {
    wolf: (wolfId) => watched(links.wolf(wolfId)),
    sandbox: async (sessionId) => watched(await links.sandbox(sessionId)),
  };
}

function outcomeOf({ headers }: TunnelResponse): LinkOutcome {
  const refusal = headers.find(([name]) => name.toLowerCase() === refusedHeader)?.[1];
  return refusal === undefined ? { outcome: "answered" } : { outcome: "refused", code: refusal };
}
