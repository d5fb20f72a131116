/** wolfctl, as it is copied to somebody's machine, against a real control plane with real agents: an operator's day. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, jest } from "@jest/globals";
import { root, Stack } from "../src/stack.ts";

const bundle = path.join(root, "apps/wolfctl/dist/wolfctl.mjs");
const hosts = [{ name: "gpu-1", gpu: "nvidia", maxSandboxes: 2 }] as const;

let stack: Stack;
let folder: string;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "wolfctl-system-"));
  stack = await Stack.start({
    dataDir: path.join(folder, "data"),
    port: 0,
    hosts,
    say: () => undefined,
    onCrash: () => undefined,
  });
  await ctl(["config", "set", "home", "--url", stack.baseUrl]);
  expect((await ctl(["config", "set-key"], { stdin: `${stack.adminKey}\n` })).code).toBe(0);
}, 60_000);

afterAll(async () => {
  for (const child of running) if (child.exitCode === null) child.kill("SIGKILL");
  await stack?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

function start(words: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [bundle, ...words], {
    cwd: folder,
    env: { HOME: folder, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.push(child);
  const read = { out: "", err: "" };
  child.stdout.on("data", (bytes: Buffer) => {
    read.out += bytes.toString();
  });
  child.stderr.on("data", (bytes: Buffer) => {
    read.err += bytes.toString();
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...read }));
  return { child, ended, read };
}

function ctl(
  words: readonly string[],
  { stdin = "", env = {} }: { stdin?: string; env?: Record<string, string> } = {},
) {
  const { child, ended } = start(words, env);
  child.stdin.end(stdin);
  return ended;
}

async function keyFileOf(user: string, role: string): Promise<string> {
  const { out } = await ctl(["users", "create", user, "--role", role, "-o", "name"]);
  const file = path.join(folder, `${user}-key`);
  const made = await ctl(["keys", "create", "test", "--user", out.trim(), "--to", file, "-o", "name"]);
  expect([made.code, statSync(file).mode & 0o777]).toEqual([0, 0o600]);
  return file;
}

// Each command is a process, beside whatever else is tested on two cores.
jest.setTimeout(90_000);

describe("an operator with wolfctl", () => {
  it("is told by the doctor that all is well, with the control plane's own checks", async () => {
    const { code, out } = await ctl(["doctor"]);
    expect(out).toMatch(/^ok {7}W01 Settings: /);
    expect(out).toContain("W07 Key: belongs to admin (admin)");
    expect(out).toMatch(/C01 /);
    expect([code, out.split("\n").filter((line) => line.length > 80)]).toEqual([0, []]);
  });

  it("makes a sandbox, sees it run as it happens, looks at it, and knows why it is where it is", async () => {
    const follower = start(["events", "--follow", "--kind", "session.running", "-o", "json"]);
    // Half a line turned around: what a name may hold that no terminal should obey.
    const name = "desk \u202etxt.exe";
    const made = await ctl(["sessions", "create", "--gpu", "nvidia", "--name", name, "-o", "name"]);
    expect([made.code, made.err]).toEqual([0, ""]);
    const id = made.out.trim();
    const [shown, list, explained, shot, set] = await Promise.all([
      ctl(["sessions", "show", id, "-o", "json"]),
      ctl(["sessions", "list"]),
      ctl(["placements", "explain", id]),
      ctl(["sessions", "screenshot", id, "--file", "shot.png"]),
      ctl(["sessions", "clipboard", id, "--set", "-"], { stdin: "copied\n" }),
    ]);
    expect(JSON.parse(shown.out)).toMatchObject({ id, name, status: "running" });
    expect(list.out).toMatch(new RegExp(`^${id} +desk \\\\u\\{202e\\}txt.exe +running +gpu-1 `, "m"));
    expect(explained.out).toMatch(/→ +gpu-1 /);
    expect([shot.code, readFileSync(path.join(folder, "shot.png")).subarray(1, 4).toString()]).toEqual([
      0,
      "PNG",
    ]);
    expect(set.code).toBe(0);
    expect((await ctl(["sessions", "clipboard", id])).out).toBe("copied\n");
    while (!follower.read.out.includes("\n")) await once(follower.child.stdout, "data");
    expect(JSON.parse(follower.read.out)).toMatchObject({ kind: "session.running", session_id: id });
    follower.child.kill("SIGINT");
    expect((await follower.ended).code).toBe(130);
  });

  it("drains a wolf by its name until nothing is left, and takes it back", async () => {
    const drained = await ctl([
      "wolves",
      "drain",
      "gpu-1",
      "--yes",
      "--deadline",
      "0s",
      "--reason",
      "a new driver",
      "--wait",
    ]);
    expect([drained.code, drained.out]).toEqual([
      0,
      expect.stringMatching(/gpu-1 is drained and cordoned\.\n$/),
    ]);
    const [list, queue] = await Promise.all([ctl(["wolves", "list"]), ctl(["queue", "-o", "json"])]);
    expect(list.out).toMatch(/^gpu-1 +cordoned /m);
    expect(queue.out).toBe("[]\n");
    const refused = await ctl(["sessions", "create", "--gpu", "nvidia", "--no-queue"]);
    expect([refused.code, refused.err]).toEqual([
      5,
      expect.stringMatching(/\(no-capacity, request [0-9a-f-]+\)/),
    ]);
    expect((await ctl(["wolves", "uncordon", "gpu-1"])).out).toBe("gpu-1 is online.\n");
  });

  it("finds what was done in the audit log, by whom", async () => {
    const [list, exported] = await Promise.all([
      ctl(["audit", "--action", "wolf.steer"]),
      ctl(["audit", "export", "--action", "wolf.steer"]),
    ]);
    expect(list.out).toMatch(/wolf\.steer +allowed +gpu-1 +admin +127\.0\.0\.1$/m);
    expect(
      exported.out
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { action: string }).action),
    ).toEqual(["wolf.steer", "wolf.steer"]);
  });
});

describe("others with wolfctl", () => {
  it("may do what their role says, and are told when they may not", async () => {
    const key = await keyFileOf("vera", "viewer");
    const as = (words: string[]) => ctl([...words, "--key-file", key]);
    const [wolves, drain, users, doctor] = await Promise.all([
      as(["wolves", "list", "-o", "name"]),
      as(["wolves", "cordon", "gpu-1"]),
      as(["users", "list"]),
      as(["doctor"]),
    ]);
    expect(wolves.out).toBe("gpu-1\n");
    expect([drain.code, users.code]).toEqual([3, 3]);
    expect(drain.err).toMatch(/\(forbidden, request [0-9a-f-]+\)\n$/);
    expect([doctor.code, doctor.out]).toEqual([0, expect.stringContaining("skipped  C00")]);
  });

  it("are refused with a key that is revoked or was never one, and with none", async () => {
    const key = await keyFileOf("rex", "user");
    const { out } = await ctl(["keys", "list", "--user", "rex", "-o", "name"]);
    expect((await ctl(["keys", "revoke", out.trim(), "--yes"])).code).toBe(0);
    const wrong = path.join(folder, "wrong-key");
    writeFileSync(wrong, "wpk_never-was-one", { mode: 0o600 });
    const [revoked, never, none] = await Promise.all([
      ctl(["queue", "--key-file", key]),
      ctl(["queue", "--key-file", wrong]),
      ctl(["queue"], { env: { HOME: "/nonexistent", WOLFPACK_URL: stack.baseUrl } }),
    ]);
    expect([revoked.code, never.code, none.code]).toEqual([3, 3, 2]);
    expect(revoked.err + never.err).not.toContain("wpk_");
  });
});
