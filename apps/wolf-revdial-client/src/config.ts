/** The agent's configuration from flags and environment; the only reader of both. What is wrong is named by flag and variable. */
import { X509Certificate } from "node:crypto";
import {
  CONNECTIONS_MAX,
  GpuType,
  hostLimits,
  Mount,
  RegisterWolfRequest,
  WolfName,
} from "@wolfpack/api-contract";
import { readTracing, type TracingSettings } from "@wolfpack/telemetry";
import { defaultWolfPolicy, readWolfPolicy, type WolfPolicy } from "@wolfpack/wolf-api";
import { z } from "zod";
import { type Protocol, readApiUrl } from "./api-url.ts";
import { readBounded, readFile } from "./bounded-file.ts";
import { checkHelixSettings } from "./helix-settings.ts";
import type { DiskThresholds } from "./inventory/disks.ts";
import { closedToHelix, closedToSessions } from "./policy-closes.ts";
import { checkSession } from "./sandbox.ts";
import { describeSetting, type Flags, type SettingName, settingNames, settings } from "./settings.ts";
import { parseTarget, parseTargetTemplate, type Target } from "./target.ts";

/** Exit code 2: the reader changes a flag or variable and starts again. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export interface AgentConfig {
  /** Origin only, since the API is at its root; that of a Helix control plane with the path before `/api`. */
  apiUrl: URL;
  protocol: Protocol;
  /** "" inside a sandbox. */
  wolfId: string;
  /** The session whose sandbox this runs in; undefined beside a Wolf. */
  sessionId: string | undefined;
  /** The runner token, or inside a sandbox its owner's API key; "" when there is none. A secret: never logged. */
  token: string;
  /** "" when there is none. A secret: never logged. */
  joinToken: string;
  /** Why there is neither, which an agent with a key does not mind. */
  tokenMissing: ConfigError | undefined;
  /** One was given, though it may be missing. */
  tokenGiven: boolean;
  wolf: Target;
  /** Maps a session to its screen service; absent: screens are not served. */
  screen: ((sessionId: string) => Target) | undefined;
  /** What the guard lets through to Wolf. */
  policy: WolfPolicy;
  /** Undefined: detect. */
  gpuType: GpuType | undefined;
  /** As /sys/class/drm. */
  gpuFolder: string;
  maxSandboxes: number;
  /** Undefined: not limited. */
  encoderSessionsMax: number | undefined;
  region: string | undefined;
  labels: Record<string, string>;
  costPerHour: number | undefined;
  address: string;
  /** Undefined: every local disk. */
  disks: string[] | undefined;
  diskThresholds: DiskThresholds;
  reconnectMaxMs: number;
  /** Tunnels at once. */
  connections: number;
  transport: "auto" | "websocket" | "http";
  ca: string | undefined;
  insecure: boolean;
  /** Not `given`: the agent may run without. */
  stateDir: { path: string; given: boolean };
  healthListen: { host: string; port: number } | undefined;
  logLevel: string;
  /** Undefined: nothing is traced. */
  tracing: TracingSettings | undefined;
  /** Said once at the start. */
  warnings: string[];
}

export interface ConfigSources {
  flags: Flags;
  env: NodeJS.ProcessEnv;
  readFile?: (path: string) => string;
  readStdin?: () => string;
}

interface TokenMissing {
  error: ConfigError;
  /** Whoever named the file has to hear of it even where another token is there. */
  odd: boolean;
}

