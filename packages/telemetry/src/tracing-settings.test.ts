import { describe, expect, it } from "@jest/globals";
import { readTracing, TracingSettingsError } from "./tracing-settings.ts";

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector.test:4318" };

describe("the variables of OpenTelemetry", () => {
  it.each([
    {},
    { OTEL_SERVICE_NAME: "x", OTEL_TRACES_SAMPLER: "always_on" },
    { OTEL_EXPORTER_OTLP_ENDPOINT: "" },
    { OTEL_TRACES_EXPORTER: "none", ...endpoint },
    { OTEL_SDK_DISABLED: "true", ...endpoint },
    { OTEL_SDK_DISABLED: "TRUE", OTEL_TRACES_EXPORTER: "otlp" },
  ])("leave tracing off by %j", (env) => {
    expect(readTracing(env)).toBeUndefined();
  });

  it.each([
    endpoint,
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://collector.test/v1/traces" },
    { OTEL_TRACES_EXPORTER: "otlp" },
    { OTEL_SDK_DISABLED: "false", ...endpoint },
  ])("switch it on by %j, as their specification has it", (env) => {
    expect(readTracing(env)).toEqual({
      protocol: "http/protobuf",
      sampler: "parentbased_always_on",
      ratio: 1,
      delayMs: 5000,
    });
  });

  it("choose the protocol, of traces before that of all signals, and the sampler", () => {
    const env = {
      ...endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
      OTEL_TRACES_SAMPLER: "traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.25",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
    expect(readTracing(env)).toEqual({
      protocol: "http/json",
      sampler: "traceidratio",
      ratio: 0.25,
      delayMs: 100,
    });
  });

  it.each([
    [{ OTEL_TRACES_EXPORTER: "jaeger" }, "OTEL_TRACES_EXPORTER has to be otlp or none."],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" }, /^OTEL_EXPORTER_OTLP_ENDPOINT has to be an http/],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "x" }, /^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has to be/],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, /^OTEL_EXPORTER_OTLP_PROTOCOL has to be http/],
    [{ ...endpoint, OTEL_BSP_SCHEDULE_DELAY: "0" }, /^OTEL_BSP_SCHEDULE_DELAY has to be 10 to 60000/],
    [{ ...endpoint, OTEL_BSP_SCHEDULE_DELAY: "soon" }, /^OTEL_BSP_SCHEDULE_DELAY has to be 10 to 60000/],
    [{ ...endpoint, OTEL_TRACES_SAMPLER: "sometimes" }, /^OTEL_TRACES_SAMPLER has to be always_on, /],
    [
      { ...endpoint, OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "2" },
      "OTEL_TRACES_SAMPLER_ARG has to be a number from 0 to 1.",
    ],
    [
      { ...endpoint, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "much" },
      "OTEL_TRACES_SAMPLER_ARG has to be a number from 0 to 1.",
    ],
  ])("that are wrong are named: %j", (env, message) => {
    expect(() => readTracing(env)).toThrow(TracingSettingsError);
    expect(() => readTracing(env)).toThrow(message);
  });

  it("with a password in the URL are refused without repeating it", () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://me:s3cret@collector.test" };
    expect(() => readTracing(env)).toThrow(/user and password/);
    expect(() => readTracing(env)).not.toThrow(/s3cret/);
  });
});
