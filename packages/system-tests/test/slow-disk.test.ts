/** The disk of `.data/` takes a second for whatever it has to keep, under a control plane with its own PostgreSQL: real processes, held up by strace. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Stack } from "../src/stack.ts";
import { call as ask, runningSession } from "./outage-calls.ts";

const SYNC_MICROSECONDS = 1_000_000;
const WRITES = 8;
const WRITERS = 3;
const delayed = [
  "-f",
  "-e",
  "trace=fsync,fdatasync",
  "-e",
  `inject=fsync,fdatasync:delay_enter=${SYNC_MICROSECONDS}`,
];

const cannot = held();
/** Why no program can be held up here. */
function held(): string | undefined {
  const { status, error, stderr } = spawnSync("strace", [...delayed, "-o", "/dev/null", "true"], {
    encoding: "utf8",
  });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}
if (cannot !== undefined) console.warn(`skipped: a slow disk, for strace cannot make one here: ${cannot}`);
const describeSlow = cannot === undefined ? describe : describe.skip;

let dataDir: string;
let stack: Stack;
let strace: ChildProcess | undefined;
const ends: string[] = [];

beforeAll(async () => {
  if (cannot !== undefined) return;
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-slow-"));
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [{ name: "gpu-1", gpu: "nvidia", maxSandboxes: 10 }],
    env: { HOST: "127.0.0.1" },
    say: () => undefined,
    onCrash: (name, code) => void ends.push(`${name} ${code}`),
  });
}, 90_000);

afterAll(async () => {
  await quick();
  await stack?.stop();
  if (cannot === undefined) rmSync(dataDir, { recursive: true, force: true });
}, 60_000);

const log = () => path.join(dataDir, "strace.log");

/** The postmaster first. */
function processesOfPostgres(): string[] {
  const [postmaster = ""] = readFileSync(path.join(dataDir, "postgres", "postmaster.pid"), "utf8").split(
    "\n",
    1,
  );
  const isChild = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1] === postmaster;
    } catch {
      return false;
    }
  };
  return [postmaster, ...readdirSync("/proc").filter((name) => /^\d+$/.test(name) && isChild(name))];
}

/** From now on, also for connections that are new. */
async function slow(): Promise<void> {
  const pids = processesOfPostgres();
  const child = spawn("strace", [...delayed, "-o", log(), ...pids.flatMap((pid) => ["-p", pid])], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  strace = child;
  const attached = new Promise<void>((resolve) => {
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk;
      if (said.split(" attached").length > pids.length) resolve();
    });
  });
  await Promise.race([
    attached,
    once(child, "exit").then(() => Promise.reject(new Error("strace has ended"))),
  ]);
}

async function quick(): Promise<void> {
  const child = strace;
  strace = undefined;
  if (child === undefined || child.exitCode !== null) return;
  child.kill("SIGINT");
  await once(child, "exit");
}

const call = (method: string, route: string, body?: object) => ask(stack, method, route, body);

describeSlow(`a slow disk under .data/${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  it("makes writes late and nobody lost: tunnel and session stay, and what was acknowledged is there", async () => {
    const id = await runningSession(stack);
    const epoch = (await stack.client().listWolves({})).body[0]?.tunnel?.epoch;
    await slow();
    const acknowledged: string[] = [];
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        for (let n = 0; n < WRITES; n += 1) {
          const answer = await call("POST", "/users", { name: `user-${writer}-${n}`, role: "user" });
          if (answer.status === 201) acknowledged.push(answer.body.id);
          else
            expect([answer.status, answer.body.code, answer.headers.has("retry-after")]).toEqual([
              503,
              "database-unavailable",
              true,
            ]);
          // Past the disk, and past the database.
          expect((await call("GET", "/wolf-instances")).status).toBe(200);
          const shot = await stack.client().getScreenshot({ params: { id } });
          expect(shot.body.length).toBeGreaterThan(100);
        }
      }),
    );
    expect((await stack.client().listWolves({})).body[0]).toMatchObject({
      connectivity: "connected",
      tunnel: { epoch },
    });
    const later = await stack.client().createSession({ body: { wait_seconds: 20 } });
    expect((await fetch(`${stack.baseUrl}/readyz`)).status).toBe(200);
    await quick();
    expect(readFileSync(log(), "utf8").split("(DELAYED)").length).toBeGreaterThan(WRITES);
    expect(acknowledged.length).toBeGreaterThan(0);
    await stack.until("the session made meanwhile runs", async (api) => {
      return (await api.getSession({ params: { id: later.body.id } })).body.status === "running";
    });
    const { body: users } = await stack.client().listUsers({ query: { limit: 200 } });
    expect(acknowledged.filter((id) => !users.some((user) => user.id === id))).toEqual([]);
    expect((await stack.client().getSession({ params: { id } })).body.status).toBe("running");
    expect(ends).toEqual([]);
  }, 240_000);
});
