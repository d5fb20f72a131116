import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ConfigError, environment, readConfig } from "./config.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

describe("readConfig", () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-config-"));
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));
  const read = (env: Record<string, string>) => readConfig({ DATA_DIR: dataDir, ...env });

  it("needs no variable at all on one's own machine, and then listens there only", () => {
    expect(read({})).toMatchObject({
      port: 8080,
      host: "127.0.0.1",
      production: false,
      databaseUrl: undefined,
      tunnelLostAfterMs: 20_000,
      wolfStaleAfterMs: 120_000,
      bodyBytesMax: 65_536,
    });
  });

  it("makes the secrets once, readable by the owner only, and keeps them", () => {
    const first = read({});
    const second = read({});
    expect(first.runnerToken).toMatch(/^[0-9a-f]{64}$/);
    expect(first.apiKeySecret).not.toBe(first.runnerToken);
    expect(second).toEqual(first);
    for (const name of ["runner-token", "api-key-secret"]) {
      expect(statSync(path.join(dataDir, name)).mode & 0o777).toBe(0o600);
    }
  });

  it("takes given secrets, ignores empty variables and foreign ones, and writes nothing", () => {
    const config = read({
      RUNNER_TOKEN: SECRET,
      API_KEY_SECRET: SECRET,
      PORT: "",
      PGHOST: "elsewhere",
      PATH: "/bin",
    });
    expect(config).toMatchObject({ runnerToken: SECRET, apiKeySecret: SECRET, port: 8080 });
    expect(() => readFileSync(path.join(dataDir, "runner-token"))).toThrow(/ENOENT/);
  });

  it("needs no runner token in production: hosts enrol with join tokens then", () => {
    const { runnerToken, legacyRunnerToken } = read({ NODE_ENV: "production", API_KEY_SECRET: SECRET });
    expect([runnerToken, legacyRunnerToken]).toEqual([undefined, false]);
    expect(() => readFileSync(path.join(dataDir, "runner-token"))).toThrow(/ENOENT/);
  });

  it("knows the public URLs by their hosts, as agents name them in their proofs", () => {
    expect(read({}).publicHosts).toEqual([]);
    const urls = "https://Wolfpack.Example:443/x, http://10.0.0.1:8080";
    expect(read({ WOLFPACK_PUBLIC_URL: urls }).publicHosts).toEqual(["wolfpack.example", "10.0.0.1:8080"]);
    expect(read({}).publicUrls).toEqual([]);
    expect(read({ WOLFPACK_PUBLIC_URL: urls }).publicUrls).toEqual([
      "https://wolfpack.example/x",
      "http://10.0.0.1:8080/",
    ]);
  });

  it("reads lists between commas", () => {
    expect(read({})).toMatchObject({ trustedProxies: [], corsOrigins: [] });
    expect(
      read({
        WOLFPACK_TRUSTED_PROXIES: "10.0.0.0/8, ::1,",
        WOLFPACK_CORS_ORIGINS: "https://console.example,http://localhost:5173",
      }),
    ).toMatchObject({
      trustedProxies: ["10.0.0.0/8", "::1"],
      corsOrigins: ["https://console.example", "http://localhost:5173"],
    });
  });

  it("listens everywhere in production", () => {
    const secrets = { RUNNER_TOKEN: SECRET, API_KEY_SECRET: SECRET };
    expect(read({ NODE_ENV: "production", ...secrets })).toMatchObject({ host: "0.0.0.0", production: true });
    expect(read({ DATABASE_URL: "postgresql://db/wolfpack", ...secrets }).production).toBe(true);
  });

  it.each<[string, Record<string, string>]>([
    ["PORT", { PORT: "80801" }],
    ["PORT", { PORT: "-1" }],
    ["PORT", { PORT: "http" }],
    ["PORT", { PORT: "80.5" }],
    ["NODE_ENV", { NODE_ENV: "prod" }],
    ["LOG_LEVEL", { LOG_LEVEL: "loud" }],
    ["DATABASE_URL", { DATABASE_URL: "mysql://db/wolfpack" }],
    ["DATABASE_URL", { DATABASE_URL: "postgresql://db with space/x" }],
    ["RUNNER_TOKEN", { RUNNER_TOKEN: "short" }],
    ["RUNNER_TOKEN", { RUNNER_TOKEN: "long enough but spaces" }],
    ["API_KEY_SECRET", { API_KEY_SECRET: "too-short" }],
    ["DEFAULT_SANDBOX_IMAGE", { DEFAULT_SANDBOX_IMAGE: "-v /:/host" }],
    ["DEFAULT_SANDBOX_IMAGE", { DEFAULT_SANDBOX_IMAGE: "a/../b" }],
    ["WOLFPACK_BODY_BYTES_MAX", { WOLFPACK_BODY_BYTES_MAX: "12" }],
    ["WOLFPACK_USER_SESSIONS_MAX", { WOLFPACK_USER_SESSIONS_MAX: "-1" }],
    ["WOLFPACK_USER_CREATES_PER_MINUTE", { WOLFPACK_USER_CREATES_PER_MINUTE: "100001" }],
    ["WOLFPACK_TUNNEL_LOST_AFTER_SECONDS", { WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: "0" }],
    ["WOLFPACK_TUNNEL_LOST_AFTER_SECONDS", { WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: "NaN" }],
    ["WOLFPACK_WOLF_STALE_AFTER_SECONDS", { WOLFPACK_WOLF_STALE_AFTER_SECONDS: "1e9" }],
    ["WOLFPACK_TUNEL_LOST_AFTER_SECONDS", { WOLFPACK_TUNEL_LOST_AFTER_SECONDS: "20" }],
    ["API_KEY_SECRET", { NODE_ENV: "production", RUNNER_TOKEN: SECRET }],
    ["LEGACY_RUNNER_TOKEN", { NODE_ENV: "production", API_KEY_SECRET: SECRET, LEGACY_RUNNER_TOKEN: "allow" }],
    ["LEGACY_RUNNER_TOKEN", { LEGACY_RUNNER_TOKEN: "yes" }],
    ["WOLFPACK_PUBLIC_URL", { WOLFPACK_PUBLIC_URL: "wolfpack.example" }],
    ["WOLFPACK_PUBLIC_URL", { WOLFPACK_PUBLIC_URL: "https://wolfpack.example, ftp://b.example" }],
    ["WOLFPACK_PUBLIC_URL", { WOLFPACK_PUBLIC_URL: "https://user:pass@wolfpack.example" }],
    ["WOLFPACK_AGENT_KEY_DAYS", { WOLFPACK_AGENT_KEY_DAYS: "0.5" }],
    ["WOLFPACK_AGENT_KEY_DAYS", { WOLFPACK_AGENT_KEY_DAYS: "366" }],
    ["WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS", { WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "0" }],
    ["WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL", { WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1.5" }],
    ["WOLFPACK_TRUSTED_PROXIES", { WOLFPACK_TRUSTED_PROXIES: "10.0.0.0/8, everybody" }],
    ["WOLFPACK_TRUSTED_PROXIES", { WOLFPACK_TRUSTED_PROXIES: "10.0.0.0/64" }],
    ["WOLFPACK_CORS_ORIGINS", { WOLFPACK_CORS_ORIGINS: "*" }],
    ["WOLFPACK_CORS_ORIGINS", { WOLFPACK_CORS_ORIGINS: "null" }],
    ["WOLFPACK_CORS_ORIGINS", { WOLFPACK_CORS_ORIGINS: "https://console.example/" }],
    ["WOLFPACK_CORS_ORIGINS", { WOLFPACK_CORS_ORIGINS: "https://Console.example" }],
    ["API_KEY_SECRET", { DATABASE_URL: "postgresql://db/x", RUNNER_TOKEN: SECRET }],
  ])("refuses a wrong environment in one line that names %s and shows no value (%j)", (name, env) => {
    let message = "";
    try {
      read(env);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      message = (error as Error).message;
    }
    expect(message).toContain(name);
    expect(message).not.toContain("\n");
    for (const key of ["RUNNER_TOKEN", "API_KEY_SECRET", "DATABASE_URL"]) {
      if (env[key] !== undefined) expect(message).not.toContain(env[key]);
    }
  });

  it("refuses a damaged secret, and a data directory that is a file", () => {
    writeFileSync(path.join(dataDir, "runner-token"), "x");
    expect(() => read({})).toThrow(/runner-token is damaged/);
    const file = path.join(dataDir, "file");
    writeFileSync(file, "");
    expect(() => read({ DATA_DIR: file })).toThrow(/cannot be used/);
  });

  it("reads exactly the variables that the documentation lists", () => {
    const page = readFileSync(new URL("../../../docs/operations/configuration.md", import.meta.url), "utf8");
    const documented = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(Object.keys(environment.shape).sort());
  });
});
