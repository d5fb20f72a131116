import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { describe, expect, it } from "@jest/globals";
import { tunnelUrlOf } from "./api-url.ts";
import { ConfigError, readConfig } from "./config.ts";
import { wolfSettings } from "./sandbox.ts";
import { type Flags, settingNames, settings } from "./settings.ts";

const flags = { apiUrl: "https://cp.test", wolfId: "wolf-1" };
const env = { RUNNER_TOKEN: "secret-token" };
const [root = ""] = rootCertificates;
const files: Record<string, string> = {
  "/helix-policy.json": '{"helix_homes":"/wolf-state","base_create_json":true}',
  "/policy.json": '{"open":["POST /api/v1/lobbies/join"],"mount_folders":["/srv"]}',
  "/wrong.json": '{"mount_folders":["srv"]}',
  "/homeless.json": '{"state_folders":["sandboxes","wolfpack-2"]}',
  "/full-of-homes.json": '{"state_folders":["sandboxes","wolfpack"]}',
  "/shut.json": '{"close":["POST /api/v1/lobbies/create","GET /api/v1/openapi-schema"]}',
  "/t": "from-file\n",
  "/empty": "\n",
  "/ca.pem": `# ours\n${root}\n`,
  "/broken.pem": `${root}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
};
const read = (more: Flags = {}, moreEnv: NodeJS.ProcessEnv = {}) =>
  readConfig({
    flags: { ...flags, ...more },
    env: { ...env, ...moreEnv },
    readFile: (path) => files[path] ?? fail(path),
    readStdin: () => "from-stdin\n",
  });

function fail(path: string): never {
  throw new Error(`ENOENT: ${path}`);
}

function refusal(more: Flags, moreEnv: NodeJS.ProcessEnv = {}): string {
  try {
    const { tokenMissing } = read(more, moreEnv);
    if (tokenMissing !== undefined) throw tokenMissing;
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error("expected a refusal");
}

describe("the agent's configuration", () => {
  it("has defaults for everything but URL, name and token", () => {
    expect(read()).toMatchObject({
      wolf: { host: "localhost", port: 8080 },
      maxSandboxes: 12,
      encoderSessionsMax: undefined,
      gpuType: undefined,
      gpuFolder: "/sys/class/drm",
      screen: undefined,
      labels: {},
      reconnectMaxMs: 30_000,
      transport: "auto",
      insecure: false,
      warnings: [],
    });
  });

  it("lets flags win over variables, and the first variable over its older name", () => {
    expect(read({}, { WOLF_ID: "from-env" }).wolfId).toBe("wolf-1");
    const sources = {
      flags: { wolfId: "w" },
      env: { ...env, WOLFPACK_API_URL: "http://localhost:1", HELIX_API_URL: "http://localhost:2" },
    };
    expect(readConfig(sources).apiUrl.port).toBe("1");
    expect(readConfig({ ...sources, env: { ...env, HELIX_API_URL: "http://localhost:2" } }).apiUrl.port).toBe(
      "2",
    );
  });

  it("takes the token from a file, from stdin, from the environment, and from a flag with a warning", () => {
    expect(read({ tokenFile: "/t" }).token).toBe("from-file");
    expect(read({ tokenFile: "-" }).token).toBe("from-stdin");
    expect(read().token).toBe("secret-token");
    const { token, warnings } = read({ token: "in-argv" });
    expect(token).toBe("in-argv");
    expect(warnings.join()).toMatch(/every user of this host/);
    expect(warnings.join()).not.toContain("in-argv");
  });

  it("takes a join token from a file, from stdin or from the environment, and from no flag", () => {
    const joining = (more: Flags, moreEnv: NodeJS.ProcessEnv = {}) =>
      read(more, { RUNNER_TOKEN: "", ...moreEnv });
    expect(joining({ joinTokenFile: "/t" }).joinToken).toBe("from-file");
    expect(joining({ joinTokenFile: "-" }).joinToken).toBe("from-stdin");
    expect(joining({}, { JOIN_TOKEN_FILE: "/t", JOIN_TOKEN: "x" }).joinToken).toBe("from-file");
    const { joinToken, token, tokenMissing, warnings } = joining({}, { JOIN_TOKEN: "from-env" });
    expect([joinToken, token, tokenMissing, warnings]).toEqual(["from-env", "", undefined, []]);
    expect(settingNames.map((name) => settings[name].flag)).not.toContain("--join-token <token>");
  });

  it("holds against a token that is missing only that it is: an agent with a key needs none", () => {
    const { token, tokenMissing } = read({}, { RUNNER_TOKEN: "", JOIN_TOKEN_FILE: "/gone" });
    expect([token, tokenMissing?.message]).toEqual([
      "",
      "--join-token-file (JOIN_TOKEN_FILE): /gone cannot be read: ENOENT: /gone.",
    ]);
    // One of two is enough. That the other one cannot be read is said, but not that it is empty or not there.
    for (const [file, warnings] of [
      ["/gone", [expect.stringContaining("/gone cannot be read")]],
      ["/empty", []],
    ] as const) {
      const one = read({}, { JOIN_TOKEN_FILE: file });
      expect([one.token, one.tokenMissing, one.warnings]).toEqual(["secret-token", undefined, warnings]);
    }
    const absent = { flags: { ...flags, joinTokenFile: "/no/such/token" }, env };
    expect(readConfig(absent).warnings).toEqual([]);
    expect(readConfig({ ...absent, env: {} }).tokenMissing?.message).toContain(
      "/no/such/token cannot be read",
    );
  });

  it("reads labels and services from repeated flags or one variable", () => {
    expect(read({ label: ["zone=a", "disk=nvme=fast"] }).labels).toEqual({ zone: "a", disk: "nvme=fast" });
    expect(read({}, { WOLFPACK_LABELS: "zone=a, rack=7" }).labels).toEqual({ zone: "a", rack: "7" });
    const { screen } = read({ service: ["screen=unix:///run/wolf/{session}/screen.sock"] });
    expect(screen?.("ses_1")).toEqual({ socketPath: "/run/wolf/ses_1/screen.sock" });
  });

  it("traces nothing unless a variable of OpenTelemetry names an exporter, and refuses a wrong one", () => {
    expect(read().tracing).toBeUndefined();
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector.test:4318" };
    expect(read({}, endpoint).tracing).toMatchObject({ protocol: "http/protobuf" });
    expect(refusal({}, { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" })).toMatch(
      /^OTEL_EXPORTER_OTLP_PROTOCOL has to be http\/json, http\/protobuf\.$/,
    );
  });

  it("warns of plain http to another host, and of unchecked certificates", () => {
    expect(read({ apiUrl: "http://cp.test" }).warnings.join()).toMatch(/plain http/);
    expect(read({ apiUrl: "http://127.0.0.1:1" }).warnings).toEqual([]);
    expect(read({}, { WOLFPACK_INSECURE: "1" })).toMatchObject({
      insecure: true,
      warnings: [expect.stringMatching(/not checked/)],
    });
  });

  it.each<[Flags, NodeJS.ProcessEnv, string]>([
    [{ wolfId: undefined }, {}, "--wolf-id (WOLF_ID)"],
    [{ wolfId: "a b" }, {}, "--wolf-id (WOLF_ID)"],
    [{ wolfId: "../x" }, {}, "--wolf-id (WOLF_ID)"],
    [{ apiUrl: undefined }, {}, "--api-url (WOLFPACK_API_URL, HELIX_API_URL)"],
    [{ apiUrl: "cp.test" }, {}, "--api-url"],
    [{ apiUrl: "ftp://cp.test" }, {}, "--api-url"],
    [{ apiUrl: "https://user:pass@cp.test" }, {}, "--api-url"],
    [{ apiUrl: "https://cp.test/prefix" }, {}, "--api-url"],
    [{ apiUrl: "https://cp.test/?a=1" }, {}, "--api-url"],
    [{}, { RUNNER_TOKEN: "" }, "--token-file (RUNNER_TOKEN_FILE)"],
    [{ tokenFile: "/missing" }, {}, "--token-file"],
    [{}, { RUNNER_TOKEN: "with space" }, "token"],
    [{ local: "wolf" }, {}, "--local (WOLFPACK_LOCAL)"],
    [{ local: "localhost:99999" }, {}, "--local"],
    [{ local: "unix://relative" }, {}, "--local"],
    [{ local: `unix:///${"x".repeat(107)}` }, {}, "--local"],
    [{ local: "unix:///run/../etc" }, {}, "--local"],
    [{ service: ["screen"] }, {}, "--service"],
    [{ service: ["docker=unix:///var/run/docker.sock"] }, {}, "--service"],
    [{ service: ["screen=unix:///a/{user}"] }, {}, "--service"],
    [{ service: ["screen=h:1", "screen=h:2"] }, {}, "--service"],
    [{ service: [`screen=unix:///${"x".repeat(80)}/{session}`] }, {}, "--service"],
    [
      { policyFile: "/missing.json" },
      {},
      "--policy-file (WOLFPACK_POLICY_FILE): /missing.json cannot be read",
    ],
    [
      { policyFile: "/t" },
      {},
      "--policy-file (WOLFPACK_POLICY_FILE) names /t, which is no policy: it is not JSON",
    ],
    [{ policyFile: "/wrong.json" }, {}, "mount_folders.0: is not an absolute folder"],
    [
      { policyFile: "/homeless.json" },
      {},
      '--policy-file (WOLFPACK_POLICY_FILE) names /homeless.json, whose state_folders lack "wolfpack", where every session',
    ],
    [{ gpuType: "voodoo" }, {}, "--gpu-type (GPU_TYPE)"],
    [
      { maxSandboxes: "0" },
      {},
      "--max-sandboxes (WOLFPACK_MAX_SANDBOXES) has to be a whole number from 1 to 1000.",
    ],
    [{ maxSandboxes: "many" }, {}, "has to be a whole number from 1 to 1000."],
    [
      { encoderSessionsMax: "0" },
      {},
      "--encoder-sessions-max (WOLFPACK_ENCODER_SESSIONS_MAX) has to be a whole number from 1 to 1000.",
    ],
    [{ encoderSessionsMax: "1001" }, {}, "--encoder-sessions-max"],
    [{ encoderSessionsMax: "2.5" }, {}, "--encoder-sessions-max"],
    [{}, { WOLFPACK_ENCODER_SESSIONS_MAX: "unlimited" }, "--encoder-sessions-max"],
    [{ tokenFile: "/empty" }, {}, "--token-file (RUNNER_TOKEN_FILE) names /empty, which is empty."],
    [{ maxSandboxes: " " }, {}, "--max-sandboxes"],
    [{ reconnect: "0" }, {}, "--reconnect"],
    [{ disk: ["data"] }, {}, "--disk (WOLFPACK_DISKS)"],
    [{}, { WOLFPACK_DISKS: "/a,/a" }, "--disk (WOLFPACK_DISKS)"],
    [{ disk: Array.from({ length: 33 }, (_, i) => `/${i}`) }, {}, "--disk (WOLFPACK_DISKS)"],
    [{ diskWarningPercent: "0" }, {}, "--disk-warning-percent"],
    [{ diskWarningPercent: "96" }, {}, "--disk-warning-percent"],
    [{ diskCriticalPercent: "101" }, {}, "--disk-critical-percent"],
    [{ diskFreeMinGib: "-1" }, {}, "--disk-free-min-gib (WOLFPACK_DISK_FREE_MIN_GIB)"],
    [
      { costPerHour: "-1" },
      {},
      "--cost-per-hour (WOLFPACK_COST_PER_HOUR) has to be a number from 0 to 1000000.",
    ],
    [{ label: ["=x"] }, {}, "--label"],
    [{ label: Array.from({ length: 33 }, (_, i) => `k${i}=v`) }, {}, "--label"],
    [{ region: "x".repeat(64) }, {}, "--region"],
    [{ caFile: "/missing.pem" }, {}, "--ca-file"],
    [{ caFile: "/t" }, {}, "--ca-file (WOLFPACK_CA_FILE)"],
    [{ caFile: "/broken.pem" }, {}, "--ca-file (WOLFPACK_CA_FILE)"],
    [{ logLevel: "loud" }, {}, "--log-level"],
    [{ transport: "pigeon" }, {}, "--transport (WOLFPACK_TRANSPORT)"],
    [{}, { WOLFPACK_TRANSPORT: "HTTP" }, "--transport (WOLFPACK_TRANSPORT)"],
    [{}, { WOLFPACK_INSECURE: "yes" }, "--insecure (WOLFPACK_INSECURE)"],
    [{ label: ["zone=a", "zone=b"] }, {}, "--label (WOLFPACK_LABELS)"],
  ])("refuses %j %j and names the flag and the variable", (more, moreEnv, named) => {
    const message = refusal(more, moreEnv);
    expect(message).toContain(named);
    expect(message).not.toContain("secret-token");
  });

  it("takes certificates from a file, and any label name", () => {
    expect(read({ caFile: "/ca.pem" }).ca).toContain(root);
    expect(JSON.stringify(read({ label: ["__proto__=x"] }).labels)).toBe('{"__proto__":"x"}');
  });

  it("takes the guard's policy from a file", () => {
    expect(read().policy).toMatchObject({ open: [], mount_folders: [], process_runners: false });
    expect(read({}, { WOLFPACK_POLICY_FILE: "/policy.json" }).policy).toMatchObject({
      open: ["POST /api/v1/lobbies/join"],
      mount_folders: ["/srv"],
    });
    const { policy, warnings } = read({ policyFile: "/full-of-homes.json" });
    expect([policy.state_folders, warnings]).toEqual([["sandboxes", "wolfpack"], []]);
  });

  it("warns of a policy under which no session can run, as its owner may want", () => {
    const { policy, warnings } = read({ policyFile: "/shut.json" });
    expect(policy.close).toHaveLength(2);
    expect(warnings).toEqual(["the policy closes POST /api/v1/lobbies/create: no session can run here"]);
  });

  it("stops reading a token file that has no end", () => {
    const { tokenMissing } = readConfig({ flags: { ...flags, tokenFile: "/dev/zero" }, env: {} });
    expect(tokenMissing?.message).toMatch(/--token-file .* larger than 1 MiB/);
  });

  it("is documented: every flag and variable is in the table, with the same flag", () => {
    const table = readFileSync(new URL("../../../docs/operations/agent.md", import.meta.url), "utf8");
    for (const name of settingNames) {
      const { flag, env: variables } = settings[name];
      for (const variable of variables)
        expect(table).toMatch(new RegExp(`^\\| \`${variable}\` \\| \`${flag.split(" ")[0]}\` \\|`, "m"));
    }
    const documented = [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, variable]) => variable);
    expect(documented.toSorted()).toEqual(settingNames.flatMap((name) => [...settings[name].env]).toSorted());
  });
});

