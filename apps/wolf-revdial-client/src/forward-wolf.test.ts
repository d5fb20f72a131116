/** What is counted and logged of a request that was not served. */
import { describe, expect, it } from "@jest/globals";
import { defaultWolfPolicy } from "@wolfpack/wolf-api";
import type { IncomingRequest, Reply } from "revdial";
import { createForwarder } from "./forward.ts";
import { createLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";

function forwarder() {
  const lines: { level: number; msg: string; path: string }[] = [];
  const metrics = createMetrics();
  const serve = createForwarder({
    wolf: () => new Promise(() => undefined),
    screen: undefined,
    log: createLogger("debug", { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[0]) }),
    metrics,
    policy: defaultWolfPolicy,
    createsMax: 1,
  });
  return {
    lines,
    refusals: () => metrics.counters().map(({ labels, value }) => [labels.code, value]),
    /** `gone` is called with the way to say that the caller has gone. */
    async ask(path: string, gone: (leave: () => void) => void = () => undefined) {
      const request = { service: "wolf", method: "GET", path, headers: [], hasBody: false };
      const onClose = (listener: (error: Error) => void) => gone(() => listener(new Error("gone")));
      const reply = { over: false, onClose } as unknown as Reply;
      return (await serve(request as unknown as IncomingRequest, reply))?.status;
    },
  };
}
const [DEBUG, WARN] = [20, 40];

describe("a request of the control plane", () => {
  it("that is refused is counted by its code and warned of", async () => {
    const { lines, refusals, ask } = forwarder();
    expect(await ask("/api/v1/apps")).toBe(403);
    expect(refusals()).toEqual([["route-closed", 1]]);
    expect(lines).toMatchObject([{ level: WARN, msg: "refused", path: "/api/v1/apps" }]);
  });

  it("whose caller gave up was not refused: no counter, and a line for those who debug", async () => {
    const { lines, refusals, ask } = forwarder();
    expect(await ask("/api/v1/lobbies", (leave) => setImmediate(leave))).toBe(499);
    expect(refusals()).toEqual([]);
    expect(lines).toMatchObject([{ level: DEBUG, msg: "the caller gave up", path: "/api/v1/lobbies" }]);
  });
});
