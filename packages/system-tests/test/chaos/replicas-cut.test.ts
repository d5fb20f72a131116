/**
 * Replicas between which packets vanish, both ways and one way only, while all of them have their database, their agents and their users:
 * what one asks another fails in time and claims nothing that is not so, nobody's tunnel or session is touched, and afterwards all goes on.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Session, WolfInstance } from "@wolfpack/api-contract";
import { lobbiesOn } from "../../src/lobbies-on.ts";
import { Stack } from "../../src/stack.ts";
import { type Answer, call } from "../outage-calls.ts";
import { CutReplicas } from "./cut-replicas.ts";
import { type Direction, whyNoLink } from "./namespace.ts";

/** As the first replica sees it: towards the other one, or from there. */
const cuts: readonly [name: string, directions: readonly Direction[]][] = [
  ["both-ways", ["inward", "outward"]],
  ["to-other", ["inward"]],
  ["from-other", ["outward"]],
];
const names = cuts.map(([name]) => name);
/** Of the first replica. */
const FIRST = "first";
/** A screen's answer has 15 s, whoever is asked for it, and the machine has other things to do. */
const ANSWERED_WITHIN_MS = 18_000;
/** Where no connection can be made it is tried twice, for 3 s each. */
const UNREACHABLE_WITHIN_MS = 8000;
/** Connections from the first replica to each other one when packets begin to vanish: what is asked then is sent, as far as it knows. */
const WARM = 6;
/** Where packets vanish, the sending side of a connection that was not given up would go on trying. */
const KERNEL_TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];

interface Asked extends Answer {
  tookMs: number;
}

async function timed(ask: () => Promise<Answer>): Promise<Asked> {
  const begun = performance.now();
  const answer = await ask();
  return { ...answer, tookMs: performance.now() - begun };
}

/** Connections to this address and port of ours, or from here to there, with bytes that are still to be delivered. */
function unsent(address: string, port: number): string[] {
  const hex = address
    .split(".")
    .reverse()
    .map((part) => Number(part).toString(16).padStart(2, "0"))
    .join("")
    .toUpperCase();
  const far = `${hex}:${port.toString(16).padStart(4, "0").toUpperCase()}`;
  const rows = KERNEL_TABLES.flatMap((file) => readFileSync(file, "utf8").split("\n").slice(1));
  return rows.filter((row) => {
    const [, , remote = "", , queues = "0:0"] = row.trim().split(/\s+/);
    return remote.endsWith(far) && Number.parseInt(queues.split(":")[0] ?? "0", 16) > 0;
  });
}

const why = whyNoLink();
if (why !== undefined)
  process.stderr.write(
    `skipped: replicas that do not reach each other, for no link can be cut here: ${why}\n`,
  );
const withLinks = why === undefined ? describe : describe.skip;

