/**
 * Whatever the contract lets through as text is hostile here, in every answer of the control plane, and every command of the tree
 * prints it: a command that is new fails until it has a row.
 */
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { type OperationId, operations, parseTolerantly } from "@wolfpack/api-contract";
import { z } from "zod";
import { columnsOf } from "../src/output/printable.ts";
import { leaves } from "./command-tree.ts";
import { machine } from "./edges.ts";
import * as an from "./objects.ts";
import { type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const { HOSTILE, sessionId, userId, wolfId } = an;
const [SESSION, USER, WOLF] = [sessionId(1), userId(1), wolfId(1)];
const [KEY_ID, TOKEN_ID] = [an.keyId(1), an.tokenId(1)];
const AT = "2026-11-26T21:29:00.000Z";
const PNG = Buffer.from("89504e470d0a1a0a0000", "hex");

interface Row {
  /** What follows the command's own words. */
  args?: string[];
  exitCode?: number;
  /** It looks at what there is: within 80 columns, whoever has written what. */
  looks?: true;
  /** Nothing that others wrote is in its answer; or in one that this version understands, since the contract takes no such text there. */
  own?: true | "of this version";
  /** A file or a program gets its bytes as they are; only a terminal is spared. */
  bytes?: true;
}

/** By the words of a command. */
const rows: Record<string, Row> = {
  "wolves list": { looks: true },
  "wolves show": { args: ["gpu-1"], looks: true },
  "wolves disk": { args: ["gpu-1"], looks: true, own: "of this version" },
  "wolves drain": { args: ["gpu-1", "--yes"] },
  "wolves cordon": { args: ["gpu-1"] },
  "wolves uncordon": { args: ["gpu-1"] },
  "wolves maintain": { args: ["gpu-1"] },
  "wolves readmit": { args: ["gpu-1"] },
  "wolves retire": { args: ["gpu-1", "--yes"] },
  "sessions create": {},
  "sessions list": { args: ["--all"], looks: true },
  "sessions show": { args: [SESSION], looks: true },
  "sessions stop": { args: [SESSION, "--yes"] },
  "sessions extend": { args: [SESSION, "--ttl", "8h"] },
  "sessions screenshot": { args: [SESSION], own: true },
  "sessions clipboard": { args: [SESSION], bytes: true },
  queue: { looks: true },
  "placements preview": { looks: true },
  "placements explain": { args: [SESSION], looks: true },
  events: { looks: true },
  "tokens create": {},
  "tokens list": { looks: true },
  "tokens revoke": { args: [TOKEN_ID, "--yes"], own: true },
  "users list": { looks: true },
  "users show": { args: [USER], looks: true },
  "users create": { args: ["ada"] },
  "users change": { args: [USER, "--role", "user"] },
  "users disable": { args: [USER, "--yes"] },
  "users enable": { args: [USER] },
  "keys list": { looks: true },
  "keys create": { args: ["ci"] },
  "keys revoke": { args: [KEY_ID, "--yes"], own: true },
  "audit list": { looks: true },
  "audit export": {},
  // Its version is none that fits.
  doctor: { exitCode: 1, looks: true },
};
/** They ask no control plane; what is in their files was checked when it came there (config.test.ts, completion.test.ts). */
const alone = /^(config|completion)\b/;

/** Every field has something in it. */
const wolf = an.aWolf(1, {
  health: "degraded",
  status: "degraded",
  health_reasons: [{ code: "wolf-slow", detail: "slow" }],
  intent_reason: "why",
  labels: { zone: "a" },
  gpu_model: "L40S",
  host: {
    cpu_model: "x",
    cpu_count: 4,
    memory_bytes: 1024,
    gpus: [{ id: "0", vendor: "nvidia", model: "x", driver: "1", vram_bytes: 1024, render_node: "x" }],
  },
  usage: {
    cpu_load: 1,
    memory_available_bytes: 512,
    gpu_state: "missing",
    gpu_detail: "gone",
    gpus: [],
    disks: [{ mount: "/", total_bytes: 9, used_bytes: 4, available_bytes: 5, level: "ok" }],
    disk_detail: "x",
    received_at: AT,
  },
  wolf_capabilities: { schema_hash: "x", features: ["x"], missing: ["x"] },
  images: [{ name: "x", state: "present", id: null, digest: null, size_bytes: 1, created_at: null }],
  quarantine: { until: "2026-11-26T22:29:00.000Z", reason: "creates-slow", times: 1 },
});
const session = an.aSession(1, {
  status: "failed",
  failure: { code: "x", reason: "x" },
  stop_reason: "idle",
});
session.placement.counterfactuals = [{ change: "slots", value: "x", wolf_instance_id: WOLF, text: "x" }];
const user = an.aUser(1);
const line = {
  epoch: 3,
  protocol: "revdial",
  transport: "websocket",
  since: AT,
  replica: "x",
  rtt_ms: 1,
  rtt_history: [],
  channels: 0,
  requests_total: 1,
  bytes_in: 1,
  bytes_out: 1,
  reconnects: 0,
};
const check = { id: "C01", title: "x", status: "warning", detail: "x", advice: "x", ms: 1 };
const health = { status: "warning", at: AT, replica: "x", version: "x", checks: [check] };
const event = an.anEvent(1, {
  object_id: "x",
  actor: { kind: "user", id: USER },
  cause: "x",
  request_id: "x",
  detail: { [HOSTILE]: { deep: "x", [HOSTILE]: ["x"] }, from: "x", to: "x" },
});
const waiting = {
  session_id: SESSION,
  name: "x",
  owner_id: USER,
  owner_name: "x",
  position: 1,
  priority: 4,
  queued_at: AT,
  deadline: AT,
  text: "x",
};

/** What each operation that a command calls answers: its status and a body that fits. */
const answers: Partial<Record<OperationId, [number, unknown]>> = {
  listWolves: [200, [wolf]],
  getWolf: [200, wolf],
  getWolfTunnel: [200, line],
  listDiskHistory: [200, [an.aDiskSample(1)]],
  drainWolf: [200, wolf],
  cordonWolf: [200, wolf],
  uncordonWolf: [200, wolf],
  maintainWolf: [200, wolf],
  readmitWolf: [200, wolf],
  retireWolf: [200, wolf],
  createSession: [201, session],
  listSessions: [200, [session]],
  getSession: [200, session],
  stopSession: [202, session],
  extendSession: [200, session],
  getClipboard: [200, { text: "x" }],
  listQueue: [200, [waiting]],
  previewPlacement: [200, an.aPreview({ explanation: session.placement })],
  listEvents: [200, [event]],
  createJoinToken: [201, { ...an.aToken(1, { labels: { zone: "x" } }), token: "x" }],
  listJoinTokens: [200, [an.aToken(1, { labels: { zone: "x" } })]],
  getMe: [200, { ...user, role: "admin", actions: ["x"] }],
  listUsers: [200, [user]],
  getUser: [200, user],
  createUser: [201, user],
  updateUser: [200, user],
  listApiKeys: [200, [an.aKey(1)]],
  createApiKey: [201, { ...an.aKey(1), key: "x" }],
  listAuditEvents: [200, [an.anAuditEvent(1, { detail: { [HOSTILE]: "x" } })]],
  getHealth: [200, health],
};
const ids: Record<string, string> = { users: USER, sessions: SESSION, "wolf-instances": WOLF };

type Fits = (schema: z.ZodType, json: unknown) => boolean;
/** Words as this version knows them, or those of a later one as well. */
const versions: Record<string, Fits> = {
  "of this version": (schema, json) => schema.safeParse(json).success,
  "of a later version": (schema, json) => {
    try {
      parseTolerantly(schema, json);
      return true;
    } catch {
      return false;
    }
  },
};

/** The same with hostile text wherever the schema takes it. */
function hostile(schema: z.ZodType, value: unknown, fits: Fits): unknown {
  const box = { value: structuredClone(value) };
  const walk = (holder: Record<string, unknown>, name: string): void => {
    const found = holder[name];
    if (typeof found === "string") {
      holder[name] = HOSTILE;
      if (!fits(schema, box.value)) holder[name] = found;
    } else if (typeof found === "object" && found !== null)
      for (const key of Object.keys(found)) walk(found as Record<string, unknown>, key);
  };
  if (!fits(schema, box.value)) throw new Error(`an answer does not fit: ${JSON.stringify(value)}`);
  walk(box, "value");
  return box.value;
}

let server: ScriptedServer;
let here: ReturnType<typeof machine>;
beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  here = machine(server.url);
});
afterEach(() => here.remove());

