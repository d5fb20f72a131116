/** Who counts and traces what goes between replicas. */

export interface Hop {
  /** The other replica. */
  replica: string;
  service: string;
}

export interface HopWatch {
  /** Around a request to another replica; `ask` takes the trace context that is to travel with it. */
  out<Result>(hop: Hop, ask: (traceparent: string | undefined) => Promise<Result>): Promise<Result>;
  /** Around what another replica asks, with the trace context that came. */
  in<Result>(
    hop: Hop & { traceparent: string | undefined },
    ask: (traceparent: string | undefined) => Promise<Result>,
  ): Promise<Result>;
}

export const unwatchedHops: HopWatch = {
  out: (_hop, ask) => ask(undefined),
  in: ({ traceparent }, ask) => ask(traceparent),
};