withLinks("replicas between which packets vanish", () => {
  const sessions = new Map<string, Session>();
  const before = new Map<string, WolfInstance>();
  /** Through the first replica, of the other one's wolf. */
  const written = new Map<string, Asked>();
  const looked = new Map<string, Asked>();
  const started = new Map<string, Asked>();
  /** Through the other replica, which has no connection yet, of the first one's wolf. */
  const back = new Map<string, Asked>();
  /** What each says of its own meanwhile. */
  const own: Answer[] = [];
  /** What its clipboard had after all of that, as its own replica says. */
  const clipboards = new Map<string, string>();
  let left: string[];
  let cursor: string;
  let set: CutReplicas;
  let stack: Stack;
  let dataDir: string;
  let crashes: string[];

  const at = (name: string) => ({
    baseUrl: name === FIRST ? set.first.baseUrl : set.of(name).baseUrl,
    adminKey: set.adminKey,
  });
  const wolf = async (name: string): Promise<WolfInstance> => {
    const [found] = (await set.client().listWolves({ query: { name } })).body;
    if (found === undefined) throw new Error(`there is no wolf ${name}`);
    return found;
  };
  const idOf = (name: string) => sessions.get(name)?.id ?? "";
  const screen = (through: string, of: string) =>
    timed(() => call(at(through), "GET", `/sessions/${idOf(of)}/screenshot`));
  const write = (through: string, of: string, text: string) =>
    timed(() => call(at(through), "POST", `/sessions/${idOf(of)}/clipboard`, { text }));
  const clipboardOf = async (name: string) =>
    (await set.client(at(name)).getClipboard({ params: { id: idOf(name) } })).body.text;
  const on = (name: string) => [{ attribute: "wolf:name", op: "in" as const, values: [name] }];

  beforeAll(async () => {
    dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-replicas-cut-"));
    crashes = [];
    set = await CutReplicas.start({
      dataDir,
      names,
      env: {
        WOLFPACK_REPLICA_LEASE_SECONDS: "4",
        WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
        WOLFPACK_LOBBY_GRACE_SECONDS: "1",
        WOLFPACK_RECONCILE_INTERVAL_SECONDS: "2",
        WOLFPACK_SESSION_START_TIMEOUT_SECONDS: "8",
      },
    });
    stack = await Stack.start({
      dataDir,
      port: 0,
      at: at(FIRST),
      hosts: [],
      say: () => undefined,
      onCrash: (name) => void crashes.push(name),
    });
    for (const name of [FIRST, ...names]) {
      await stack.startHost({ name, gpu: "nvidia", maxSandboxes: 4, apiUrl: at(name).baseUrl });
      await stack.until(`${name} is taken in`, async () => (await wolf(name)).reconciled === true);
      before.set(name, await wolf(name));
      // The strictest: it would be stopped if its wolf were taken for lost.
      const body = { constraints: on(name), disconnect_policy: "stop" as const, wait_seconds: 20 };
      sessions.set(name, (await set.client().createSession({ body })).body);
    }
    for (const name of names) {
      const warm = Array.from({ length: WARM }, () => screen(FIRST, name));
      for (const { status } of await Promise.all(warm)) expect(status).toBe(200);
      expect((await write(name, name, "before")).status).toBeLessThan(300);
    }
    const { body: newest } = await set.client().listEvents({ query: { newest_first: "true", limit: 1 } });
    cursor = newest[0]?.id ?? "";

    for (const [name, directions] of cuts) set.of(name).between.drop(directions);
    await Promise.all(
      names.flatMap((name) => {
        const body = { name: `during ${name}`, constraints: on(name), wait_seconds: 0 };
        return [
          write(FIRST, name, "during").then((answer) => written.set(name, answer)),
          screen(FIRST, name).then((answer) => looked.set(name, answer)),
          timed(() => call(at(FIRST), "POST", "/sessions", body)).then((answer) => started.set(name, answer)),
          screen(name, FIRST).then((answer) => back.set(name, answer)),
          screen(name, name).then((answer) => own.push(answer)),
          screen(FIRST, FIRST).then((answer) => own.push(answer)),
        ];
      }),
    );
    // What is created for a session that was wished may take its time; nothing else is under way.
    await stack.until("no session is being started any more", async (api) => {
      const { body } = await api.listSessions({ query: { limit: 200 } });
      return body.every(({ status }) => status === "running" || status === "failed");
    });
    for (const name of names)
      await stack.until(`${name} runs what it is to run`, async () => {
        return (await lobbiesOn(stack.socketOf(name))).map((lobby) => lobby.name).join() === idOf(name);
      });
    const times = (answers: Map<string, Asked>) =>
      [...answers.values()].map(({ tookMs }) => (tookMs / 1000).toFixed(1)).join(", ");
    process.stderr.write(
      `cut between replicas: sent and not answered after ${times(written)} s, not reached after ${times(back)} s\n`,
    );
    left = names.flatMap((name) => unsent(set.of(name).between.far, set.of(name).port));

    for (const name of names) set.of(name).between.heal();
    for (const name of names) clipboards.set(name, await clipboardOf(name));
  }, 150_000);

  afterAll(async () => {
    await stack?.stop();
    await set?.stop();
    rmSync(dataDir, { recursive: true, force: true });
    expect(crashes).toEqual([]);
  }, 60_000);

  it.each(names)("say in time that a screen of the other one's wolf has not come (%s)", (name) => {
    const { status, body, tookMs } = looked.get(name) as Asked;
    expect([status, body.code]).toEqual([504, "wolf-timeout"]);
    expect(tookMs).toBeLessThan(ANSWERED_WITHIN_MS);
  });

  it.each(names)(
    "say sooner that the wolf is not reached, where they make a connection first (%s)",
    (name) => {
      const { status, body, tookMs } = back.get(name) as Asked;
      expect([status, body.code]).toEqual([503, "wolf-unreachable"]);
      expect(tookMs).toBeLessThan(UNREACHABLE_WITHIN_MS);
    },
  );

  it.each(names)(
    "say of a change that was sent that it had no answer, and not that it was not made (%s)",
    (name) => {
      const { status, body, tookMs } = written.get(name) as Asked;
      expect([status, body.code]).toEqual([504, "wolf-timeout"]);
      expect(tookMs).toBeLessThan(ANSWERED_WITHIN_MS);
      // Only where the answer alone vanished was it made.
      expect(clipboards.get(name)).toBe(name === "from-other" ? "during" : "before");
    },
  );

  it("leave nothing in the kernel that would arrive when packets come again", () => {
    expect(left).toEqual([]);
  });

  it.each(names)("say that a session had no answer, and leave no sandbox of it (%s)", async (name) => {
    const { status, body } = started.get(name) as Asked;
    expect(status).toBe(201);
    const { body: session } = await set.client().getSession({ params: { id: body.id } });
    expect(session).toMatchObject({ status: "failed", failure: { code: "wolf-timeout" } });
    // Where it was heard of it was made, and stopped by who heard of it, which did not need the first replica for that.
    const said = readFileSync(path.join(stack.logFolder, `replica-${name}.log`), "utf8").split("\n");
    const stops = said.filter((line) => line.includes('"stopLobby"') && line.includes(body.id));
    expect(stops).toHaveLength(name === "from-other" ? 1 : 0);
  });

  it("serve their own wolves meanwhile", () => {
    expect(own.map(({ status }) => status)).toEqual(own.map(() => 200));
  });

  it.each([FIRST, ...names])("keep tunnel and session (%s)", async (name) => {
    const { tunnel, connectivity } = await wolf(name);
    expect(connectivity).toBe("connected");
    expect(tunnel).toMatchObject({
      replica: before.get(name)?.tunnel?.replica,
      epoch: before.get(name)?.tunnel?.epoch,
    });
    const { id, lobby_id, started_at } = sessions.get(name) as Session;
    const { body } = await set.client().getSession({ params: { id } });
    expect(body).toMatchObject({ status: "running", attempts: 1, lobby_id, started_at });
  });

  it("take nobody for gone: who lives says the database", async () => {
    const { body: list } = await set.client().call("listReplicas");
    expect(list).toHaveLength(1 + names.length);
    const { body } = await set.client().listEvents({ query: { cursor, limit: 200 } });
    expect(body.filter(({ kind }) => kind.startsWith("wolf.connectivity"))).toEqual([]);
  });

  it.each(names)("ask each other again as ever afterwards, without a restart (%s)", async (name) => {
    expect((await screen(FIRST, name)).status).toBe(200);
    expect((await screen(name, FIRST)).status).toBe(200);
    expect((await write(FIRST, name, "after")).status).toBeLessThan(300);
    expect(await clipboardOf(name)).toBe("after");
    const body = { constraints: on(name), wait_seconds: 20 };
    expect((await set.client().createSession({ body })).body.status).toBe("running");
  });
});
