/** The disk of `.data/` runs full under a control plane with its own PostgreSQL: real processes, on a small file system of memory. */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Stack } from "../src/stack.ts";
import { call as ask, runningSession } from "./outage-calls.ts";

/** A new cluster takes some 60 MB of it. */
const DISK_MB = 160;
const WRITES_MAX = 2000;
const REFUSALS = 20;

const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-full-"));
const disk = path.join(dataDir, "disk");
const ballast = path.join(disk, "ballast");
const cannot = mounted();
let stack: Stack;
let ends: string[];

/** Why there can be no such disk here. */
function mounted(): string | undefined {
  mkdirSync(disk);
  const { status, error, stderr } = spawnSync(
    "mount",
    ["-t", "tmpfs", "-o", `size=${DISK_MB}m`, "tmpfs", disk],
    {
      encoding: "utf8",
    },
  );
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

if (cannot !== undefined) console.warn(`skipped: a full disk, for none can be mounted here: ${cannot}`);
const describeFull = cannot === undefined ? describe : describe.skip;

beforeAll(async () => {
  if (cannot !== undefined) return;
  ends = [];
  // Logs and hosts are on another disk, as the host's are.
  symlinkSync(path.join(disk, "data", "admin-api-key"), path.join(dataDir, "admin-api-key"));
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [{ name: "gpu-1", gpu: "nvidia", maxSandboxes: 10 }],
    env: {
      DATA_DIR: path.join(disk, "data"),
      HOST: "127.0.0.1",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
    },
    say: () => undefined,
    onCrash: (name, code) => void ends.push(`${name} ${code}`),
  });
}, 90_000);

afterAll(async () => {
  await stack?.stop();
  if (cannot === undefined) execFileSync("umount", [disk]);
  rmSync(dataDir, { recursive: true, force: true });
}, 60_000);

/** To the last byte. */
function fill(): void {
  const file = openSync(ballast, "a");
  try {
    for (let size = 1 << 20; size >= 1; )
      try {
        writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size >>= 1;
      }
  } finally {
    closeSync(file);
  }
}

const call = (method: string, route: string, body?: object) => ask(stack, method, route, body);

let sessionId: string;
/** Users whose creation was answered with 201. */
const acknowledged: string[] = [];

async function writeUntilRefused(): Promise<Set<string>> {
  const refusals = new Set<string>();
  for (let at = 0, refused = 0; at < WRITES_MAX && refused < REFUSALS; at += 1) {
    const { status, headers, body } = await call("POST", "/users", {
      name: `user-${acknowledged.length}-${at}`,
    });
    if (status === 201) acknowledged.push(body.id);
    else {
      refused += 1;
      refusals.add(`${status} ${body.code} ${headers.has("retry-after")}`);
    }
  }
  return refusals;
}

async function everythingIsThere(): Promise<void> {
  const users = new Set<string>();
  for (let cursor = ""; ; ) {
    const { body } = await stack.client().listUsers({ query: { limit: 200, ...(cursor && { cursor }) } });
    for (const { id } of body) users.add(id);
    if (body.length < 200) break;
    cursor = body.at(-1)?.id ?? "";
  }
  expect(acknowledged.filter((id) => !users.has(id))).toEqual([]);
  expect((await call("GET", `/sessions/${sessionId}`)).body).toMatchObject({ status: "running" });
}

describeFull(`a full disk under .data/${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  it("has writes refused that may be sent again, keeps tunnel and session, and loses nothing that was acknowledged", async () => {
    sessionId = await runningSession(stack);
    const epoch = (await stack.client().listWolves({})).body[0]?.tunnel?.epoch;
    fill();
    expect([...(await writeUntilRefused())]).toEqual(["503 database-unavailable true"]);
    expect(acknowledged.length).toBeGreaterThan(0);
    // Through the tunnel, past the database.
    const shot = await stack.client().getScreenshot({ params: { id: sessionId } });
    expect(shot.body.length).toBeGreaterThan(100);
    await everythingIsThere();
    rmSync(ballast);
    expect((await call("POST", "/users", { name: "after" })).status).toBe(201);
    await everythingIsThere();
    expect((await stack.client().listWolves({})).body[0]).toMatchObject({
      connectivity: "connected",
      tunnel: { epoch },
    });
    expect(ends).toEqual([]);
  }, 90_000);

  it("is the reason that a start gives, in one line, and the next start has everything", async () => {
    await stack.killControlPlane();
    fill();
    const failure = await stack.startControlPlane().catch((error: unknown) => error);
    rmSync(ballast);
    expect(failure).toBeInstanceOf(Error);
    expect((failure as Error).message).toMatch(
      /^wolfpack: PostgreSQL did not start: .*No space left on device\.\s*$/,
    );
    await stack.startControlPlane();
    await stack.until("the host is back", async (api) => {
      return (await api.listWolves({})).body.every(({ connectivity }) => connectivity === "connected");
    });
    await everythingIsThere();
  }, 90_000);
});
