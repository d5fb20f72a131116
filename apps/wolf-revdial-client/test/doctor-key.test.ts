/** The doctor of a host with a key, with a join token, or with a key that is no good. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { text as readText } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { hostMark, type KeyFile, writeKeyFile } from "../src/identity/key-file.ts";
import { newPrivateKey, publicKeyOf } from "../src/identity/proof.ts";
import { AgentKeys, aJoinToken } from "./agent-keys.ts";
import { bundle } from "./agent-process.ts";
import { TOKEN } from "./control-plane.ts";
import { type DoctorPlane, doctorPlane } from "./doctor-plane.ts";

const DAY_MS = 86_400_000;
let folder: string;
let keys: AgentKeys;
let plane: DoctorPlane;

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "dk-"));
  keys = new AgentKeys(TOKEN);
  plane = await doctorPlane(undefined, keys);
});
afterEach(async () => {
  await plane.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A key of gpu-1, which the control plane knows, with this many days of seven left. */
function aKey(daysLeft: number): KeyFile {
  const now = Date.now();
  const private_key = newPrivateKey();
  const id = `agk_${"1".repeat(26)}`;
  const wolf_id = "wlf_00000000000000000000000000";
  const expires_at = new Date(now + daysLeft * DAY_MS).toISOString();
  const issued_at = new Date(now + (daysLeft - 7) * DAY_MS).toISOString();
  keys.keys.push({
    id,
    wolfId: wolf_id,
    name: "gpu-1",
    publicKey: publicKeyOf(private_key),
    status: "active",
    expiresAt: expires_at,
  });
  const file: KeyFile = {
    version: 1,
    control_plane: plane.url,
    wolf_name: "gpu-1",
    wolf_id,
    host: hostMark(),
    key: { id, private_key, issued_at, expires_at },
    previous: null,
    candidate: null,
  };
  mkdirSync(path.join(folder, "gpu-1"));
  writeKeyFile({ folder: path.join(folder, "gpu-1") }, file);
  return file;
}

async function examine(env: Record<string, string> = {}): Promise<Record<string, string>> {
  const args = ["doctor", "--api-url", plane.url, "--wolf-id", "gpu-1", "--state-dir", folder];
  const child = spawn(process.execPath, [bundle, ...args, "--quick", "--json"], {
    env: { PATH: "", ...env },
  });
  const [out] = await Promise.all([readText(child.stdout), once(child, "close")]);
  const { checks } = JSON.parse(out) as { checks: { code: string; status: string; detail: string }[] };
  return Object.fromEntries(checks.map(({ code, status, detail }) => [code, `${status}: ${detail}`]));
}

it("opens its tunnels with the agent's key, a proof for each, and as no wolf's", async () => {
  aKey(6);
  const found = await examine();
  expect(found).toMatchObject({
    D10: `ok: the key agk_${"1".repeat(26)} is accepted`,
    D11: expect.stringMatching(/^ok/),
    D12: expect.stringMatching(/^ok/),
    D13: expect.stringMatching(/^ok/),
    D14: expect.stringMatching(/^ok/),
    D20: expect.stringMatching(/^ok: agk_1+, good until /),
  });
  expect(new Set(plane.runnerIds)).toEqual(new Set(["doctor-gpu-1"]));
  expect(keys.admitted.length).toBeGreaterThanOrEqual(5);
  expect(new Set(keys.admitted.map(({ purpose }) => purpose))).toEqual(new Set(["diagnose"]));
});

it("tells a key that is not known from one that should have been renewed, and from one that has ended", async () => {
  aKey(1);
  expect((await examine()).D20).toMatch(/^warning: .* it should have been renewed, does the agent run\?$/);
  keys.keys.length = 0;
  const refused = await examine();
  expect(refused.D10).toBe("failed: the key is refused (unauthenticated): There is no such key.");
  expect(refused.D11).toBe("skipped: it needs D10 (Credential)");
  rmSync(path.join(folder, "gpu-1"), { recursive: true });
  aKey(-1);
  const ended = await examine();
  expect(ended.D10).toMatch(/^failed: the key is refused/);
  expect(ended.D20).toMatch(/^failed: the key agk_1+ has ended at /);
});

it("fails a key file that others can read, and shows nothing of what is in it", async () => {
  const { key } = aKey(6);
  chmodSync(path.join(folder, "gpu-1", "agent-key.json"), 0o644);
  const found = await examine({ RUNNER_TOKEN: TOKEN });
  expect(found.D10).toBe("failed: the key file cannot be used (D20)");
  expect(found.D20).toMatch(/^failed: .*can be read by others \(mode 644\)/);
  expect(JSON.stringify(found)).not.toContain(key?.private_key.split("\n")[1]);
});

it("judges a join token by its form and checksum, and does not use it", async () => {
  const joinToken = aJoinToken();
  keys.joinTokens.set(joinToken, 1);
  const found = await examine({ JOIN_TOKEN: joinToken });
  expect(found.D10).toBe("ok: a join token, whose checksum is right: it is used when this host enrols");
  expect(found.D11).toBe("skipped: this host has not enrolled yet");
  expect(found.D14).toBe("skipped: this host has not enrolled yet");
  expect(found.D20).toMatch(/^skipped: there is no key at .*gpu-1\/agent-key\.json/);
  const slip = await examine({
    JOIN_TOKEN: `${joinToken.slice(0, -1)}${joinToken.endsWith("0") ? "1" : "0"}`,
  });
  expect(slip.D10).toBe("failed: this is no join token: its form or its checksum is wrong");
  expect([keys.joinTokens.get(joinToken), keys.keys.length]).toEqual([1, 0]);
  expect(JSON.stringify([found, slip])).not.toContain(joinToken.slice(0, 40));
});
