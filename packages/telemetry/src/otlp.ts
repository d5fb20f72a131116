/** Traces by OpenTelemetry's SDK, sent by OTLP over HTTP. The only file that names the SDK; nobody imports it while tracing is off. */
import { AsyncLocalStorage } from "node:async_hooks";
import { type Context, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { OpenSpan, SpanAbout, Tracing, TracingParts } from "./tracing.ts";
import type { TracingSettings } from "./tracing-settings.ts";

/** Spans that wait to be sent; what comes when they are so many is dropped. */
const QUEUE_MAX = 2048;
const BATCH_MAX = 512;
const EXPORT_TIMEOUT_MS = 10_000;
/** At the end of the process. */
const STOP_MS = 3000;

const kinds = { server: SpanKind.SERVER, internal: SpanKind.INTERNAL, client: SpanKind.CLIENT } as const;

export function startOtlpTracing(
  settings: TracingSettings,
  { service, version, onFailure }: TracingParts,
  noSpan: OpenSpan,
): Tracing {
  const exporter = settings.protocol === "http/json" ? new JsonExporter() : new ProtobufExporter();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "service.version": version }).merge(
      detectResources({ detectors: [envDetector] }),
    ),
    sampler: samplerOf(settings),
    spanLimits: {
      attributeValueLengthLimit: 256,
      attributeCountLimit: 32,
      eventCountLimit: 8,
      linkCountLimit: 8,
    },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: telling(exporter, onFailure),
        maxQueueSize: QUEUE_MAX,
        maxExportBatchSize: BATCH_MAX,
        scheduledDelayMillis: settings.delayMs,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const tracer = provider.getTracer(service, version);
  const contexts = new AsyncLocalStorage<Context>();

  /** Undefined: what is not to be traced. */
  function parentOf({ kind, traceparent }: SpanAbout): Context | undefined {
    if (kind === "server") return remote(traceparent) ?? ROOT_CONTEXT;
    return contexts.getStore() ?? (kind === "internal" ? ROOT_CONTEXT : undefined);
  }

  return {
    on: true,
    open(name, about) {
      const parent = parentOf(about);
      if (parent === undefined) return noSpan;
      const span = tracer.startSpan(
        name,
        { kind: kinds[about.kind], attributes: { ...about.attributes } },
        parent,
      );
      const context = trace.setSpan(parent, span);
      const { traceId, spanId, traceFlags } = span.spanContext();
      return {
        traceparent: `00-${traceId}-${spanId}-0${traceFlags & TraceFlags.SAMPLED}`,
        traceId,
        within: (run) => contexts.run(context, run),
        rename: (to) => void span.updateName(to),
        set: (attributes) => void span.setAttributes(attributes),
        end(failure) {
          if (failure !== undefined) {
            span.setStatus({ code: SpanStatusCode.ERROR });
            span.setAttribute("error.type", failure);
          }
          span.end();
        },
      };
    },
    async stop() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, STOP_MS);
      });
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
      clearTimeout(timer);
    },
  };
}

/** W3C Trace Context §3.2: version ff is none, and ids of zeros are none. */
function remote(traceparent: string | undefined): Context | undefined {
  const [, version, traceId = "", spanId = "", flags = "00"] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "") ?? [];
  if (version === undefined || version === "ff" || /^0+$/.test(traceId) || /^0+$/.test(spanId))
    return undefined;
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function samplerOf({ sampler, ratio }: TracingSettings): Sampler {
  const root = sampler.endsWith("always_on")
    ? new AlwaysOnSampler()
    : sampler.endsWith("always_off")
      ? new AlwaysOffSampler()
      : new TraceIdRatioBasedSampler(ratio);
  return sampler.startsWith("parentbased") ? new ParentBasedSampler({ root }) : root;
}

/** A collector that is down is said once, and again when it was up meanwhile. */
function telling(exporter: SpanExporter, onFailure: (error: unknown) => void): SpanExporter {
  let failing = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const failed = result.code !== 0;
        if (failed && !failing) onFailure(result.error);
        failing = failed;
        done(result);
      }),
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}
