/**
 * What happens to the machines themselves, as real processes: wall clocks that jump, an agent that gets no time, a control plane
 * without file descriptors. No wolf is given up, no session ends.
 */
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { CallReply, WolfInstance } from "@wolfpack/api-contract";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { lobbiesOn } from "../../src/lobbies-on.ts";
import { Stack } from "../../src/stack.ts";
import { faketimeLibrary, setClock, withClockOf } from "./clocks.ts";

type Session = CallReply<"getSession">["body"];

const HOUR_S = 3600;
/** Descriptors of the control plane: what it keeps for itself, and some connections. */
const DESCRIPTORS = 96 + 40;
const names = ["steady", "jumpy"];

let postgres: EmbeddedPostgres;
let stack: Stack;
let dataDir: string;
let crashes: string[];
let sessions: Session[];
let planeClock: string;
let agentClock: string;
const log: string[] = [];

if (faketimeLibrary === undefined)
  process.stderr.write(
    "skipped: jumping clocks, for libfaketime is not installed (Debian: apt-get install libfaketime)\n",
  );
const withClocks = faketimeLibrary === undefined ? describe.skip : describe;

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-hosts-"));
  crashes = [];
  planeClock = path.join(dataDir, "plane-clock");
  agentClock = path.join(dataDir, "agent-clock");
  const fake = faketimeLibrary !== undefined;
  // Of its own: it is the control plane's clock that jumps, and its descriptors that run out.
  postgres = await startEmbeddedPostgres({ dataDir: path.join(dataDir, "database"), durable: false });
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: names.map((name) => ({
      name,
      gpu: "nvidia",
      maxSandboxes: 4,
      ...(fake && name === "jumpy" && { agentEnv: withClockOf(agentClock) }),
    })),
    through: ["/bin/sh", "-c", `ulimit -n ${DESCRIPTORS}; exec "$@"`, "limited"],
    env: {
      DATABASE_URL: postgres.url,
      API_KEY_SECRET: "x".repeat(32),
      HOST: "127.0.0.1",
      WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
      ...(fake && withClockOf(planeClock)),
    },
    onLogLine: (line) => void log.push(line),
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
  const create = async (name: string) => {
    const constraints = [{ attribute: "wolf:name", op: "in" as const, values: [name] }];
    // The strictest: it would move, or stop, at once if its wolf were taken for lost.
    return (await stack.client().createSession({ body: { constraints, disconnect_policy: "stop" } })).body;
  };
  sessions = await Promise.all(names.map(create));
}, 90_000);