/** Throws ConfigError. */
export function readConfig({
  flags,
  env,
  readFile: read = readFile,
  readStdin = () => readBounded(0),
}: ConfigSources): AgentConfig {
  const wrong = (name: SettingName, why: string) => new ConfigError(`${describeSetting(name)} ${why}.`);
  const fromEnv = (name: SettingName) =>
    settings[name].env.map((variable) => env[variable]).find((value) => value !== undefined && value !== "");
  const text = (name: SettingName): string | undefined => {
    const flag = flags[name];
    if (typeof flag === "string") return flag;
    const fallback = settings[name] as { default?: string };
    return fromEnv(name) ?? fallback.default;
  };
  const texts = (name: SettingName): string[] => {
    const flag = flags[name];
    if (Array.isArray(flag) && flag.length > 0) return flag;
    return (fromEnv(name) ?? "")
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  };
  const required = (name: SettingName): string => {
    const value = text(name);
    if (value === undefined || value === "") throw wrong(name, "is missing");
    return value;
  };
  const number = (name: SettingName, min: number, max: number, schema = z.number()): number | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    const bounded = schema.min(min).max(max);
    const parsed = bounded.safeParse(value.trim() === "" ? Number.NaN : Number(value));
    const kind = bounded.isInt ? "a whole number" : "a number";
    if (!parsed.success) throw wrong(name, `has to be ${kind} from ${min} to ${max}`);
    return parsed.data;
  };
  const file = (name: SettingName, path: string): string => {
    try {
      return path === "-" && /^(t|joinT)okenFile$/.test(name) ? readStdin() : read(path);
    } catch (cause) {
      throw new ConfigError(
        `${describeSetting(name)}: ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
        { cause },
      );
    }
  };
  const warnings: string[] = [];

  const isGiven = (name: SettingName) => flags[name] !== undefined || fromEnv(name) !== undefined;
  const protocol = z.enum(["native", "helix"]).safeParse(text("protocol")).data;
  if (protocol === undefined) throw wrong("protocol", "has to be native or helix");
  if (protocol === "helix") {
    const isFlag = (name: SettingName) => flags[name] !== undefined && String(flags[name]) !== "";
    warnings.push(...checkHelixSettings({ isGiven, isFlag, wrong, transport: required("transport") }));
  }
  const sessionId = checkSession(text("sessionId"), { isGiven, wrong });
  const wolfId = sessionId === undefined ? required("wolfId") : "";
  if (sessionId === undefined && !WolfName.safeParse(wolfId).success)
    throw wrong("wolfId", "has to be 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit");
  const apiUrl = readApiUrl(required("apiUrl"), protocol, (why) => wrong("apiUrl", why));
  const wolf = parseTarget(required("local"));
  if (wolf === undefined) throw wrong("local", "has to be unix:///path (at most 107 bytes) or host:port");
  const level = z
    .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
    .safeParse(text("logLevel"));
  if (!level.success) throw wrong("logLevel", "has to be fatal, error, warn, info, debug, trace or silent");
  const transport = z.enum(["auto", "websocket", "http"]).safeParse(text("transport"));
  if (!transport.success) throw wrong("transport", "has to be auto, websocket or http");
  const gpu = text("gpuType") === undefined ? undefined : GpuType.safeParse(text("gpuType")?.toLowerCase());
  if (gpu?.success === false) throw wrong("gpuType", "has to be nvidia, amd, intel or none");
  const isOn = (name: SettingName): boolean => {
    const value = (fromEnv(name) ?? "0").toLowerCase();
    if (!["0", "1", "false", "true"].includes(value)) throw wrong(name, "has to be 1, true, 0 or false");
    return typeof flags[name] === "boolean" ? flags[name] : ["1", "true"].includes(value);
  };
  const insecure = isOn("insecure");
  if (insecure)
    warnings.push("certificates are not checked (--insecure): anybody on the path can take this wolf over");
  if (apiUrl.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(apiUrl.hostname)) {
    warnings.push(
      "the control plane is reached over plain http: the token and everything else can be read on the path",
    );
  }
  const config: AgentConfig = {
    apiUrl,
    protocol,
    wolfId,
    sessionId,
    ...readTokens(),
    wolf,
    screen: readScreen(texts("service"), (why) => wrong("service", why)),
    policy: readPolicy(text("policyFile")),
    gpuType: gpu?.data,
    gpuFolder: required("gpuFolder"),
    maxSandboxes: number("maxSandboxes", 1, 1000, z.number().int()) ?? 12,
    encoderSessionsMax: number("encoderSessionsMax", 1, 1000, z.number().int()),
    region: text("region"),
    labels: readLabels(texts("label"), (why) => wrong("label", why)),
    costPerHour: number("costPerHour", 0, 1_000_000),
    address: text("address") ?? "",
    ...readDisks(),
    reconnectMaxMs: (number("reconnect", 1, 3600) ?? 30) * 1000,
    connections: number("connections", 1, CONNECTIONS_MAX, z.number().int()) ?? 1,
    transport: transport.data,
    ca: readCertificates(text("caFile")),
    insecure,
    stateDir: {
      // systemd separates several by colons.
      path: required("stateDir").split(":")[0] as string,
      given: isGiven("stateDir"),
    },
    healthListen: readHealthListen(text("healthListen"), isOn("healthRemote"), (why) =>
      wrong("healthListen", why),
    ),
    logLevel: level.data,
    tracing: tracingIn(env),
    warnings,
  };
  const closed = protocol === "helix" ? closedToHelix(config.policy) : undefined;
  if (closed !== undefined) warnings.push(closed);
  if (sessionId !== undefined) return config;
  const check = RegisterWolfRequest.safeParse({
    name: wolfId,
    address: config.address,
    region: config.region,
    labels: config.labels,
  });
  if (!check.success) {
    const [issue] = check.error.issues;
    const name =
      settingNames.find(
        (candidate) => candidate === issue?.path[0] || (candidate === "label" && issue?.path[0] === "labels"),
      ) ?? "wolfId";
    throw wrong(name, `is wrong: ${issue?.message}`);
  }
  return config;

  function readCertificates(path: string | undefined): string | undefined {
    if (path === undefined) return undefined;
    const pem = file("caFile", path);
    const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    // TLS would skip what it cannot read and then trust nobody, for ever.
    if (found.length === 0 || !found.every(isCertificate))
      throw wrong("caFile", "has to be a file of PEM certificates");
    return pem;
  }

  function readPolicy(path: string | undefined): WolfPolicy {
    if (path === undefined) return defaultWolfPolicy;
    const reading = readWolfPolicy(file("policyFile", path));
    if (!reading.ok) throw wrong("policyFile", `names ${path}, which is no policy: ${reading.reason}`);
    const { policy } = reading;
    const missing = defaultWolfPolicy.state_folders.find((folder) => !policy.state_folders.includes(folder));
    if (missing !== undefined)
      throw wrong(
        "policyFile",
        `names ${path}, whose state_folders lack "${missing}", where every session has its home`,
      );
    const closed = closedToSessions(policy);
    if (closed !== undefined) warnings.push(closed);
    return policy;
  }

  function readDisks(): Pick<AgentConfig, "disks" | "diskThresholds"> {
    const disks = texts("disk");
    if (disks.length > hostLimits.disksMax)
      throw wrong("disk", `names more than ${hostLimits.disksMax} mounts`);
    if (new Set(disks).size < disks.length) throw wrong("disk", "names a mount twice");
    if (!disks.every((disk) => Mount.safeParse(disk).success))
      throw wrong("disk", "has to be an absolute path of at most 255 characters");
    const warningPercent = number("diskWarningPercent", 1, 100) as number;
    const criticalPercent = number("diskCriticalPercent", 1, 100) as number;
    if (warningPercent > criticalPercent)
      throw wrong("diskWarningPercent", `is above ${describeSetting("diskCriticalPercent")}`);
    const freeGib = number("diskFreeMinGib", 0, 100_000) as number;
    return {
      disks: disks.length === 0 ? undefined : disks,
      diskThresholds: { warningPercent, criticalPercent, freeBytesMin: freeGib * 2 ** 30 },
    };
  }

  /** A file that cannot be read matters only where no key is yet: a join token may be gone once it was used. */
  function readTokens(): Pick<AgentConfig, "token" | "joinToken" | "tokenMissing" | "tokenGiven"> {
    if (typeof flags.token === "string")
      warnings.push(
        "--token on the command line can be seen by every user of this host: use --token-file or RUNNER_TOKEN",
      );
    const missing: TokenMissing[] = [];
    const given = typeof flags.token === "string" ? flags.token : undefined;
    const token = readToken("tokenFile", given, fromEnv("token"), missing);
    /** Whether it may have a key of its own. */
    const keyed = sessionId === undefined && protocol === "native";
    const joinToken = keyed ? readToken("joinTokenFile", undefined, env.JOIN_TOKEN, missing) : "";
    if (token !== "" || joinToken !== "") {
      // Of two files one may be absent or empty, as deployments name both.
      warnings.push(...missing.filter(({ odd }) => odd).map(({ error }) => error.message));
      return { token, joinToken, tokenMissing: undefined, tokenGiven: true };
    }
    const neither = keyed
      ? `${describeSetting("joinTokenFile")}, ${describeSetting("tokenFile")}, JOIN_TOKEN or RUNNER_TOKEN is missing.`
      : `${describeSetting("tokenFile")} or RUNNER_TOKEN is missing.`;
    const tokenMissing = new ConfigError(missing.map(({ error }) => error.message).join("\n") || neither);
    if (!keyed) throw tokenMissing;
    return { token, joinToken, tokenMissing, tokenGiven: missing.length > 0 };
  }

  /** "" when there is none. */
  function readToken(
    name: "tokenFile" | "joinTokenFile",
    given: string | undefined,
    variable: string | undefined,
    missing: TokenMissing[],
  ): string {
    const path = text(name);
    let found = given ?? (path === undefined ? variable : undefined);
    if (given === undefined && path !== undefined) {
      try {
        found = file(name, path);
      } catch (error) {
        const { code } = ((error as ConfigError).cause ?? {}) as NodeJS.ErrnoException;
        missing.push({ error: error as ConfigError, odd: code !== "ENOENT" });
        return "";
      }
      if (found.trim() === "")
        missing.push({ error: wrong(name, `names ${path}, which is empty`), odd: false });
    }
    const token = (found ?? "").trim();
    const what = name === "tokenFile" ? "runner" : "join";
    if (token !== "" && !/^[\x21-\x7e]{1,512}$/.test(token))
      throw new ConfigError(
        `The ${what} token has to be 1 to 512 printable ASCII characters without spaces.`,
      );
    return token;
  }
}

function tracingIn(env: NodeJS.ProcessEnv): TracingSettings | undefined {
  try {
    return readTracing(env);
  } catch (cause) {
    throw new ConfigError((cause as Error).message, { cause });
  }
}

export function readHealthListen(
  address: string | undefined,
  remote: boolean,
  wrong: (why: string) => ConfigError,
): AgentConfig["healthListen"] {
  if (address === undefined) return undefined;
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(address);
  const host = match?.[1]?.replace(/^\[|\]$/g, "") ?? "";
  const port = Number(match?.[2]);
  if (host === "" || port > 65_535) throw wrong("has to be host:port");
  if (!remote && !/^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1)$/.test(host))
    throw wrong("has to be a loopback address; --health-remote allows others to read it");
  return { host, port };
}

function readScreen(services: readonly string[], wrong: (why: string) => ConfigError): AgentConfig["screen"] {
  let screen: AgentConfig["screen"];
  for (const service of services) {
    const at = service.indexOf("=");
    const name = service.slice(0, Math.max(0, at));
    if (name !== "screen") throw wrong("has to be screen=<target>: no other service is known");
    if (screen !== undefined) throw wrong("names screen twice");
    screen = parseTargetTemplate(service.slice(at + 1));
    if (screen === undefined)
      throw wrong(
        "has to be screen=unix:///path (at most 107 bytes) or screen=host:port; only {session} may stand in it",
      );
  }
  return screen;
}

function readLabels(pairs: readonly string[], wrong: (why: string) => ConfigError): Record<string, string> {
  const labels = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw wrong(`has to be key=value, not ${pair}`);
    const key = pair.slice(0, at);
    if (labels.has(key)) throw wrong(`names ${key} twice`);
    labels.set(key, pair.slice(at + 1));
  }
  return Object.fromEntries(labels);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
