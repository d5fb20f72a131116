/**
 * Spans as the rest of a program makes them. While tracing is off none of it does anything, and the SDK is not even loaded: it is
 * named in otlp.ts alone, which is imported when tracing starts.
 */
import type { TracingSettings } from "./tracing-settings.ts";

/** Names and closed values. Never what a caller wrote, nor anything that may be a secret. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanAbout {
  /**
   * `server`: begins here, or goes on from `traceparent`. `internal`: below the caller's span, or begins here. `client`: below the
   * caller's span; where there is none nothing is traced, since what a process does by itself every few seconds is no trace.
   */
  kind: "server" | "internal" | "client";
  /** Of the process that asked (W3C Trace Context). What is none counts as none. */
  traceparent?: string | undefined;
  attributes?: Attributes;
}

export interface OpenSpan {
  /** For the next process; undefined: nothing is traced. */
  readonly traceparent: string | undefined;
  /** For logs. */
  readonly traceId: string | undefined;
  /** What is called here, and awaits there, is below this span. */
  within<T>(run: () => T): T;
  rename(name: string): void;
  set(attributes: Attributes): void;
  /** Once; `failure` is a code. */
  end(failure?: string): void;
}

export interface Tracing {
  readonly on: boolean;
  open(name: string, about: SpanAbout): OpenSpan;
  /** Sends what is left, bounded in time. Never rejects. */
  stop(): Promise<void>;
}

const noSpan: OpenSpan = {
  traceparent: undefined,
  traceId: undefined,
  within: (run) => run(),
  rename: () => undefined,
  set: () => undefined,
  end: () => undefined,
};

export const noTracing: Tracing = { on: false, open: () => noSpan, stop: async () => undefined };

export interface TracingParts {
  /** `OTEL_SERVICE_NAME` says otherwise. */
  service: string;
  version: string;
  /** Spans were not taken; told once until some are again. */
  onFailure: (error: unknown) => void;
}

/** Undefined settings: off. */
export async function startTracing(
  settings: TracingSettings | undefined,
  parts: TracingParts,
): Promise<Tracing> {
  if (settings === undefined) return noTracing;
  const { startOtlpTracing } = await import("./otlp.ts");
  return startOtlpTracing(settings, parts, noSpan);
}

/** `run` in a span of its own, which ends with it. */
export async function traced<T>(
  tracing: Tracing,
  name: string,
  about: SpanAbout,
  run: (span: OpenSpan) => Promise<T>,
): Promise<T> {
  if (!tracing.on) return run(noSpan);
  const span = tracing.open(name, about);
  try {
    const result = await span.within(() => run(span));
    span.end();
    return result;
  } catch (error) {
    span.end(codeOf(error));
    throw error;
  }
}

/** An error's code; its message may hold what a stranger wrote. */
function codeOf(error: unknown): string {
  const { code, name } = (typeof error === "object" && error !== null ? error : {}) as {
    code?: unknown;
    name?: unknown;
  };
  const said = typeof code === "string" ? code : name;
  return typeof said === "string" && /^[\w-]{1,64}$/.test(said) ? said : "error";
}
