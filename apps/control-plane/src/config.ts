/** The only reader of the environment: everything else receives a Config. A wrong value is one line that names its variable. */

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ImageReference, PlacementPolicy, PlacementWeights } from "@wolfpack/api-contract";
import { readTracing, type TracingSettings } from "@wolfpack/telemetry";
import { z } from "zod";
import { isNetwork } from "./http/client-address.ts";
import type { PlacementSettings } from "./placement/placement.ts";
import type { QuarantineRules } from "./wolves/wolf-store.ts";

/** Exit code 2: the reader fixes the environment and starts again. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

const seconds = (fallback: number, max: number) => z.coerce.number().min(0.05).max(max).default(fallback);
/** Of sessions that name none; unset: they live as long as they like. */
const life = z.coerce.number().int().min(60).max(31_536_000).optional();
const secret = z
  .string()
  .min(16, "must have at least 16 characters")
  .max(512)
  .regex(/^[\x21-\x7e]+$/, "must be printable ASCII without spaces");

const isPublicUrl = (url: URL | null) =>
  url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
/** A list between commas; unset is empty. */
const list = (isItem: (text: string) => boolean, what: string) =>
  z
    .string()
    .default("")
    .transform((text) =>
      text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== ""),
    )
    .refine((items) => items.every(isItem), `must be a list of ${what} between commas`);