/** The status and the hostile body of each operation. */
function hostileAnswers(fits: Fits): [OperationId, number, unknown][] {
  return Object.entries(answers).map(([name, [status, example]]) => {
    const { responses } = operations[name as OperationId];
    const schema = (responses as Record<number, unknown>)[status];
    if (!(schema instanceof z.ZodType)) throw new Error(`${name} does not answer ${status} with JSON`);
    return [name as OperationId, status, hostile(schema, example, fits)];
  });
}

function script(all: readonly [OperationId, number, unknown][]): void {
  for (const [name, status, body] of all) {
    const { method, path: template } = operations[name];
    const group = template.split("/")[3] ?? "";
    const route = `${method} ${template.replace("{id}", ids[group] ?? "")}`;
    server.on(route, { status, body });
    if (name === "getWolf") server.on("GET /api/v1/wolf-instances/gpu-1", { body });
    if (name === "listAuditEvents")
      server.on("GET /api/v1/audit-events/export", {
        body: (body as unknown[]).map((one) => `${JSON.stringify(one)}\n`).join(""),
        headers: { "content-type": "application/x-ndjson" },
      });
  }
  server.on("GET /healthz", { body: { status: "ok", version: HOSTILE } });
  server.on("GET /readyz", { body: { status: "ok" } });
  server.on(`DELETE /api/v1/api-keys/${KEY_ID}`, { status: 204 });
  server.on(`DELETE /api/v1/join-tokens/${TOKEN_ID}`, { status: 204 });
  const image = { body: PNG, headers: { "content-type": "image/png" } };
  server.on(`GET /api/v1/sessions/${SESSION}/screenshot`, image);
}

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const linesThat = (text: string, are: (line: string) => boolean) => text.split("\n").filter(are);
const isUnsafe = (line: string) => unsafe.test(line);
const isWide = (line: string) => columnsOf(line) > 80;

