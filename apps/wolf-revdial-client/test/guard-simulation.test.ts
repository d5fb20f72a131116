import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { startWolfEmulator } from "@wolfpack/wolf-api/emulator";
import { seededRandom } from "revdial/testing";
import { askUpstream } from "../src/upstream.ts";
import { generate } from "./simulation/requests.ts";
import { runSeed, STUCK_MS } from "./simulation/run.ts";

describe("hostile requests from dice", () => {
  it(
    "neither end nor stall Wolf: 100,000 of them, of seeds 1 to 100, of which many pass",
    async () => {
      let passed = 0;
      for (let seed = 1; seed <= 100; seed += 1) {
        const result = await runSeed(seed, 1000);
        expect(result).toMatchObject({ seed, requests: 1000, faults: [] });
        passed += result.passed;
      }
      expect(passed).toBeGreaterThan(10_000);
    },
    3 * STUCK_MS,
  );

  it("end Wolf soon where no guard stands before it", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "sim-"));
    const socketPath = path.join(folder, "wolf.sock");
    const wolf = await startWolfEmulator({ listen: { unixSocket: socketPath }, hazards: true });
    const dice = seededRandom(1);
    for (let sent = 0; sent < 1000 && !wolf.harms.some(({ fatal }) => fatal); sent += 1) {
      const { method, path: target, body } = generate(dice);
      if (!/^\/[!-~]+$/.test(target) || !/^(GET|POST)$/.test(method) || target.includes("/events")) continue;
      await askUpstream({
        target: { socketPath },
        method: method as "GET" | "POST",
        path: target,
        body: Buffer.from(body).toString("utf8"),
        timeoutMs: 5000,
        replyBytesMax: 16 * 1024 * 1024,
      }).catch(() => undefined);
    }
    expect(await wolf.closed).toBe("died");
    rmSync(folder, { recursive: true, force: true });
  });

  it("are the same for the same seed", () => {
    const some = (seed: number) => {
      const dice = seededRandom(seed);
      return Array.from({ length: 50 }, () => generate(dice));
    };
    expect(some(7)).toEqual(some(7));
    expect(some(7)).not.toEqual(some(8));
  });
});