const perMinute = (fallback: number) => z.coerce.number().int().min(1).max(1_000_000).default(fallback);
/** `load=1,region=0.5`: what is not named weighs nothing. */
const weights = z.string().transform((text, context): PlacementWeights => {
  const pairs = text.split(",").map((pair) => pair.trim().split("="));
  const given = pairs.map(([name = "", weight = "", ...more]) => [
    name,
    more.length > 0 ? NaN : Number(weight),
  ]);
  const parsed = PlacementWeights.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  const names = Object.keys(PlacementWeights.shape).join(", ");
  context.addIssue({
    code: "custom",
    message: `must be weights from 0 to 100 such as load=1,region=0.5, of: ${names}`,
  });
  return z.NEVER;
});
/** What PostgreSQL's driver can take apart: it decodes every part by itself. */
function isDatabaseUrl(text: string): boolean {
  const url = /^postgres(ql)?:\/\/\S+$/.test(text) ? URL.parse(text) : null;
  if (url === null) return false;
  try {
    for (const part of [url.username, url.password, url.hostname, url.pathname]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}
const isOrigin = (text: string) => /^https?:/.test(text) && URL.parse(text)?.origin === text;

/** Every variable with its default; docs/operations/configuration.md describes them, a test compares. */
export const environment = z.object({
  NODE_ENV: z.enum(["development", "production", "test"]).default("development"),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  HOST: z.string().min(1).max(255).optional(),
  LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
  DATABASE_URL: z
    .string()
    .refine(isDatabaseUrl, "must be a postgresql:// URL, with %40 for an @ in its password and the like")
    .optional(),
  DATA_DIR: z.string().min(1).default(".data"),
  RUNNER_TOKEN: secret.optional(),
  LEGACY_RUNNER_TOKEN: z.enum(["allow", "refuse"]).default("refuse"),
  API_KEY_SECRET: z.string().min(32, "must have at least 32 characters").max(512).optional(),
  WOLFPACK_PUBLIC_URL: z
    .string()
    .transform((text) => text.split(",").map((url) => URL.parse(url.trim())))
    .refine((urls) => urls.every(isPublicUrl), "must be http:// or https:// URLs, separated by commas")
    .optional(),
  WOLFPACK_REPLICA_URL: z
    .string()
    .transform((text) => URL.parse(text.trim()))
    .refine(
      (url) => isPublicUrl(url) && url?.pathname === "/",
      "must be one http:// or https:// URL without a path",
    )
    .optional(),
  WOLFPACK_REPLICA_LEASE_SECONDS: seconds(10, 300),
  WOLFPACK_REPLICA_BALANCE_SECONDS: z.coerce.number().min(0).max(86_400).default(60),
  WOLFPACK_DRAIN_NOTICE_SECONDS: z.coerce.number().min(0).max(300).default(7),
  WOLFPACK_AGENT_KEY_DAYS: z.coerce.number().min(1).max(365).default(7),
  DEFAULT_SANDBOX_IMAGE: ImageReference.default("ghcr.io/games-on-whales/xfce:edge"),
  WOLFPACK_RENDER_NODE: z
    .string()
    .regex(/^(software|\/dev\/dri\/[A-Za-z0-9]+)$/)
    .default("/dev/dri/renderD128"),
  WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: seconds(20, 3600),
  WOLFPACK_WOLF_STALE_AFTER_SECONDS: seconds(120, 86_400),
  WOLFPACK_HEALTH_INTERVAL_SECONDS: seconds(60, 3600),
  WOLFPACK_RECONCILE_INTERVAL_SECONDS: seconds(30, 3600),
  WOLFPACK_RESTART_GRACE_SECONDS: seconds(120, 3600),
  WOLFPACK_MASS_LOSS_PERCENT: z.coerce.number().min(1).max(100).default(50),
  WOLFPACK_MASS_LOSS_WOLVES_MIN: z.coerce.number().int().min(1).max(100_000).default(3),
  WOLFPACK_MASS_LOSS_WINDOW_SECONDS: seconds(60, 3600),
  WOLFPACK_FLAPS_MAX: z.coerce.number().int().min(2).max(1000).default(5),
  WOLFPACK_FLAP_WINDOW_SECONDS: seconds(600, 86_400),
  WOLFPACK_CREATE_FAILURES_MAX: z.coerce.number().int().min(1).max(1000).default(3),
  WOLFPACK_CREATE_SLOW_SECONDS: seconds(30, 600),
  WOLFPACK_QUARANTINE_SECONDS: seconds(60, 86_400),
  WOLFPACK_QUARANTINE_MAX_SECONDS: seconds(3600, 604_800),
  WOLFPACK_PLACEMENT_POLICY: PlacementPolicy.default("least-loaded"),
  WOLFPACK_PLACEMENT_WEIGHTS: weights.prefault("load=1,region=1,image=0.2"),
  WOLFPACK_PLACEMENT_RANDOM_BEST: z.coerce.number().int().min(1).max(8).default(3),
  WOLFPACK_QUEUE_MAX: z.coerce.number().int().min(0).max(10_000).default(1000),
  WOLFPACK_QUEUE_DEADLINE_SECONDS: seconds(1800, 86_400),
  WOLFPACK_SESSION_START_TIMEOUT_SECONDS: seconds(60, 600),
  WOLFPACK_SESSION_STOP_TIMEOUT_SECONDS: seconds(60, 3600),
  WOLFPACK_SESSION_LOST_KEEP_SECONDS: seconds(86_400, 31_536_000),
  WOLFPACK_SESSION_LOCK_SECONDS: seconds(4, 60),
  WOLFPACK_SESSION_ATTEMPTS_MAX: z.coerce.number().int().min(1).max(100).default(3),
  WOLFPACK_SESSION_TTL_SECONDS: life,
  WOLFPACK_SESSION_IDLE_SECONDS: life,
  WOLFPACK_SESSION_WARNING_SECONDS: seconds(300, 86_400),
  WOLFPACK_LOBBY_SETTLE_SECONDS: seconds(10, 300),
  WOLFPACK_LOBBY_GRACE_SECONDS: seconds(5, 3600),
  WOLFPACK_USER_SESSIONS_MAX: z.coerce.number().int().min(0).max(100_000).default(20),
  WOLFPACK_USER_CREATES_PER_MINUTE: z.coerce.number().int().min(0).max(100_000).default(30),
  WOLFPACK_BODY_BYTES_MAX: z.coerce.number().int().min(1024).max(1_048_576).default(65_536),
  WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: perMinute(6000),
  WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: perMinute(3000),
  WOLFPACK_UNAUTHENTICATED_PER_MINUTE_PER_ADDRESS: perMinute(120),
  WOLFPACK_TRUSTED_PROXIES: list(isNetwork, "IP addresses and networks (10.0.0.0/8)"),
  WOLFPACK_METRICS_TOKEN_FILE: z.string().min(1).optional(),
  WOLFPACK_CORS_ORIGINS: list(isOrigin, "origins (https://example.com)"),
});

export interface Config {
  production: boolean;
  port: number;
  host: string;
  logLevel: string;
  /** Undefined: start our own PostgreSQL in the data directory. */
  databaseUrl: string | undefined;
  dataDir: string;
  /** Undefined: hosts enrol with join tokens only. */
  runnerToken: string | undefined;
  /** The RUNNER_TOKEN registers wolves and opens their tunnels, as long as they have no key. */
  legacyRunnerToken: boolean;
  /** Hosts of the URLs that agents are given. None: whatever a request names. */
  publicHosts: string[];
  /** The same URLs whole. */
  publicUrls: string[];
  /** At which other replicas reach this one. Undefined: they do not. */
  replicaUrl: string | undefined;
  replicaLeaseMs: number;
  /** Between two looks at who holds how many tunnels. 0: none is moved for that. */
  replicaBalanceMs: number;
  /** From its word that it is not ready to its going, where other replicas are. */
  drainNoticeMs: number;
  agentKeyLifeMs: number;
  apiKeySecret: string;
  defaultSandboxImage: string;
  renderNode: string;
  tunnelLostAfterMs: number;
  wolfStaleAfterMs: number;
  healthIntervalMs: number;
  reconcileIntervalMs: number;
  /** Of wolves that were connected before this process began. */
  restartGraceMs: number;
  massLoss: { sharePercent: number; wolvesMin: number; windowMs: number };
  quarantine: QuarantineRules;
  createSlowMs: number;
  placementPolicy: PlacementPolicy;
  placement: PlacementSettings;
  queueMax: number;
  queueMs: number;
  sessionStartTimeoutMs: number;
  sessionStopTimeoutMs: number;
  sessionLostKeepMs: number;
  sessionLockMs: number;
  sessionAttemptsMax: number;
  /** Null: no end. */
  sessionTtlMs: number | null;
  sessionIdleMs: number | null;
  sessionWarningMs: number;
  lobbySettleMs: number;
  lobbyGraceMs: number;
  /** Of users whose own row says nothing else. */
  quotas: { sessionsMax: number; createsPerMinute: number };
  bodyBytesMax: number;
  /** Requests per minute. */
  ratePerAddress: number;
  ratePerCredential: number;
  rateUnauthenticated: number;
  /** IP addresses and networks. */
  trustedProxies: readonly string[];
  corsOrigins: readonly string[];
  /** With which /metrics may be read, and nothing else. A secret: never logged. */
  metricsToken: string | undefined;
  /** Undefined: nothing is traced. */
  tracing: TracingSettings | undefined;
}

/** Throws ConfigError. Secrets that may be missing (no production, own PostgreSQL) are made once and kept in the data directory. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const known = Object.keys(environment.shape);
  const unknown = Object.keys(env).find((name) => name.startsWith("WOLFPACK_") && !known.includes(name));
  if (unknown !== undefined) throw new ConfigError(`${unknown} is not a variable of the control plane.`);
  const given = Object.fromEntries(known.map((name) => [name, env[name] === "" ? undefined : env[name]]));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ConfigError(`${String(issue?.path[0])}: ${issue?.message ?? "is not valid"}.`);
  }
  const e = parsed.data;
  const production = e.NODE_ENV === "production" || e.DATABASE_URL !== undefined;
  if (production && e.API_KEY_SECRET === undefined)
    throw new ConfigError(
      "API_KEY_SECRET must be set in production (NODE_ENV=production or DATABASE_URL set).",
    );
  if (production && e.RUNNER_TOKEN === undefined && e.LEGACY_RUNNER_TOKEN === "allow")
    throw new ConfigError("LEGACY_RUNNER_TOKEN=allow needs a RUNNER_TOKEN.");
  return {
    production,
    port: e.PORT,
    host: e.HOST ?? (production ? "0.0.0.0" : "127.0.0.1"),
    logLevel: e.LOG_LEVEL,
    databaseUrl: e.DATABASE_URL,
    dataDir: path.resolve(e.DATA_DIR),
    runnerToken: e.RUNNER_TOKEN ?? (production ? undefined : keptSecret(e.DATA_DIR, "runner-token")),
    legacyRunnerToken: e.LEGACY_RUNNER_TOKEN === "allow",
    publicHosts: (e.WOLFPACK_PUBLIC_URL ?? []).flatMap((url) => url?.host ?? []),
    publicUrls: (e.WOLFPACK_PUBLIC_URL ?? []).flatMap((url) => url?.href ?? []),
    replicaUrl: e.WOLFPACK_REPLICA_URL?.origin,
    replicaLeaseMs: ms(e.WOLFPACK_REPLICA_LEASE_SECONDS),
    replicaBalanceMs: ms(e.WOLFPACK_REPLICA_BALANCE_SECONDS),
    drainNoticeMs: ms(e.WOLFPACK_DRAIN_NOTICE_SECONDS),
    agentKeyLifeMs: e.WOLFPACK_AGENT_KEY_DAYS * 86_400_000,
    apiKeySecret: e.API_KEY_SECRET ?? keptSecret(e.DATA_DIR, "api-key-secret"),
    defaultSandboxImage: e.DEFAULT_SANDBOX_IMAGE,
    renderNode: e.WOLFPACK_RENDER_NODE,
    tunnelLostAfterMs: ms(e.WOLFPACK_TUNNEL_LOST_AFTER_SECONDS),
    wolfStaleAfterMs: ms(e.WOLFPACK_WOLF_STALE_AFTER_SECONDS),
    healthIntervalMs: ms(e.WOLFPACK_HEALTH_INTERVAL_SECONDS),
    reconcileIntervalMs: ms(e.WOLFPACK_RECONCILE_INTERVAL_SECONDS),
    ...fleetConfig(e),
    ...sessionConfig(e),
    quotas: {
      sessionsMax: e.WOLFPACK_USER_SESSIONS_MAX,
      createsPerMinute: e.WOLFPACK_USER_CREATES_PER_MINUTE,
    },
    bodyBytesMax: e.WOLFPACK_BODY_BYTES_MAX,
    ratePerAddress: e.WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS,
    ratePerCredential: e.WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL,
    rateUnauthenticated: e.WOLFPACK_UNAUTHENTICATED_PER_MINUTE_PER_ADDRESS,
    trustedProxies: e.WOLFPACK_TRUSTED_PROXIES,
    corsOrigins: e.WOLFPACK_CORS_ORIGINS,
    metricsToken: metricsTokenIn(e.WOLFPACK_METRICS_TOKEN_FILE),
    tracing: tracingIn(env),
  };
}

const ms = (seconds: number) => Math.round(seconds * 1000);
const orNever = (seconds: number | undefined) => (seconds === undefined ? null : ms(seconds));
type Environment = z.output<typeof environment>;

/** What is done about wolves, and which of them sessions get. */
function fleetConfig(e: Environment) {
  return {
    restartGraceMs: ms(e.WOLFPACK_RESTART_GRACE_SECONDS),
    massLoss: {
      sharePercent: e.WOLFPACK_MASS_LOSS_PERCENT,
      wolvesMin: e.WOLFPACK_MASS_LOSS_WOLVES_MIN,
      windowMs: ms(e.WOLFPACK_MASS_LOSS_WINDOW_SECONDS),
    },
    quarantine: {
      flapsMax: e.WOLFPACK_FLAPS_MAX,
      flapWindowMs: ms(e.WOLFPACK_FLAP_WINDOW_SECONDS),
      createFailuresMax: e.WOLFPACK_CREATE_FAILURES_MAX,
      firstMs: ms(e.WOLFPACK_QUARANTINE_SECONDS),
      maxMs: ms(e.WOLFPACK_QUARANTINE_MAX_SECONDS),
    },
    createSlowMs: ms(e.WOLFPACK_CREATE_SLOW_SECONDS),
    placementPolicy: e.WOLFPACK_PLACEMENT_POLICY,
    placement: { randomBest: e.WOLFPACK_PLACEMENT_RANDOM_BEST, weights: e.WOLFPACK_PLACEMENT_WEIGHTS },
    queueMax: e.WOLFPACK_QUEUE_MAX,
    queueMs: ms(e.WOLFPACK_QUEUE_DEADLINE_SECONDS),
  };
}

/** How long the parts of a session's life may last. */
function sessionConfig(e: Environment) {
  return {
    sessionStartTimeoutMs: ms(e.WOLFPACK_SESSION_START_TIMEOUT_SECONDS),
    sessionStopTimeoutMs: ms(e.WOLFPACK_SESSION_STOP_TIMEOUT_SECONDS),
    sessionLostKeepMs: ms(e.WOLFPACK_SESSION_LOST_KEEP_SECONDS),
    sessionLockMs: ms(e.WOLFPACK_SESSION_LOCK_SECONDS),
    sessionAttemptsMax: e.WOLFPACK_SESSION_ATTEMPTS_MAX,
    sessionTtlMs: orNever(e.WOLFPACK_SESSION_TTL_SECONDS),
    sessionIdleMs: orNever(e.WOLFPACK_SESSION_IDLE_SECONDS),
    sessionWarningMs: ms(e.WOLFPACK_SESSION_WARNING_SECONDS),
    lobbySettleMs: ms(e.WOLFPACK_LOBBY_SETTLE_SECONDS),
    lobbyGraceMs: ms(e.WOLFPACK_LOBBY_GRACE_SECONDS),
  };
}

function tracingIn(env: NodeJS.ProcessEnv): TracingSettings | undefined {
  try {
    return readTracing(env);
  } catch (cause) {
    throw new ConfigError((cause as Error).message, { cause });
  }
}

function metricsTokenIn(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const wrong = (why: string, cause?: unknown) =>
    new ConfigError(`WOLFPACK_METRICS_TOKEN_FILE names ${file}, which ${why}.`, { cause });
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw wrong("cannot be read", cause);
  }
  const token = secret.safeParse(text.trim());
  if (!token.success) throw wrong("has to hold 16 to 512 printable characters without spaces");
  return token.data;
}

function keptSecret(dataDir: string, name: string): string {
  const file = path.join(dataDir, name);
  try {
    if (!existsSync(file)) {
      mkdirSync(dataDir, { recursive: true });
      writeFileSync(file, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
    }
    const kept = readFileSync(file, "utf8").trim();
    if (kept.length >= 32) return kept;
  } catch (cause) {
    throw new ConfigError(
      `The data directory ${path.resolve(dataDir)} cannot be used: set DATA_DIR to a folder that can be written.`,
      { cause },
    );
  }
  throw new ConfigError(`${file} is damaged: restore it, or remove it to make a new one.`);
}
