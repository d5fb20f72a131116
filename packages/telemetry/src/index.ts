/** What a process says of itself to those who run it: numbers with closed label sets, and traces. */
export {
  createMeters,
  type Definition,
  type Definitions,
  type Meters,
  OTHER,
  ownText,
} from "./meters.ts";
export { processDefinitions, watchProcess } from "./process-metrics.ts";
export {
  type Attributes,
  noTracing,
  type OpenSpan,
  type SpanAbout,
  startTracing,
  type Tracing,
  traced,
} from "./tracing.ts";
export { readTracing, type TracingSettings, TracingSettingsError } from "./tracing-settings.ts";
