/** Process: an agent's end of a tunnel before a Wolf: as the agent serves it, or passing on whatever comes, in the same way. */
import { defaultWolfPolicy } from "@wolfpack/wolf-api";
import { createForwarder, createLogger, createMetrics, wolfLine } from "@wolfpack/wolf-revdial-client/parts";
import { dialTunnel, type RequestHandler } from "revdial";
import { serveCalls } from "./process.ts";

/** As many as are asked at once: what is measured is the work, not the wait for a place. */
const CREATES_AT_ONCE = 8;
const TIMEOUT_MS = 10_000;

type Ask = ReturnType<typeof wolfLine>["ask"];

const passOn =
  (ask: Ask): RequestHandler =>
  async (request) => {
    const { method, path } = request;
    const chunks: Uint8Array[] = [];
    if (request.hasBody) for await (const chunk of request.body) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    const reply = await ask(
      method === "POST"
        ? { method, path, timeoutMs: TIMEOUT_MS, body: text }
        : { method: "GET", path, timeoutMs: TIMEOUT_MS },
    );
    return {
      status: reply.status,
      headers: [["content-type", reply.contentType ?? "application/json"]],
      body: reply.body,
    };
  };

const guarded = (wolf: Ask): RequestHandler =>
  createForwarder({
    wolf,
    screen: undefined,
    log: createLogger("info"),
    metrics: createMetrics(),
    policy: defaultWolfPolicy,
    createsMax: CREATES_AT_ONCE,
  });

serveCalls({
  dial: async ({ wolf, tunnel, ...how }: { wolf: string; tunnel: number; guarded: boolean }) => {
    const { ask } = wolfLine({ socketPath: wolf });
    await dialTunnel(`ws://127.0.0.1:${tunnel}/`, {
      agent: "bench-agent",
      handler: how.guarded ? guarded(ask) : passOn(ask),
    });
  },
});
