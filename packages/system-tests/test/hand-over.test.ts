/** An agent is replaced by a newer one of its host, as real processes: of the requests meanwhile none fails. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Stack } from "../src/stack.ts";

const REQUESTS = 2000;
const AT_ONCE = 8;

let stack: Stack;
let dataDir: string;
let crashes: string[];

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-hand-over-"));
  crashes = [];
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [{ name: "gpu-1", gpu: "nvidia", maxSandboxes: 10 }],
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 90_000);

afterAll(async () => {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

describe("a newer agent of the same host", () => {
  it("takes over without a failed request of 2,000, and the older one exits with 0", async () => {
    const api = stack.client();
    let id = "";
    await stack.until("the wolf takes a session", async () => {
      ({ id } = (await api.createSession({ body: {} })).body);
      return true;
    });
    const params = { id };
    const failures: string[] = [];
    let asked = 0;
    let answered = 0;
    let answeredAtEnd: number | undefined;
    const quarter = Promise.withResolvers<void>();
    const load = Array.from({ length: AT_ONCE }, async () => {
      // The load goes on until the old agent has ended, whatever that takes.
      while (asked < REQUESTS || answeredAtEnd === undefined) {
        asked += 1;
        await api.getClipboard({ params }).catch((error: unknown) => failures.push(String(error)));
        answered += 1;
        if (answered === REQUESTS / 4) quarter.resolve();
      }
    });
    await quarter.promise;
    expect(await stack.handOver("gpu-1")).toBe(0);
    answeredAtEnd = answered;
    await Promise.all(load);
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThanOrEqual(REQUESTS);
    const log = readFileSync(path.join(stack.logFolder, "gpu-1.agent.log"), "utf8");
    expect(log.match(/"tunnel up"/g)).toHaveLength(2);
    expect(log).toContain("a newer agent of this host took over");
    // Two at once could crash Wolf: the second subscribes only after the first has left.
    await stack.until(
      "the newer agent has Wolf's events",
      async () =>
        (
          readFileSync(path.join(stack.logFolder, "gpu-1.agent.log"), "utf8").match(/subscribed to Wolf/g) ??
          []
        ).length === 2,
    );
    await api.stopSession({ params });
  }, 90_000);
});
