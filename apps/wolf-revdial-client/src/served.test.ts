import { describe, expect, it } from "@jest/globals";
import { noTracing, type OpenSpan, type SpanAbout, type Tracing } from "@wolfpack/telemetry";
import { UpstreamError } from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, Reply } from "revdial";
import type { Observed } from "./metrics.ts";
import { watchedAsk, watchedHandler } from "./served.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const reply = {} as Reply;

function watched(tracing: Tracing = noTracing) {
  const seen: Observed[] = [];
  let nowMs = 0;
  const options = {
    tracing,
    metrics: { observed: (what: Observed) => void seen.push(what) },
    now: () => {
      nowMs += 5;
      return nowMs;
    },
  };
  return { options, seen };
}

/** Spans as they were opened, and how they ended. */
function recordedTracing() {
  const opened: ({ name: string; failure?: string | undefined } & SpanAbout)[] = [];
  const open = (name: string, about: SpanAbout): OpenSpan => {
    const entry = { name, ...about };
    opened.push(entry);
    return {
      traceparent: `of ${name}`,
      traceId: "1",
      within: (run) => run(),
      rename: () => undefined,
      set: () => undefined,
      end: (failure) => void Object.assign(entry, { failure }),
    };
  };
  const tracing: Tracing = { on: true, open, stop: async () => undefined };
  return { opened, tracing };
}

const asked = (more: Partial<IncomingRequest> = {}) =>
  ({ service: "wolf", method: "GET", path: "/api/v1/lobbies", headers: [], ...more }) as IncomingRequest;

describe("requests through the tunnel", () => {
  it("are counted by service and outcome, with the code of a refusal", async () => {
    const { options, seen } = watched();
    const answers: OutgoingResponse[] = [
      { status: 200 },
      { status: 403, headers: [["x-wolfpack-refused", "image-refused"]] },
    ];
    const handler = watchedHandler(() => answers.shift() as OutgoingResponse, options);
    await handler(asked(), reply);
    await handler(asked({ service: "made-up" }), reply);
    expect(seen).toEqual([
      { name: "request", ms: 5, service: "wolf", outcome: "answered", code: undefined },
      { name: "request", ms: 5, service: "other", outcome: "refused", code: "image-refused" },
    ]);
  });

  it("that fail, also at once, are counted and fail on", async () => {
    const { options, seen } = watched();
    const failure = new Error("broken");
    const handler = watchedHandler(() => {
      throw failure;
    }, options);
    await expect(Promise.resolve(handler(asked(), reply))).rejects.toBe(failure);
    expect(seen).toMatchObject([{ outcome: "failed" }]);
  });

  it("go on with the trace that they are in, and begin none where they are in none", async () => {
    const { opened, tracing } = recordedTracing();
    const { options } = watched(tracing);
    const handler = watchedHandler(async () => ({ status: 200 }), options);
    await handler(asked(), reply);
    expect(opened).toEqual([]);
    await handler(asked({ service: "secret-service", method: "MADE-UP", traceparent: PARENT }), reply);
    expect(opened).toMatchObject([
      {
        name: "agent other",
        kind: "server",
        traceparent: PARENT,
        attributes: { "wolfpack.service": "other", "http.request.method": "_OTHER" },
      },
    ]);
  });
});

describe("exchanges with Wolf", () => {
  const answer = { status: 200, contentType: undefined, body: new Uint8Array() };
  const question = { method: "GET", path: "/x", timeoutMs: 1 } as const;

  it("carry the trace context of their own span, and nothing while tracing is off", async () => {
    const { opened, tracing } = recordedTracing();
    const sent: unknown[] = [];
    const ask = async (request: object) => {
      sent.push(request);
      return answer;
    };
    await watchedAsk(ask, watched(tracing).options)(question);
    await watchedAsk(ask, watched().options)(question);
    expect(sent).toEqual([{ ...question, traceparent: "of wolf" }, question]);
    expect(opened).toMatchObject([{ name: "wolf", kind: "client" }]);
  });

  it("are counted by how they ended, and fail with their own error", async () => {
    const { options, seen } = watched();
    const late = new UpstreamError("upstream-timeout", "no complete reply within 1 ms");
    await expect(watchedAsk(() => Promise.reject(late), options)(question)).rejects.toBe(late);
    await watchedAsk(async () => answer, options)(question);
    expect(seen).toEqual([
      { name: "wolf", ms: 5, outcome: "upstream-timeout" },
      { name: "wolf", ms: 5, outcome: "answered" },
    ]);
  });
});
