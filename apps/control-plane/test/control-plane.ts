/** The whole control plane on a database and a port of its own, with its log in memory. */
import type { Role } from "@wolfpack/api-contract";
import { type ComposeParts, type ControlPlane, compose, UNLISTED } from "../src/compose.ts";
import type { Config } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { type TestDatabase, testDatabase } from "./database.ts";

export const RUNNER_TOKEN = "runner-token-of-the-tests";
export const API_KEY_SECRET = "0123456789abcdef0123456789abcdef-api-key-secret";

export interface TestControlPlane {
  url: string;
  adminKey: string;
  plane: ControlPlane;
  database: TestDatabase;
  /** Log lines so far. */
  lines: string[];
  /** Makes a user with a key. */
  user(name: string, role?: Role): Promise<{ id: string; key: string }>;
  stop(): Promise<void>;
}

export async function startControlPlane(
  overrides: Partial<Config> = {},
  database?: TestDatabase,
  parts: ComposeParts = {},
): Promise<TestControlPlane> {
  database ??= await testDatabase();
  const lines: string[] = [];
  const config: Config = {
    production: false,
    port: 0,
    host: "127.0.0.1",
    logLevel: "trace",
    databaseUrl: database.url,
    dataDir: "",
    runnerToken: RUNNER_TOKEN,
    legacyRunnerToken: true,
    publicHosts: [],
    publicUrls: [],
    replicaUrl: undefined,
    replicaLeaseMs: 10_000,
    replicaBalanceMs: 0,
    drainNoticeMs: 0,
    agentKeyLifeMs: 7 * 86_400_000,
    apiKeySecret: API_KEY_SECRET,
    defaultSandboxImage: "ghcr.io/games-on-whales/xfce:edge",
    renderNode: "/dev/dri/renderD128",
    tunnelLostAfterMs: 20_000,
    wolfStaleAfterMs: 120_000,
    healthIntervalMs: 60_000,
    reconcileIntervalMs: 30_000,
    restartGraceMs: 120_000,
    massLoss: { sharePercent: 50, wolvesMin: 3, windowMs: 60_000 },
    quarantine: {
      flapsMax: 5,
      flapWindowMs: 600_000,
      createFailuresMax: 3,
      firstMs: 60_000,
      maxMs: 3_600_000,
    },
    createSlowMs: 30_000,
    placementPolicy: "least-loaded",
    placement: {
      randomBest: 3,
      weights: { load: 1, packing: 0, cost: 0, region: 1, image: 0.2, rtt: 0 },
    },
    queueMax: 1000,
    queueMs: 1_800_000,
    sessionStartTimeoutMs: 60_000,
    sessionStopTimeoutMs: 60_000,
    sessionLostKeepMs: 86_400_000,
    sessionLockMs: 4000,
    sessionAttemptsMax: 3,
    sessionTtlMs: null,
    sessionIdleMs: null,
    sessionWarningMs: 300_000,
    lobbySettleMs: 10_000,
    lobbyGraceMs: 30_000,
    quotas: { sessionsMax: 10_000, createsPerMinute: 10_000 },
    bodyBytesMax: 65_536,
    // Every test comes from one address.
    ratePerAddress: 1_000_000,
    ratePerCredential: 1_000_000,
    rateUnauthenticated: 1_000_000,
    trustedProxies: [],
    corsOrigins: [],
    metricsToken: undefined,
    tracing: undefined,
    ...overrides,
  };
  const log = createLogger(config.logLevel, { write: (line) => void lines.push(line) });
  // What a test does itself makes this process late, too, and agents would be told to come back for it.
  const lateness = { ms: () => 0, stop: () => undefined };
  const plane = compose(config, database.url, log, { lateness, ...parts });
  let adminKey = "";
  await plane.identity.bootstrap((key) => {
    adminKey = key;
  });
  const url = `http://127.0.0.1:${await plane.listen()}`;
  const call = async (path: string, body: object) => {
    const headers = { authorization: `Bearer ${adminKey}`, "content-type": "application/json" };
    const response = await fetch(`${url}/api/v1/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return (await response.json()) as Record<string, string>;
  };
  return {
    url,
    adminKey,
    plane,
    database,
    lines,
    async user(name, role = "user") {
      const { id = "" } = await call("users", { name, role });
      const { key = "" } = await call("api-keys", { name: "test", user_id: id });
      return { id, key };
    },
    async stop() {
      await plane.stop();
      await database.drop();
      const unlisted = lines.filter((line) => line.includes(UNLISTED));
      if (unlisted.length > 0) throw new Error(`answered against the contract: ${unlisted.join("")}`);
    },
  };
}
