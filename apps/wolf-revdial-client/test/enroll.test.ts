/** `wolf-revdial-client enroll` as a process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { text as readText } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { AgentKeys, aJoinToken } from "./agent-keys.ts";
import { bundle } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane, TOKEN } from "./control-plane.ts";

let folder: string;
let keys: AgentKeys;
let plane: FakeControlPlane;
let joinToken: string;
let children: ChildProcess[];

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "en-"));
  keys = new AgentKeys(TOKEN);
  joinToken = aJoinToken();
  keys.joinTokens.set(joinToken, 1);
  plane = await fakeControlPlane(0, keys);
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await plane.stop();
  rmSync(folder, { recursive: true, force: true });
});

const keyFile = () => path.join(folder, "wolf-1", "agent-key.json");

interface Enrolling {
  child: ChildProcess;
  end: Promise<{ code: number | null; out: string; err: string }>;
}
function enrolling(flags: readonly string[], env: Record<string, string> = {}, input = ""): Enrolling {
  const settings = ["--api-url", plane.url, "--wolf-id", "wolf-1", "--state-dir", folder, "--reconnect", "1"];
  const child = spawn(process.execPath, [bundle, "enroll", ...settings, ...flags], {
    env: { PATH: "", ...env },
  });
  children.push(child);
  child.stdin.on("error", () => undefined).end(input);
  const said = [readText(child.stdout), readText(child.stderr), once(child, "close")] as const;
  return { child, end: Promise.all(said).then(([out, err, [code]]) => ({ code, out, err })) };
}
const enroll = (...args: Parameters<typeof enrolling>) => enrolling(...args).end;

describe("wolf-revdial-client enroll", () => {
  it("takes the token from stdin, says who the host is now and how to go on, and ends", async () => {
    const flags = ["--join-token-file", "-", "--gpu-type", "amd", "--label", "zone=a"];
    const { code, out, err } = await enroll(flags, {}, `${joinToken}\n`);
    expect([code, err]).toEqual([0, ""]);
    const [key] = keys.keys;
    expect(out).toContain(`This host is wolf-1 (${key?.wolfId}) at ${plane.url}.`);
    expect(out).toContain(`${key?.id} is in ${folder}/wolf-1 and good until ${key?.expiresAt}`);
    expect(out).not.toContain(joinToken);
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    expect(keys.enrolments).toMatchObject([{ request: { gpu_type: "amd", labels: { zone: "a" } } }]);
  });

  it("makes a new key where there is one, which stays until the new one is enrolled", async () => {
    await enroll([], { JOIN_TOKEN: joinToken });
    const before = JSON.parse(readFileSync(keyFile(), "utf8"));
    const { code, err } = await enroll([], { JOIN_TOKEN: joinToken });
    expect([code, err]).toEqual([3, expect.stringMatching(/used up.*\n.*ask an admin for another one/)]);
    expect(JSON.parse(readFileSync(keyFile(), "utf8"))).toMatchObject({ key: before.key });
    keys.joinTokens.set(joinToken, 1);
    expect((await enroll([], { JOIN_TOKEN: joinToken })).code).toBe(0);
    expect(JSON.parse(readFileSync(keyFile(), "utf8")).key.id).toBe(keys.keys[1]?.id);
  });

  it.each([
    ["cut short", "{", 0o600],
    ["open to others", "{}", 0o644],
  ])("writes over a key file that is %s", async (_what, text, mode) => {
    mkdirSync(path.dirname(keyFile()));
    writeFileSync(keyFile(), text, { mode });
    expect((await enroll([], { JOIN_TOKEN: joinToken })).code).toBe(0);
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(keyFile(), "utf8")).key.id).toBe(keys.keys[0]?.id);
  });

  it("says that a join token was not copied whole, and shows nothing of it", async () => {
    const { code, err } = await enroll([], { JOIN_TOKEN: joinToken.slice(0, -1) });
    expect([code, err]).toEqual([3, expect.stringMatching(/no whole join token.*its checksum does not fit/)]);
    expect(err).not.toContain(joinToken.slice(0, -1));
  });

  it("waits for an admin, and says once whose approval", async () => {
    keys.pending = true;
    const { child, end } = enrolling([], { RUNNER_TOKEN: TOKEN });
    await once(child.stderr as NonNullable<typeof child.stderr>, "data");
    keys.approve();
    const { code, err, out } = await end;
    expect([code, out]).toEqual([0, expect.stringContaining(keys.keys[0]?.id ?? "")]);
    expect(err.match(/waits for approval/g)).toHaveLength(1);
    expect(keys.keys).toHaveLength(1);
  });

  it("exits with 130 when it is interrupted meanwhile, and goes on with the same key", async () => {
    keys.pending = true;
    const { child, end } = enrolling([], { RUNNER_TOKEN: TOKEN });
    await once(child.stderr as NonNullable<typeof child.stderr>, "data");
    child.kill("SIGINT");
    expect((await end).code).toBe(130);
    keys.approve();
    expect((await enroll([], { RUNNER_TOKEN: TOKEN })).code).toBe(0);
    expect(keys.keys).toHaveLength(1);
  });

  it.each<[string, string[], Record<string, string>, string]>([
    ["without a token", [], {}, "--join-token-file (JOIN_TOKEN_FILE)"],
    ["with a file that is not there", ["--join-token-file", "/no/token"], {}, "/no/token cannot be read"],
    ["with a folder that cannot be", ["--state-dir", "/dev/null/x"], { JOIN_TOKEN: "x" }, "--state-dir"],
    ["with an unknown flag", ["--join-token"], {}, "--join-token"],
  ])("exits with 2 %s, and names it", async (_what, flags, env, named) => {
    const { code, err, out } = await enroll(flags, env);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(named);
    expect(err).not.toMatch(/\n\s+at /);
  });

  it.each([
    (token: string) => [token],
    (token: string) => ["--join-token", token],
    (token: string) => [`--join-token=${token}`],
  ])("takes no token from the command line, and does not repeat one that stands there", async (flags) => {
    const { code, err, out } = await enroll(flags(joinToken));
    expect([code, out]).toEqual([2, ""]);
    expect(err).not.toContain(joinToken.slice(0, 40));
    expect(keys.keys).toEqual([]);
  });

  it("says that a control plane is too old, or not there", async () => {
    const { port } = new URL(plane.url);
    await plane.stop();
    const nobody = await enroll([], { JOIN_TOKEN: joinToken });
    expect([nobody.code, nobody.err]).toEqual([1, expect.stringMatching(/not enrolled: .*ECONNREFUSED/)]);
    plane = await fakeControlPlane(Number(port));
    const older = await enroll([], { JOIN_TOKEN: joinToken });
    expect([older.code, older.err]).toEqual([1, expect.stringMatching(/not enrolled: No such route/)]);
  });

  it("names both times when the clocks differ, and by how much", async () => {
    keys.now = () => Date.now() - 600_000;
    const { code, err } = await enroll([], { JOIN_TOKEN: joinToken });
    expect(code).toBe(3);
    expect(err).toMatch(
      /it is 20.*Z on this host and 20.*Z at the control plane, so this host's is \d+ min (\d+ s )?ahead \(clock-skew\); synchronise both by NTP/,
    );
  });
});