afterAll(async () => {
  await stack.stop();
  await postgres.stop();
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

async function wolf(name: string): Promise<WolfInstance> {
  const [found] = (await stack.client().listWolves({ query: { name } })).body;
  if (found === undefined) throw new Error(`there is no wolf ${name}`);
  return found;
}

const newestEvent = async () =>
  (await stack.client().listEvents({ query: { newest_first: "true", limit: 1 } })).body[0]?.id ?? "";
/** Of wolves' connectivity, of sessions and of the fleet. */
async function changesBehind(cursor: string): Promise<string[]> {
  const { body } = await stack.client().listEvents({ query: { cursor, limit: 200 } });
  return body
    .filter(({ kind }) =>
      /^(session|placement|queue|fleet)\.|^wolf\.(connectivity|tunnel|quarantined)/.test(kind),
    )
    .map(({ kind, detail }) => `${kind} ${JSON.stringify(detail)}`);
}

async function everythingRuns(): Promise<void> {
  for (const { id, lobby_id, wolf_instance_id } of sessions) {
    const { body } = await stack.client().getSession({ params: { id } });
    expect(body).toMatchObject({ status: "running", reachable: true, lobby_id, wolf_instance_id });
    expect((await stack.client().getScreenshot({ params: { id } })).body.length).toBeGreaterThan(100);
  }
  for (const name of names) expect(await lobbiesOn(stack.socketOf(name))).toHaveLength(1);
}

const heartbeatOf = async (name: string) => Date.parse(String((await wolf(name)).last_heartbeat));

withClocks("a wall clock that jumps", () => {
  it.each([
    ["an hour ahead", HOUR_S],
    ["two hours back, which is an hour behind", -HOUR_S],
  ])(
    "of the control plane, %s, changes nothing",
    async (_what, seconds) => {
      const cursor = await newestEvent();
      setClock(planeClock, seconds);
      // Every period of a second has passed, and one of the heartbeats, which are written every 10 s, by the new clock.
      const isAround = (ms: number) => Math.abs(ms - (Date.now() + seconds * 1000)) < 60_000;
      await stack.until(
        "a heartbeat is written by the new clock",
        async () => isAround(await heartbeatOf("steady")),
        15_000,
      );
      expect(await changesBehind(cursor)).toEqual([]);
      await everythingRuns();
    },
    30_000,
  );

  it("of an agent, an hour ahead, changes nothing; it is refused with the time when it comes anew, and taken when its clock is right", async () => {
    const cursor = await newestEvent();
    setClock(planeClock, 0);
    setClock(agentClock, HOUR_S);
    await everythingRuns();
    expect(await changesBehind(cursor)).toEqual([]);
    await stack.killAgent("jumpy");
    await stack.startAgent("jumpy");
    const agentLog = () => readFileSync(path.join(stack.logFolder, "jumpy.agent.log"), "utf8");
    await stack.until("the agent says what is wrong", async () => /clock/i.test(agentLog()));
    setClock(agentClock, 0);
    await stack.until("it is back", async () => (await wolf("jumpy")).connectivity === "connected", 15_000);
    await stack.until("its session is reachable", async (api) => {
      const { body } = await api.getSession({ params: { id: sessions[1]?.id ?? "" } });
      return body.reachable;
    });
    await everythingRuns();
  }, 60_000);
});

/** The processes that were started with this word in their command. */
function pidOf(word: string, needle: string): number {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (
        words[0]?.endsWith("/node") &&
        words.some((one) => one.endsWith(word)) &&
        words.some((one) => one.includes(needle))
      )
        return Number(pid);
    } catch {
      // It has just ended.
    }
  }
  throw new Error(`no process ${word} ${needle}`);
}

describe("an agent on a starved host", () => {
  it("that gets no time for seconds keeps its tunnel and its session", async () => {
    const cursor = await newestEvent();
    const pid = pidOf("wolf-revdial-client.mjs", stack.folderOf("steady"));
    process.kill(pid, "SIGSTOP");
    try {
      // What waits for it waits: the answer comes when it has time again.
      const waiting = stack.client().getScreenshot({ params: { id: sessions[0]?.id ?? "" } });
      await new Promise((resolve) => setTimeout(resolve, 4000));
      process.kill(pid, "SIGCONT");
      expect((await waiting).body.length).toBeGreaterThan(100);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    expect(await changesBehind(cursor)).toEqual([]);
    await everythingRuns();
  }, 30_000);
});

describe("a control plane without file descriptors", () => {
  it("refuses newcomers and says so, keeps its tunnels, and takes newcomers when there is room again", async () => {
    const cursor = await newestEvent();
    const { port } = new URL(stack.baseUrl);
    const held: Socket[] = [];
    let refused = 0;
    for (let count = 0; count < DESCRIPTORS; count += 1) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.once("close", () => {
        refused += 1;
      });
      held.push(socket);
    }
    await Promise.all(held.map((socket) => once(socket, "connect").catch(() => undefined)));
    const said = () => log.filter((line) => line.includes("no file descriptor is left"));
    const limit = Date.now() + 10_000;
    while ((refused === 0 || said().length === 0) && Date.now() < limit)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(refused).toBeGreaterThan(0);
    expect(said()[0]).toContain('"level":50');
    const late = connect(Number(port), "127.0.0.1");
    held.push(late);
    late.on("error", () => undefined);
    await once(late, "close");
    for (const socket of held) socket.destroy();
    await stack.until("it takes newcomers again", async (api) => (await api.listWolves({})).status === 200);
    expect(await changesBehind(cursor)).toEqual([]);
    for (const name of names) expect(await wolf(name)).toMatchObject({ connectivity: "connected" });
    await everythingRuns();
    // The own files of the process were never in danger.
    expect(log.filter((line) => line.includes("EMFILE"))).toEqual([]);
  }, 30_000);
});
