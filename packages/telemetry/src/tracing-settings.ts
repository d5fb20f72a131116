/** The standard variables of OpenTelemetry, as far as traces need them. Those of the exporter itself it reads by itself. */

export interface TracingSettings {
  protocol: "http/json" | "http/protobuf";
  sampler: (typeof samplers)[number];
  /** Of the `traceidratio` samplers, 0 to 1. */
  ratio: number;
  /** Spans are sent so often. */
  delayMs: number;
}

/** A sentence that names the variable. */
export class TracingSettingsError extends Error {
  override readonly name = "TracingSettingsError";
}

const samplers = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
const protocols = ["http/json", "http/protobuf"] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** Undefined: tracing is off, as it is unless an exporter or an endpoint is named. Throws TracingSettingsError. */
export function readTracing(env: Environment): TracingSettings | undefined {
  const first = (...names: string[]) => names.map((name) => env[name]?.trim()).find((value) => value);
  if (first("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return undefined;
  const exporter = first("OTEL_TRACES_EXPORTER");
  const endpointName = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].find((name) =>
    first(name),
  );
  if (exporter === "none" || (exporter === undefined && endpointName === undefined)) return undefined;
  oneOf("OTEL_TRACES_EXPORTER", exporter ?? "otlp", ["otlp"], " or none");
  if (endpointName !== undefined) checkEndpoint(endpointName, first(endpointName) ?? "");
  const protocolNames = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
  const protocolName = protocolNames.find((name) => first(name)) ?? "";
  const sampler = oneOf(
    "OTEL_TRACES_SAMPLER",
    first("OTEL_TRACES_SAMPLER") ?? "parentbased_always_on",
    samplers,
  );
  const ratio = Number(first("OTEL_TRACES_SAMPLER_ARG") ?? "1");
  if (sampler.endsWith("traceidratio") && !(ratio >= 0 && ratio <= 1))
    throw new TracingSettingsError("OTEL_TRACES_SAMPLER_ARG has to be a number from 0 to 1.");
  const delayMs = Number(first("OTEL_BSP_SCHEDULE_DELAY") ?? "5000");
  if (!(Number.isInteger(delayMs) && delayMs >= 10 && delayMs <= 60_000))
    throw new TracingSettingsError("OTEL_BSP_SCHEDULE_DELAY has to be 10 to 60000 milliseconds.");
  const protocol = oneOf(protocolName, first(...protocolNames) ?? "http/protobuf", protocols);
  return { protocol, sampler, ratio, delayMs };
}

function oneOf<Value extends string>(name: string, value: string, known: readonly Value[], more = ""): Value {
  const found = known.find((one) => one === value);
  if (found === undefined) throw new TracingSettingsError(`${name} has to be ${known.join(", ")}${more}.`);
  return found;
}

/** Without its value in the sentence: it may hold a password. */
function checkEndpoint(name: string, value: string): void {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new TracingSettingsError(
      `${name} has to be an http:// or https:// URL without a user and password in it.`,
    );
}
