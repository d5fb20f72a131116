/** One seed: an emulator that falls over where Wolf does, the agent's guard before it, and requests from the seed's dice. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { effectivePolicy, WolfPolicy, wolfRoutes } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { seededRandom } from "revdial/testing";
import { createForwarder } from "../../src/forward.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics.ts";
import { askUpstream } from "../../src/upstream.ts";
import { wolfLine } from "../../src/wolf-line.ts";
import { type GeneratedRequest, generate } from "./requests.ts";

export interface SeedResult {
  seed: number;
  requests: number;
  /** Requests that Wolf has seen. */
  passed: number;
  /** What went wrong, one sentence each; empty is good. */
  faults: string[];
}

const AT_ONCE = 16;
const STALL_MS = 20;
/** Longer than a seed takes on a busy machine, and shorter than its test may take: a stall has to name its seed. */
export const STUCK_MS = 60_000;
const quiet = createLogger("silent");

/** Even seeds run under the default policy, odd ones with every route open that can be. */
const policyOf = (seed: number): WolfPolicy =>
  WolfPolicy.parse(
    seed % 2 === 0
      ? {}
      : {
          open: wolfRoutes
            .filter(({ closed, never }) => closed && !never)
            .map(({ method, path: at }) => `${method} ${at}`),
          mount_folders: ["/"],
        },
  );

export async function runSeed(seed: number, requests: number): Promise<SeedResult> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "sim-"));
  const wolf = await startWolfEmulator({
    listen: { unixSocket: path.join(folder, "wolf.sock") },
    hazards: true,
    containerStartDelayMs: 0,
    stallMs: STALL_MS,
    random: seededRandom(seed + 1_000_000),
  });
  try {
    return await playSeed(wolf, { socketPath: path.join(folder, "wolf.sock") }, seed, requests);
  } finally {
    await wolf.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function playSeed(
  wolf: WolfEmulator,
  target: { socketPath: string },
  seed: number,
  requests: number,
): Promise<SeedResult> {
  const policy = policyOf(seed);
  const dice = seededRandom(seed);
  const forward = createForwarder({
    wolf: wolfLine(target).ask,
    screen: undefined,
    log: quiet,
    metrics: createMetrics(),
    policy,
    createsMax: 1,
  });
  wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 3 });
  let died = false;
  void wolf.closed.then((how) => {
    died ||= how === "died";
  });
  const faults: string[] = [];
  let left = requests;
  const worker = async () => {
    while (left > 0 && faults.length === 0 && !died) {
      left -= 1;
      const request = generate(dice);
      const fault = await faultOf(forward, request);
      if (fault !== undefined) faults.push(`${fault}: ${request.method} ${JSON.stringify(request.path)}`);
    }
  };
  const stuck = Promise.withResolvers<"stuck">();
  const alarm = setTimeout(() => stuck.resolve("stuck"), STUCK_MS);
  const outcome = await Promise.race([Promise.all(Array.from({ length: AT_ONCE }, worker)), stuck.promise]);
  clearTimeout(alarm);
  if (outcome === "stuck") faults.push(`no end within ${STUCK_MS} ms`);
  for (const [hazard, times] of wolf.counts.harms) {
    const { what = "unknown" } = wolf.harms.find((harm) => harm.hazard === hazard) ?? {};
    if (hazard !== "H6") faults.push(`${hazard}, ${times} times: ${what}`);
  }
  if (died) faults.push("Wolf has died");
  else if (!(await answers(target))) faults.push("Wolf has stalled");
  const open = new Set(effectivePolicy(policy).open);
  let passed = 0;
  for (const [route, times] of wolf.counts.requests) {
    passed += times;
    if (!open.has(route)) faults.push(`Wolf has seen ${route}, ${times} times`);
  }
  return { seed, requests: requests - left, passed, faults };
}

async function answers(target: { socketPath: string }): Promise<boolean> {
  const question = { method: "GET", path: "/api/v1/openapi-schema" } as const;
  const limits = { timeoutMs: 10_000, replyBytesMax: 1024 * 1024 };
  return askUpstream({ target, ...question, ...limits }).then(
    ({ status }) => status === 200,
    () => false,
  );
}

/** What was wrong with the answer, if anything. */
async function faultOf(
  forward: ReturnType<typeof createForwarder>,
  { method, path: target, body, contentLength }: GeneratedRequest,
): Promise<string | undefined> {
  try {
    const reply = await forward(
      {
        service: "wolf",
        method,
        path: target,
        headers: contentLength === undefined ? [] : [["content-length", contentLength]],
        hasBody: body.byteLength > 0,
        body: (async function* () {
          yield body;
        })(),
        trailers: Promise.resolve([]),
        signal: new AbortController().signal,
      },
      // Nobody leaves before the answer.
      { over: false, onClose() {} } as never,
    );
    return reply === undefined ? "no answer" : undefined;
  } catch (error) {
    return `the guard threw ${String(error)}`;
  }
}