describe("for a Helix control plane", () => {
  const helix = (more: Flags = {}, moreEnv: NodeJS.ProcessEnv = {}) =>
    read({ protocol: "helix", ...more }, moreEnv);

  it("the protocol is named by flag or variable, and is our own else", () => {
    expect(helix().protocol).toBe("helix");
    expect(read({}, { WOLFPACK_PROTOCOL: "helix" }).protocol).toBe("helix");
    expect(read().protocol).toBe("native");
  });

  it.each([
    ["https://cp.test", "https://cp.test/"],
    ["https://cp.test/", "https://cp.test/"],
    ["https://cp.test/helix/", "https://cp.test/helix"],
    ["https://cp.test/helix/api/v1/revdial", "https://cp.test/helix"],
    ["http://localhost:1/api/v1/revdial/", "http://localhost:1/"],
  ])("a path of %s stays in front, and the tunnel's own is not doubled", (apiUrl, expected) => {
    const config = helix({ apiUrl });
    expect(config.apiUrl.href).toBe(expected);
    const { href } = tunnelUrlOf(config.apiUrl, "wolf-a b");
    expect(href).toBe(
      `${expected.replace(/^http/, "ws").replace(/\/$/, "")}/api/v1/revdial?runnerid=wolf-a+b`,
    );
  });

  it.each<[Flags, NodeJS.ProcessEnv, string]>([
    [{ sessionId: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV", wolfId: undefined }, {}, "--session-id"],
    [
      {},
      { WOLFPACK_SESSION_ID: "x" },
      "--session-id (WOLFPACK_SESSION_ID) does not go together with --protocol",
    ],
    [{ joinTokenFile: "/t" }, {}, "--join-token-file (JOIN_TOKEN_FILE) does not go together"],
    [{ transport: "http" }, {}, "--transport (WOLFPACK_TRANSPORT) http does not go together with --protocol"],
    [{}, { RUNNER_TOKEN: "" }, "--token-file (RUNNER_TOKEN_FILE) or RUNNER_TOKEN is missing."],
    [{ tokenFile: "/empty" }, {}, "--token-file (RUNNER_TOKEN_FILE) names /empty, which is empty."],
    [{ apiUrl: "https://cp.test/?a=1" }, {}, "--api-url"],
    [{ protocol: "hydra" }, {}, "--protocol (WOLFPACK_PROTOCOL) has to be native or helix."],
  ])("%j %j is refused by name", (more, moreEnv, named) => {
    const message = refusal({ protocol: "helix", ...more }, moreEnv);
    expect(message).toContain(named);
    expect(message).not.toContain("secret-token");
  });

  it.each([
    ["systemd", { JOIN_TOKEN_FILE: "/gone", RUNNER_TOKEN_FILE: "/t", RUNNER_TOKEN: undefined }],
    [
      "containers",
      { JOIN_TOKEN_FILE: "/t", RUNNER_TOKEN: "runner", WOLFPACK_MAX_SANDBOXES: "12", GPU_TYPE: "nvidia" },
    ],
    ["whoever joined by variable", { JOIN_TOKEN: "wjt_x" }],
  ])("a join token in the environment, as %s set it, is left alone", (_, moreEnv) => {
    const { joinToken, token, warnings } = helix({}, moreEnv);
    expect(joinToken).toBe("");
    expect(token).not.toBe("");
    expect(warnings.join()).not.toMatch(/join-token|nothing of it/);
  });

  it("flags that mean nothing there are named in a warning", () => {
    const { warnings } = helix({ label: ["a=b"], region: "eu" });
    expect(warnings.join()).toContain("--label (WOLFPACK_LABELS), --region (WOLFPACK_REGION): nothing of it");
  });

  it("a policy under which Helix can create nothing is named in a warning, and one that lets it is not", () => {
    expect(helix().warnings.join()).toContain("helix_homes");
    expect(helix({ policyFile: "/helix-policy.json" }).warnings.join()).not.toContain("helix_homes");
    expect(read().warnings.join()).not.toContain("helix_homes");
  });

  it("the other transports are WebSockets there, and none is named by default", () => {
    for (const transport of ["auto", "websocket"]) expect(helix({ transport }).transport).toBe(transport);
  });
});

describe("inside a sandbox", () => {
  const sessionId = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const sandbox = { apiUrl: "https://cp.test", sessionId, service: ["screen=localhost:9876"] };
  const inside = (more: Flags = {}, moreEnv: NodeJS.ProcessEnv = {}) =>
    readConfig({ flags: { ...sandbox, ...more }, env: { ...env, ...moreEnv } });

  it("the session takes the place of the wolf, by flag or variable", () => {
    expect(inside()).toMatchObject({ sessionId, wolfId: "", token: "secret-token" });
    expect(inside({ sessionId: undefined }, { WOLFPACK_SESSION_ID: sessionId }).sessionId).toBe(sessionId);
    expect(read().sessionId).toBeUndefined();
  });

  it.each([
    [{ wolfId: "wolf-1" }, {}, "--wolf-id (WOLF_ID)"],
    [{ local: "localhost:1" }, {}, "--local (WOLFPACK_LOCAL)"],
    [{ label: ["a=b"] }, {}, "--label (WOLFPACK_LABELS)"],
    [{ disk: ["/data"] }, {}, "--disk (WOLFPACK_DISKS)"],
    [{}, { WOLFPACK_DISK_WARNING_PERCENT: "1" }, "--disk-warning-percent (WOLFPACK_DISK_WARNING_PERCENT)"],
    [{}, { WOLFPACK_DISK_CRITICAL_PERCENT: "9" }, "--disk-critical-percent (WOLFPACK_DISK_CRITICAL_PERCENT)"],
    [{ diskFreeMinGib: "1" }, {}, "--disk-free-min-gib (WOLFPACK_DISK_FREE_MIN_GIB)"],
    [{ gpuFolder: "/sys/class/drm" }, {}, "--gpu-folder (WOLFPACK_GPU_FOLDER)"],
    [{}, { GPU_TYPE: "nvidia" }, "--gpu-type (GPU_TYPE)"],
    [{}, { WOLFPACK_MAX_SANDBOXES: "3" }, "--max-sandboxes (WOLFPACK_MAX_SANDBOXES)"],
    [{ encoderSessionsMax: "3" }, {}, "--encoder-sessions-max (WOLFPACK_ENCODER_SESSIONS_MAX)"],
  ])("what describes a host with a Wolf is refused by name: %j %j", (more, moreEnv, name) => {
    expect(() => inside(more, moreEnv)).toThrow(`${name} describes a host with a Wolf`);
  });

  it("every setting that is refused there is named in the document", () => {
    const text = readFileSync(new URL("../../../docs/operations/agent.md", import.meta.url), "utf8");
    const list = /describe a host with a Wolf \(([^)]*)\)/.exec(text)?.[1] ?? "";
    const flagsOf = wolfSettings.map((name) => settings[name].flag.split(" ")[0] ?? "");
    // Its levels are named together.
    const missing = flagsOf.filter((flag) => !/^--disk-/.test(flag) && !list.includes(`\`${flag}\``));
    expect(missing).toEqual([]);
  });

  it("an id that no session has is refused, and so is a sandbox that serves nothing", () => {
    expect(() => inside({ sessionId: "ses_x" })).toThrow("--session-id (WOLFPACK_SESSION_ID) has to be");
    expect(() => inside({ service: undefined })).toThrow("--service (WOLFPACK_SERVICES) is missing");
  });
});
