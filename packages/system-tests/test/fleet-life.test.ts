/** What happens to a fleet in its life, as real processes: crowds, outages, returns, slow and broken hosts, drains, cancelled creates. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { CallInput, CallReply, SessionStatus, WolfInstance } from "@wolfpack/api-contract";
import { lobbiesOn } from "../src/lobbies-on.ts";
import { Stack } from "../src/stack.ts";
import { WolfGate } from "./wolf-gate.ts";

type Session = CallReply<"getSession">["body"];
type CreateBody = CallInput<"createSession">["body"];

const names = ["gpu-1", "gpu-2", "gpu-3", "gpu-4"] as const;
type Name = (typeof names)[number];
const SLOTS = 25;
const ADDRESS = "192.0.2.7";
const SLOW_MS = 3000;
const STOP_TIMEOUT_MS = 2000;

const gates = Object.fromEntries(names.map((name) => [name, new WolfGate()])) as Record<Name, WolfGate>;
let stack: Stack;
let dataDir: string;
let crashes: string[];

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-life-"));
  crashes = [];
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: names.map((name) => ({
      name,
      gpu: "nvidia",
      maxSandboxes: SLOTS,
      between: gates[name].between,
      agentFlags: { "--label": "zone=a", ...(name === "gpu-4" && { "--address": ADDRESS }) },
    })),
    env: {
      WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: "1",
      WOLFPACK_LOBBY_GRACE_SECONDS: "0.5",
      // An agent that has just come waits for Wolf's events: what starts meanwhile is known to run by this alone.
      WOLFPACK_LOBBY_SETTLE_SECONDS: "2",
      WOLFPACK_SESSION_STOP_TIMEOUT_SECONDS: String(STOP_TIMEOUT_MS / 1000),
      WOLFPACK_CREATE_SLOW_SECONDS: String(SLOW_MS / 1000),
      WOLFPACK_FLAPS_MAX: "1000",
      WOLFPACK_USER_SESSIONS_MAX: "1000",
      WOLFPACK_USER_CREATES_PER_MINUTE: "10000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
    },
    say: () => undefined,
    onCrash: (name) => void crashes.push(name),
  });
}, 90_000);

afterEach(async () => {
  for (const gate of Object.values(gates)) gate.listener = () => undefined;
  const left = (await sessions()).filter(isLive);
  await Promise.all(left.map(({ id }) => stack.client().stopSession({ params: { id } })));
  await stack.until("nothing holds a slot and no Wolf of ours runs a lobby", async () => {
    const { body: wolves } = await stack.client().listWolves({});
    const lobbies = await Promise.all(names.map(lobbiesOf));
    return wolves.every((wolf) => wolf.connected_sandboxes === 0) && lobbies.flat().length === 0;
  });
}, 60_000);

afterAll(async () => {
  await stack.stop();
  await Promise.all(Object.values(gates).map((gate) => gate.close()));
  rmSync(dataDir, { recursive: true, force: true });
  expect(crashes).toEqual([]);
}, 60_000);

const isLive = ({ status }: Session) => status !== "stopped" && status !== "failed";
const lobbiesOf = (name: string) => lobbiesOn(stack.socketOf(name));
const logOf = (name: string) => readFileSync(path.join(stack.logFolder, `${name}.log`), "utf8");
const agentSays = (name: string, what: RegExp) => logOf(`${name}.agent`).match(what)?.length ?? 0;

async function wolf(name: string): Promise<WolfInstance> {
  const [found] = (await stack.client().listWolves({ query: { name } })).body;
  if (found === undefined) throw new Error(`there is no wolf ${name}`);
  return found;
}

async function session(id: string): Promise<Session> {
  return (await stack.client().getSession({ params: { id } })).body;
}

async function sessions(): Promise<Session[]> {
  const all: Session[] = [];
  for (let more = true; more; ) {
    const cursor = all.at(-1)?.id;
    const { body } = await stack.client().listSessions({ query: { limit: 200, ...(cursor && { cursor }) } });
    all.push(...body);
    more = body.length === 200;
  }
  return all;
}

async function create(body: CreateBody = {}): Promise<Session> {
  return (await stack.client().createSession({ body })).body;
}

const on = (...wolves: string[]): CreateBody => ({
  constraints: [{ attribute: "wolf:name", op: "in", values: wolves }],
});

const becomes = (id: string, status: SessionStatus, limitMs?: number) =>
  stack.until(`${id} is ${status}`, async () => (await session(id)).status === status, limitMs);

const wolfBecomes = (name: string, what: string, holds: (found: WolfInstance) => boolean) =>
  stack.until(`${name} ${what}`, async () => holds(await wolf(name)));

const isOnline = ({ status, reconciled }: WolfInstance) => status === "online" && reconciled === true;
const goesOffline = (name: string) => wolfBecomes(name, "is offline", ({ status }) => status === "offline");
const comesOnline = (name: string) => wolfBecomes(name, "is online", isOnline);

async function steer(
  name: string,
  how: "cordonWolf" | "uncordonWolf" | "readmitWolf" | "retireWolf",
): Promise<WolfInstance> {
  return (await stack.client()[how]({ params: { id: (await wolf(name)).id }, body: {} })).body;
}

/** Of a request that the typed client would not let pass. */
async function problemOf(body: unknown): Promise<Record<string, unknown>> {
  const reply = await fetch(`${stack.baseUrl}/api/v1/sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${stack.adminKey}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await reply.json()) as Record<string, unknown>;
}

describe("a crowd", () => {
  const USERS = 10;
  const CREATES = 1000;
  const FREED = 10;

  async function users(): Promise<ReturnType<Stack["client"]>[]> {
    const admin = stack.client();
    const made = Array.from({ length: USERS }, async (_, index) => {
      const { body: user } = await admin.createUser({ body: { name: `user-${index}` } });
      const { body: key } = await admin.createApiKey({ body: { name: "test", user_id: user.id } });
      return stack.client(key.key);
    });
    return Promise.all(made);
  }

  async function queue(): Promise<string[]> {
    return (await sessions()).filter(({ status }) => status === "queued").map(({ id }) => id);
  }

  /** The next ones, in their order. */
  async function next(limit: number): Promise<string[]> {
    return (await stack.client().listQueue({ query: { limit } })).body.map(({ session_id }) => session_id);
  }

  it("of 1,000 gets the 100 slots there are, once each; the rest waits in an order that outlives the control plane", async () => {
    const clients = await users();
    const made = await Promise.all(
      Array.from({ length: CREATES }, async (_, index) => {
        const client = clients[index % USERS] as (typeof clients)[number];
        return (await client.createSession({ body: { name: `crowd-${index}`, wait_seconds: 0 } })).body.id;
      }),
    );
    expect(new Set(made).size).toBe(CREATES);
    const isRunning = ({ status }: Session) => status === "running";
    const allRun = async () => (await sessions()).filter(isRunning).length === 100;
    // Beside other tests, a crowd takes its time.
    await stack.until("100 run", allRun, 120_000);
    const all = await sessions();
    expect(all.map(({ id }) => id).toSorted()).toEqual(made.toSorted());
    expect(all.filter(({ status }) => status === "queued")).toHaveLength(CREATES - 100);
    for (const name of names) {
      expect((await wolf(name)).connected_sandboxes).toBe(SLOTS);
      expect(await lobbiesOf(name)).toHaveLength(SLOTS);
    }

    const before = await next(200);
    await stack.killControlPlane();
    await stack.startControlPlane();
    expect(await next(200)).toEqual(before);
    expect(await queue()).toHaveLength(CREATES - 100);
    for (const name of names) await comesOnline(name);

    const freed = all.filter(isRunning).slice(0, FREED);
    await Promise.all(freed.map(({ id }) => stack.client().stopSession({ params: { id } })));
    const lucky = before.slice(0, FREED);
    await Promise.all(lucky.map((id) => becomes(id, "running")));
    expect(await next(200 - FREED)).toEqual(before.slice(FREED));
    expect(await queue()).toHaveLength(CREATES - 100 - FREED);
    expect((await Promise.all(names.map(lobbiesOf))).flat()).toHaveLength(100);

    const waiting = await queue();
    await Promise.all(waiting.map((id) => stack.client().stopSession({ params: { id } })));
    expect(await queue()).toEqual([]);
  }, 90_000);
});

describe("users who wait for the same slot", () => {
  it("take turns, also when it comes free once at a time", async () => {
    await stack.startHost({ name: "single", gpu: "amd", maxSandboxes: 1 });
    await comesOnline("single");
    const admin = stack.client();
    const { body: user } = await admin.createUser({ body: { name: "late-comer" } });
    const { body: key } = await admin.createApiKey({ body: { name: "test", user_id: user.id } });
    const wish: CreateBody = { gpu_type: "amd", wait_seconds: 0 };
    const mine: Session[] = [];
    for (let count = 0; count < 4; count += 1) mine.push(await create(wish));
    const { body: other } = await stack.client(key.key).createSession({ body: wish });
    const turns = [mine[0], mine[1], other, mine[2], mine[3]].map((one) => one?.id ?? "");
    const served: string[] = [];
    while (served.length < turns.length) {
      await stack.until("one of them runs", async () => {
        const running = (await sessions()).find(({ status }) => status === "running");
        if (running !== undefined) served.push(running.id);
        return running !== undefined;
      });
      await admin.stopSession({ params: { id: served.at(-1) ?? "" } });
    }
    expect(served).toEqual(turns);
    await stack.killAgent("single");
    await admin.deleteWolf({ params: { id: (await wolf("single")).id } });
  }, 60_000);
});

describe("an impossible wish", () => {
  it.each<[string, object, string, string[]]>([
    ["a GPU that nobody has", { gpu_type: "intel" }, "gpu_type", ["nvidia"]],
    ["a label that nobody has", { labels: { zone: "moon" } }, "labels", ["a"]],
    ["more memory than anybody has", { resources: { vram_mb: 4096 } }, "resources.vram_mb", ["0"]],
  ])("of %s is refused at once, with its field and what there is", async (_what, body, field, allowed) => {
    const problem = await problemOf(body);
    expect(problem).toMatchObject({ status: 422, type: expect.stringContaining("placement-impossible") });
    expect(problem.errors).toMatchObject([{ path: field, message: expect.any(String) }]);
    expect(Object.values(problem.allowed as object).flat()).toEqual(expect.arrayContaining(allowed));
  });

  it.each<[string, object, string]>([
    [
      "a contradiction",
      { labels: { zone: "a" }, constraints: [{ attribute: "zone", op: "not-in", values: ["a"] }] },
      "body.constraints.0",
    ],
    ["a negative number", { resources: { vram_mb: -1 } }, "body.resources.vram_mb"],
    ["an absurd number", { resources: { vram_mb: 1e15 } }, "body.resources.vram_mb"],
    ["half a number", { ttl_seconds: 60.5 }, "body.ttl_seconds"],
    ["an unknown policy", { policy: "best" }, "body.policy"],
    ["an unknown field", { gpu: "nvidia" }, "body.gpu"],
  ])("with %s is refused with its field", async (_what, body, field) => {
    const problem = await problemOf(body);
    expect(problem).toMatchObject({ status: 400, type: expect.stringContaining("invalid-request") });
    expect(problem.errors).toMatchObject([{ path: field }]);
  });
});

describe("a control plane that was away", () => {
  it("for longer than any grace loses no wolf and moves no session, and agents never stop trying", async () => {
    const made = await Promise.all(
      names.map((name) => create({ ...on(name), disconnect_policy: "replace" })),
    );
    const tries = (name: string) => agentSays(name, /"not connected"/g);
    const before = names.map(tries);
    const seen = (await stack.client().listEvents({ query: { newest_first: "true", limit: 1 } })).body[0]?.id;
    await stack.killControlPlane();
    const backedOff = () => names.every((name, index) => tries(name) >= (before[index] as number) + 5);
    const until = Date.now() + 30_000;
    while (!backedOff() && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(backedOff()).toBe(true);
    await stack.startControlPlane();
    for (const name of names) await comesOnline(name);
    for (const { id, lobby_id, wolf_instance_id } of made)
      expect(await session(id)).toMatchObject({ status: "running", lobby_id, wolf_instance_id });
    const { body: events } = await stack
      .client()
      .listEvents({ query: { limit: 200, ...(seen && { cursor: seen }) } });
    expect(events.filter(({ kind }) => kind.startsWith("session."))).toEqual([]);
    expect(events.filter(({ detail }) => JSON.stringify(detail).includes('"lost"'))).toEqual([]);
    expect((await stack.client().getFleet()).body).toMatchObject({ evictions_frozen: false });
  }, 60_000);
});

describe("a host that has died", () => {
  it("stays dead when a new host comes with its address", async () => {
    const { id } = await create(on("gpu-4"));
    const dead = await wolf("gpu-4");
    await stack.killAgent("gpu-4");
    await goesOffline("gpu-4");
    await stack.startHost({
      name: "heir",
      gpu: "nvidia",
      maxSandboxes: 1,
      agentFlags: { "--address": ADDRESS },
    });
    await comesOnline("heir");
    const heir = await wolf("heir");
    expect(heir).toMatchObject({ address: ADDRESS, connected_sandboxes: 0 });
    expect(heir.id).not.toBe(dead.id);
    expect(await wolf("gpu-4")).toMatchObject({
      id: dead.id,
      status: "offline",
      address: ADDRESS,
      tunnel: null,
    });
    expect(await session(id)).toMatchObject({ status: "lost", wolf_instance_id: dead.id });
    await stack.killAgent("heir");
    await stack.client().deleteWolf({ params: { id: heir.id } });
    await stack.startAgent("gpu-4");
    await becomes(id, "running");
  }, 60_000);

  it("returns to what each session's disconnect policy has made of it, and never to two copies", async () => {
    await steer("gpu-2", "cordonWolf");
    const wish = on("gpu-1", "gpu-2");
    const [keep, replace, stop] = await Promise.all(
      (["keep", "replace", "stop"] as const).map((disconnect_policy) =>
        create({ ...wish, disconnect_policy }),
      ),
    );
    await steer("gpu-2", "uncordonWolf");
    const ids = [keep, replace, stop].map((one) => (one as Session).id) as [string, string, string];
    const first = await wolf("gpu-1");
    await stack.killAgent("gpu-1");
    await becomes(ids[0], "lost");
    await stack.until("the replacement runs", async () => {
      const { status, wolf_instance_id } = await session(ids[1]);
      return status === "running" && wolf_instance_id !== first.id;
    });
    await becomes(ids[2], "stopped");
    expect((await session(ids[2])).stop_reason).toBe("wolf-lost");
    expect(await lobbiesOf("gpu-1")).toHaveLength(3);

    await stack.startAgent("gpu-1");
    await becomes(ids[0], "running");
    await stack.until("old copies are stopped", async () => (await lobbiesOf("gpu-1")).length === 1);
    expect(await lobbiesOf("gpu-1")).toMatchObject([{ id: keep?.lobby_id, name: ids[0] }]);
    expect(await lobbiesOf("gpu-2")).toMatchObject([{ id: (await session(ids[1])).lobby_id, name: ids[1] }]);
    expect((await wolf("gpu-1")).connected_sandboxes).toBe(1);
    expect(await create(on("gpu-1"))).toMatchObject({ status: "running", wolf_instance_id: first.id });
  }, 60_000);
});

describe("a session that is cancelled", () => {
  const cancel = async (id: string) => (await stack.client().stopSession({ params: { id } })).status;

  async function isGone(id: string, name: Name): Promise<void> {
    await becomes(id, "stopped", STOP_TIMEOUT_MS + 5000);
    await stack.until(`${name} is empty`, async () => {
      const { connected_sandboxes } = await wolf(name);
      return connected_sandboxes === 0 && (await lobbiesOf(name)).length === 0;
    });
  }

  it("in the queue has ended at once", async () => {
    await steer("gpu-4", "cordonWolf");
    const { id, status } = await create({ ...on("gpu-4"), wait_seconds: 0 });
    expect(status).toBe("queued");
    expect(await cancel(id)).toBe(204);
    expect(await session(id)).toMatchObject({ status: "stopped", stop_reason: "cancelled" });
    await steer("gpu-4", "uncordonWolf");
    await isGone(id, "gpu-4");
    expect(await session(id)).toMatchObject({ wolf_instance_id: null });
  });

  it("while its create is on the way to Wolf ends when Wolf has answered, with its lobby", async () => {
    const held = Promise.withResolvers<void>();
    gates["gpu-1"].listener = (step) => (step === "create asked" ? held.promise : undefined);
    const { id, status } = await create({ ...on("gpu-1"), wait_seconds: 0 });
    expect(status).toBe("placed");
    const cancelled = cancel(id);
    await becomes(id, "stopping");
    held.resolve();
    expect(await cancelled).toBe(204);
    await isGone(id, "gpu-1");
  });

  it("while Wolf does not answer its create gives its slot back in time, and its late lobby is stopped", async () => {
    const held = Promise.withResolvers<void>();
    gates["gpu-1"].listener = (step) => (step === "create asked" ? held.promise : undefined);
    const { id } = await create({ ...on("gpu-1"), wait_seconds: 0 });
    expect(await cancel(id)).toBe(204);
    expect((await wolf("gpu-1")).connected_sandboxes).toBe(0);
    held.resolve();
    const isStopped = (line: string) => line.includes('"action":"stopLobby"') && line.includes(id);
    await stack.until("the late lobby is there", async () =>
      logOf("control-plane").split("\n").some(isStopped),
    );
    await isGone(id, "gpu-1");
  }, 30_000);

  it("before its container starts takes its lobby with it", async () => {
    await stack.startHost({
      name: "late",
      gpu: "amd",
      maxSandboxes: 1,
      wolfFlags: ["--start-delay-ms", "60000"],
    });
    await comesOnline("late");
    const { id } = await create({ ...on("late"), wait_seconds: 0 });
    await becomes(id, "starting");
    expect(await cancel(id)).toBe(204);
    expect(await session(id)).toMatchObject({ status: "stopped", stop_reason: "requested" });
    expect(await lobbiesOf("late")).toEqual([]);
    await stack.killAgent("late");
    await stack.client().deleteWolf({ params: { id: (await wolf("late")).id } });
  }, 30_000);

  it("while it runs has ended with its answer", async () => {
    const { id, status } = await create(on("gpu-1"));
    expect(status).toBe("running");
    expect(await cancel(id)).toBe(204);
    expect((await wolf("gpu-1")).connected_sandboxes).toBe(0);
    expect(await lobbiesOf("gpu-1")).toEqual([]);
  });

  it("ends although its agent dies when Wolf has stopped it", async () => {
    const { id } = await create(on("gpu-1"));
    let dead: Promise<void> | undefined;
    gates["gpu-1"].listener = (step) => {
      if (step === "stop answered") dead ??= stack.killAgent("gpu-1");
    };
    expect(await cancel(id)).toBe(202);
    await dead;
    await isGone(id, "gpu-1");
    await stack.startAgent("gpu-1");
    await comesOnline("gpu-1");
    expect(await create(on("gpu-1"))).toMatchObject({ status: "running" });
  }, 30_000);
});

describe("a wolf with a fault", () => {
  it("that takes long for three creates in a row is left alone, until an operator lets it back", async () => {
    const timers: NodeJS.Timeout[] = [];
    const later = () => new Promise<void>((resolve) => timers.push(setTimeout(resolve, SLOW_MS + 300)));
    gates["gpu-3"].listener = (step) => (step === "create asked" ? later() : undefined);
    await Promise.all(Array.from({ length: 3 }, () => create(on("gpu-3"))));
    await wolfBecomes("gpu-3", "is quarantined", ({ quarantine }) => quarantine?.reason === "creates-slow");
    gates["gpu-3"].listener = () => undefined;
    const slow = await wolf("gpu-3");
    const others = await Promise.all(Array.from({ length: 8 }, () => create({ gpu_type: "nvidia" })));
    expect(others.filter(({ wolf_instance_id }) => wolf_instance_id === slow.id)).toEqual([]);
    for (const name of names.filter((one) => one !== "gpu-3"))
      expect((await wolf(name)).quarantine).toBeNull();
    await expect(create({ ...on("gpu-3"), queue: false })).rejects.toMatchObject({ code: "no-capacity" });
    expect((await steer("gpu-3", "readmitWolf")).quarantine).toBeNull();
    expect(await create(on("gpu-3"))).toMatchObject({ status: "running", wolf_instance_id: slow.id });
  }, 60_000);

  it("whose GPU shows nothing but zeros is degraded, and taken only when nothing else fits", async () => {
    const tool = path.join(stack.folderOf("gpu-2"), "nvidia-smi");
    await stack.killAgent("gpu-2");
    writeFileSync(tool, "#!/bin/sh\necho '00000000:01:00.0, NVIDIA L4, 570.1, 0, 0, 0, 0, 0'\n", {
      mode: 0o755,
    });
    await stack.startAgent("gpu-2");
    // Its agent says at once how it is; it takes sessions again once its sandboxes have been compared.
    await wolfBecomes(
      "gpu-2",
      "is degraded",
      ({ health_reasons, reconciled }) =>
        reconciled === true && health_reasons.some(({ code }) => code === "gpu-unknown"),
    );
    const { id: degraded } = await wolf("gpu-2");
    const wish = on("gpu-1", "gpu-2");
    // What placement sees may be a moment behind; a preview reads it anew.
    const { body: seen } = await stack.client().previewPlacement({ body: wish });
    expect(seen.explanation.ranked.map(({ tier }) => tier)).toEqual(["as-wished", "degraded"]);
    const made = await Promise.all(Array.from({ length: 4 }, () => create(wish)));
    expect(made.filter(({ wolf_instance_id }) => wolf_instance_id === degraded)).toEqual([]);
    await steer("gpu-1", "cordonWolf");
    await expect(create({ ...wish, allow_degraded: false, queue: false })).rejects.toMatchObject({
      code: "no-capacity",
    });
    expect(await create(wish)).toMatchObject({ status: "running", wolf_instance_id: degraded });
    await steer("gpu-1", "uncordonWolf");
    rmSync(tool);
    await stack.killAgent("gpu-2");
    await stack.startAgent("gpu-2");
    await comesOnline("gpu-2");
  }, 60_000);
});

describe("a host whose clock is off", () => {
  /** A file that moves the clock of a process. */
  function clockOff(minutes: number): Record<string, string> {
    const file = path.join(dataDir, `clock-${minutes}.cjs`);
    writeFileSync(
      file,
      `const True = Date;
const now = () => True.now() + ${minutes * 60_000};
globalThis.Date = class extends True {
  constructor(...given) { if (given.length > 0) super(...given); else super(now()); }
  static now() { return now(); }
};
`,
    );
    return { NODE_OPTIONS: `--require ${file}` };
  }

  it.each([60, -60])(
    "by %i minutes is told so and changes nothing",
    async (minutes) => {
      const { id, lobby_id } = await create(on("gpu-2"));
      const other = await create(on("gpu-1"));
      const told = () => agentSays("gpu-2", /the clocks differ too much: it is \S+ on this host and \S+ at/g);
      const before = told();
      await stack.killAgent("gpu-2");
      await stack.startAgent("gpu-2", clockOff(minutes));
      await stack.until("it is told twice", async () => told() >= before + 2);
      expect((await wolf("gpu-2")).tunnel).toBeNull();
      await stack.killAgent("gpu-2");
      await stack.startAgent("gpu-2");
      await becomes(id, "running");
      await comesOnline("gpu-2");
      expect((await session(id)).lobby_id).toBe(lobby_id);
      expect(await session(other.id)).toMatchObject({ status: "running", updated_at: other.updated_at });
    },
    60_000,
  );

  it.each([4, -4])(
    "by %i minutes counts by the control plane's clock alone",
    async (minutes) => {
      const { id, lobby_id } = await create(on("gpu-2"));
      const { tunnel } = await wolf("gpu-2");
      await stack.killAgent("gpu-2");
      await stack.startAgent("gpu-2", clockOff(minutes));
      await wolfBecomes("gpu-2", "is back", (found) => (found.tunnel?.epoch ?? 0) > (tunnel?.epoch ?? 0));
      const { last_heartbeat, tunnel: now } = await wolf("gpu-2");
      for (const at of [last_heartbeat, now?.since ?? null])
        expect(Math.abs(Date.parse(at ?? "") - Date.now())).toBeLessThan(60_000);
      await becomes(id, "running");
      expect((await session(id)).lobby_id).toBe(lobby_id);
      await stack.killAgent("gpu-2");
      await stack.startAgent("gpu-2");
      await wolfBecomes("gpu-2", "is back", (found) => (found.tunnel?.epoch ?? 0) > (now?.epoch ?? 0));
    },
    60_000,
  );
});

describe("an operator", () => {
  const intents = async () =>
    (await stack.client().listWolves({})).body.map(({ name, intent }) => [name, intent]);
  const drain = async (body: CallInput<"drainWolf">["body"]) =>
    (await stack.client().drainWolf({ params: { id: (await wolf("gpu-1")).id }, body })).body;

  it("drains the wolf that is named and no other, sees how far it is, and can undo it", async () => {
    await Promise.all([create(on("gpu-1")), create(on("gpu-1")), create(on("gpu-2"))]);
    expect(await drain({ reason: "a new driver" })).toMatchObject({
      intent: "draining",
      intent_reason: "a new driver",
      drain: { sessions_at_start: 2, sessions_left: 2 },
    });
    const named = await wolf("gpu-1");
    const [one] = (await sessions()).filter((found) => isLive(found) && found.wolf_instance_id === named.id);
    await stack.client().stopSession({ params: { id: one?.id ?? "" } });
    expect((await wolf("gpu-1")).drain).toMatchObject({ sessions_at_start: 2, sessions_left: 1 });
    expect((await intents()).filter(([, intent]) => intent !== "active")).toEqual([["gpu-1", "draining"]]);
    await expect(create({ ...on("gpu-1"), queue: false })).rejects.toMatchObject({ code: "no-capacity" });
    expect(await steer("gpu-1", "uncordonWolf")).toMatchObject({ intent: "active", drain: null });
    expect(await create(on("gpu-1"))).toMatchObject({ status: "running", wolf_instance_id: named.id });
  }, 30_000);

  it("drains by a deadline: what may be replaced moves, the rest is stopped, and the wolf's next intent comes", async () => {
    await steer("gpu-2", "cordonWolf");
    const wish = on("gpu-1", "gpu-2");
    const moving = await create({ ...wish, disconnect_policy: "replace" });
    const staying = await create({ ...wish, disconnect_policy: "keep" });
    await steer("gpu-2", "uncordonWolf");
    const second = await wolf("gpu-2");
    // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
    await drain({ deadline_seconds: 0, then: "retired" });
    await becomes(staying.id, "stopped");
    expect((await session(staying.id)).stop_reason).toBe("drained");
    await stack.until("the other has moved", async () => {
      const { status, wolf_instance_id } = await session(moving.id);
      return status === "running" && wolf_instance_id === second.id;
    });
    await wolfBecomes("gpu-1", "is retired", ({ intent }) => intent === "retired");
    expect((await intents()).filter(([, intent]) => intent !== "active")).toEqual([["gpu-1", "retired"]]);
    await stack.until("its old copy is gone", async () => (await lobbiesOf("gpu-1")).length === 0);
    expect((await lobbiesOf("gpu-2")).map(({ name }) => name)).toEqual([moving.id]);
    expect(await steer("gpu-1", "uncordonWolf")).toMatchObject({ intent: "active" });
  }, 30_000);

  it("cannot retire a wolf with a session, whatever else is empty", async () => {
    const { id } = await create(on("gpu-1"));
    await expect(steer("gpu-1", "retireWolf")).rejects.toMatchObject({
      status: 409,
      code: "wolf-has-sessions",
    });
    expect((await intents()).filter(([, intent]) => intent !== "active")).toEqual([]);
    expect(await session(id)).toMatchObject({ status: "running" });
    await stack.client().stopSession({ params: { id } });
    expect(await steer("gpu-1", "retireWolf")).toMatchObject({ intent: "retired" });
    expect(await steer("gpu-1", "uncordonWolf")).toMatchObject({ intent: "active" });
  });
});