const meant = leaves()
  .map(({ words }) => words.join(" "))
  .filter((words) => !alone.test(words));

describe("hostile text", () => {
  it("is given to every command that asks a control plane", () => {
    expect(Object.keys(rows)).toEqual(meant);
  });

  describe.each(Object.entries(versions))("%s", (version, fits) => {
    const all = hostileAnswers(fits);
    beforeEach(() => script(all));

    it.each(meant)(
      "is harmless in what %s prints, in every form, on a terminal and off it",
      async (words) => {
        const { args = [], exitCode = 0, looks, own, bytes } = rows[words] ?? {};
        let printed = "";
        for (const format of ["table", "json", "yaml", "name"])
          for (const isTTY of bytes ? [true] : [false, true]) {
            const file = words.endsWith("screenshot") ? ["--file", path.join(here.home, "shot.png")] : [];
            const { code, out, err } = await here.run([...words.split(" "), ...args, ...file, "-o", format], {
              isTTY,
              env: { ...here.env, NO_COLOR: "1" },
            });
            printed += out + err;
            expect([code, format, err]).toEqual([exitCode, format, code === exitCode ? err : ""]);
            expect(linesThat(out + err, isUnsafe)).toEqual([]);
            if (version !== "of this version") continue;
            if (looks && format === "table") expect(linesThat(out, isWide)).toEqual([]);
            if (isTTY) expect(linesThat(err, isWide)).toEqual([]);
          }
        // Otherwise nothing was shown by it.
        if (own !== true && own !== version) expect(printed).toMatch(/\\(x|u00)1b\[2J/);
      },
    );
  });
});
