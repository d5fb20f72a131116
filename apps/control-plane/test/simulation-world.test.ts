/** The simulated world itself: time, processes that die and stand still, tunnels on bad paths, Wolfs that keep no promise. */
import { describe, expect, it } from "@jest/globals";
import type { TunnelEnd } from "revdial";
import type { Session } from "../src/sessions/session-store.ts";
import { lobbyRequest } from "../src/sessions/session-tag.ts";
import { Database, DatabaseGone } from "./simulation/database.ts";
import { Dice } from "./simulation/dice.ts";
import { type AgentSide, Path, SimTunnel } from "./simulation/network.ts";
import { planOf } from "./simulation/plan.ts";
import { Process } from "./simulation/process.ts";
import { Timeline } from "./simulation/timeline.ts";
import { type SimLobby, SimWolf, type Temper, type WolfReply } from "./simulation/wolf.ts";
import { settle, World } from "./simulation/world.ts";

/** Runs what is due until then, each event with all that follows from it. */
async function pass(world: World, ms: number): Promise<void> {
  const untilMs = world.nowMs + ms;
  while (world.timeline.step(untilMs)) await settle();
}

describe("time", () => {
  it("runs events by their moments, and in the order of their making where these are equal", () => {
    const timeline = new Timeline();
    const ran: string[] = [];
    for (const [name, ms] of [
      ["c", 5],
      ["a", 1],
      ["d", 5],
      ["b", 1],
    ] as const)
      timeline.after(ms, () => ran.push(name));
    while (timeline.step(10));
    expect([ran.join(""), timeline.nowMs]).toEqual(["abcd", 10]);
  });

  it("runs every event once and none that was cancelled, however many there are", () => {
    const timeline = new Timeline();
    const dice = new Dice(1);
    const due: number[] = [];
    for (let index = 0; index < 20_000; index += 1) {
      const planned = timeline.after(dice.int(0, 1000), () => void due.push(timeline.nowMs));
      if (index % 4 !== 0) planned.cancel();
    }
    expect(timeline.pending).toBe(5000);
    while (timeline.step(1000));
    expect(due).toHaveLength(5000);
    expect(due).toEqual(due.toSorted((a, b) => a - b));
  });

  it("does not go back, and does not pass what it is told to stop at", () => {
    const timeline = new Timeline();
    let ran = false;
    timeline.after(100, () => {
      ran = true;
    });
    expect(timeline.step(99)).toBe(false);
    expect([ran, timeline.nowMs]).toEqual([false, 99]);
    timeline.after(-50, () => undefined);
    expect(timeline.step(99)).toBe(true);
    expect(timeline.nowMs).toBe(99);
  });
});

describe("a process", () => {
  it("hears nothing and does nothing once it is dead", async () => {
    const world = new World();
    const process = new Process(world);
    const ran: string[] = [];
    process.after(10, () => ran.push("timer"));
    process.kill();
    process.enter(() => ran.push("message"));
    await pass(world, 100);
    expect(ran).toEqual([]);
  });

  it("that was stopped hears everything late, in its order", async () => {
    const world = new World();
    const process = new Process(world);
    const ran: [string, number][] = [];
    const note = (name: string) => () => void ran.push([name, world.nowMs]);
    process.after(10, note("timer"));
    process.pause();
    await pass(world, 50);
    process.enter(note("message"));
    const given = process.after(20, note("cancelled"));
    await pass(world, 50);
    given.cancel();
    process.resume();
    await pass(world, 1);
    expect(ran).toEqual([
      ["timer", 100],
      ["message", 100],
    ]);
  });

  it("may have a clock that is wrong, and timers that are right", async () => {
    const world = new World();
    const process = new Process(world, 60_000);
    const before = process.clock.now().getTime();
    let at = 0;
    process.clock.setTimer(1000, () => {
      at = process.clock.now().getTime();
    });
    process.aheadMs += 5000;
    await pass(world, 1000);
    expect([world.nowMs, at - before]).toEqual([1000, 6000]);
  });
});

/** One tunnel on one path; its agent answers every request. */
function tunnelOn(world: World) {
  const path = new Path(new Dice(1), [5, 5]);
  const replica = new Process(world);
  const ends: TunnelEnd[] = [];
  const asked: string[] = [];
  const agent: AgentSide = {
    process: new Process(world),
    incarnation: 1n,
    ask(request, reply) {
      asked.push(request.kind);
      reply({ ok: true, lobbies: [] });
    },
    goingAway: () => undefined,
    ended: (_, end) => void ends.push(end),
  };
  const tunnel = new SimTunnel(world, path, replica, agent);
  tunnel.offer(() => undefined);
  let closed: TunnelEnd | undefined;
  void tunnel.closed.then((end) => {
    closed = end;
  });
  return { path, replica, agent, tunnel, ends, asked, closed: () => closed };
}

describe("a tunnel", () => {
  it("carries a request and its answer, each with the path's delay", async () => {
    const world = new World();
    const { tunnel, asked } = tunnelOn(world);
    await pass(world, 100);
    const call = tunnel.call({ kind: "list" }, 15_000);
    await pass(world, 10);
    expect([asked, await call]).toEqual([["list"], { ok: true, lobbies: [] }]);
    expect(tunnel.works).toBe(true);
  });

  it("gives up a peer that it has not heard of for 14.5 s, on either side", async () => {
    const world = new World();
    const { path, tunnel, ends, closed } = tunnelOn(world);
    await pass(world, 100);
    path.set({ up: false, down: false });
    await pass(world, 14_499);
    expect([closed(), ends]).toEqual([undefined, []]);
    await pass(world, 1);
    expect([closed()?.code, ends[0]?.code]).toEqual(["DEAD_PEER", "DEAD_PEER"]);
    expect(tunnel.works).toBe(false);
  });

  it("outlives a shorter cut: what was sent meanwhile arrives", async () => {
    const world = new World();
    const { path, tunnel, asked, closed } = tunnelOn(world);
    await pass(world, 100);
    path.set({ up: false, down: false });
    const call = tunnel.call({ kind: "list" }, 60_000);
    await pass(world, 14_000);
    expect(asked).toEqual([]);
    path.set({ up: true, down: true });
    await pass(world, 60_000);
    expect([asked, await call, closed()]).toEqual([["list"], { ok: true, lobbies: [] }, undefined]);
  });

  it("on a path that carries one way: the request arrives, its answer does not, and nobody knows what was done", async () => {
    const world = new World();
    const { path, tunnel, asked } = tunnelOn(world);
    await pass(world, 100);
    path.set({ up: false });
    const failed = expect(tunnel.call({ kind: "list" }, 60_000)).rejects.toMatchObject({ mayHaveRun: true });
    await pass(world, 14_500);
    await failed;
    expect(asked).toEqual(["list"]);
  });

  it("that is muted stays, and lets every request wait for its deadline", async () => {
    const world = new World();
    const { path, tunnel, closed } = tunnelOn(world);
    await pass(world, 100);
    path.muted = true;
    const failed = expect(tunnel.call({ kind: "list" }, 15_000)).rejects.toMatchObject({
      code: "WOLF_TIMEOUT",
    });
    await pass(world, 60_000);
    await failed;
    expect(closed()).toBeUndefined();
  });

  it("of a process that was killed ends at once for the other, and after 14.5 s when its host is gone", async () => {
    for (const [told, ms] of [
      [true, 5],
      [false, 14_500],
    ] as const) {
      const world = new World();
      const { agent, tunnel, closed } = tunnelOn(world);
      await pass(world, 100);
      agent.process.kill();
      tunnel.died("agent", told);
      await pass(world, ms - 1);
      expect(closed()).toBeUndefined();
      await pass(world, 1);
      expect(closed()).toBeDefined();
    }
  });

  it("that nobody takes is given up, and was never reached", async () => {
    const world = new World();
    const { path, replica, agent } = tunnelOn(world);
    path.set({ down: false });
    const tunnel = new SimTunnel(world, path, replica, agent);
    let taken = false;
    tunnel.offer(() => {
      taken = true;
    });
    const reached = expect(tunnel.reached).rejects.toThrow("pings");
    await pass(world, 14_500);
    await reached;
    expect(taken).toBe(false);
  });

  it("takes no request while it drains, and ends when those in flight have", async () => {
    const world = new World();
    const { tunnel, closed } = tunnelOn(world);
    await pass(world, 100);
    const call = tunnel.call({ kind: "list" }, 15_000);
    void tunnel.close({ retryAfterMs: 7 });
    await expect(tunnel.call({ kind: "list" }, 15_000)).rejects.toMatchObject({ mayHaveRun: false });
    expect(closed()).toBeUndefined();
    await pass(world, 10);
    expect([await call, closed()?.code]).toEqual([{ ok: true, lobbies: [] }, "DRAINING"]);
  });
});

describe("the database", () => {
  const store = { count: 0, add: async (): Promise<number> => ++store.count };
  const connect = (world: World, temper: Partial<Database["temper"]>) => {
    store.count = 0;
    const database = new Database({
      world,
      dice: new Dice(1),
      temper: { latencyMs: [5, 5], failsBefore: 0, failsAfter: 0, slow: 0, slowMs: [1, 1], ...temper },
      hooks: { done: () => undefined, step: () => undefined },
    });
    const process = new Process(world);
    return { database, process, seen: database.connect(store, process) };
  };

  it("fails before or after what it was asked to do", async () => {
    for (const [temper, count] of [
      [{ failsBefore: 1 }, 0],
      [{ failsAfter: 1 }, 1],
    ] as const) {
      const world = new World();
      const failed = expect(connect(world, temper).seen.add()).rejects.toThrow(DatabaseGone);
      await pass(world, 10);
      await failed;
      expect(store.count).toBe(count);
    }
  });

  it("does nothing while it is gone", async () => {
    const world = new World();
    const { database, seen } = connect(world, {});
    database.up = false;
    const failed = expect(seen.add()).rejects.toThrow("not done");
    await pass(world, 10);
    await failed;
    expect(store.count).toBe(0);
  });

  it("may or may not do what a process has asked for before it died, and tells it nothing", async () => {
    const world = new World();
    const { process, seen } = connect(world, {});
    let answers = 0;
    for (let at = 0; at < 100; at += 1) void seen.add().then(() => (answers += 1));
    process.kill();
    await pass(world, 100);
    expect(answers).toBe(0);
    expect(store.count).toBeGreaterThan(20);
    expect(store.count).toBeLessThan(80);
  });
});

describe("a Wolf", () => {
  const temper: Temper = {
    createMs: [1000, 1000],
    answerMs: [1, 1],
    refused: 0,
    refusedButMade: 0,
    vanishing: 0,
    listedEarly: 0,
    silentEnds: 0,
    sandboxLifeMs: Number.POSITIVE_INFINITY,
    connectedMs: 60_000,
  };
  const session = {
    id: "ses_01KB00000000000000000000AA",
    pin: "1234",
    spec: { image: "desktop", resolution: { width: 1920, height: 1080, refresh_rate: 60 } },
  } as Session;

  function aWolf(changes: Partial<Temper> = {}) {
    const world = new World();
    const lobbies = new Set<SimLobby>();
    const stops: boolean[] = [];
    const wolf = new SimWolf({
      id: "wlf_1",
      number: 1,
      world,
      dice: new Dice(3),
      temper: { ...temper, ...changes },
      witness: {
        appeared: (lobby) => void lobbies.add(lobby),
        gone: (lobby) => void lobbies.delete(lobby),
        stopAsked: (_, pinFits) => void stops.push(pinFits),
      },
    });
    const events: string[] = [];
    wolf.onEvent = (event) => void events.push(event.split("::").at(-1) ?? event);
    const ask = async (request: Parameters<SimWolf["ask"]>[0], ms: number) => {
      const replies: WolfReply[] = [];
      wolf.ask(request, (reply) => void replies.push(reply));
      await pass(world, ms);
      return replies;
    };
    const create = (ms: number) => ask({ kind: "create", body: lobbyRequest(session, "software") }, ms);
    return { world, wolf, lobbies, stops, events, ask, create };
  }

  it("makes a second lobby for a request that is repeated", async () => {
    const { lobbies, create } = aWolf();
    await create(2000);
    await create(2000);
    expect([...lobbies].map(({ tag }) => tag)).toEqual([session.id, session.id]);
  });

  it("stops a lobby with its PIN only", async () => {
    const { ask, create, lobbies, stops } = aWolf();
    const [created] = await create(2000);
    const lobbyId = created !== undefined && "lobbyId" in created ? created.lobbyId : "";
    const [without] = await ask({ kind: "stop", lobbyId, pin: undefined }, 10);
    expect(without).toMatchObject({ ok: false, words: "Invalid PIN" });
    expect(await ask({ kind: "stop", lobbyId, pin: [1, 2, 3, 4] }, 10)).toEqual([{ ok: true }]);
    expect([lobbies.size, stops]).toEqual([0, [false, true]]);
    const [again] = await ask({ kind: "stop", lobbyId, pin: [1, 2, 3, 4] }, 10);
    expect(again).toMatchObject({ words: "Invalid lobby ID" });
  });

  it("gives up after 20 s on a lobby that comes up all the same", async () => {
    const { create, lobbies, world } = aWolf({ createMs: [60_000, 60_000] });
    expect(await create(21_000)).toMatchObject([{ ok: false, words: "Lobby setup timed out" }]);
    expect(lobbies.size).toBe(0);
    await pass(world, 40_000);
    expect(lobbies.size).toBe(1);
  });

  it("loses everything when it crashes, what it was about to do as well", async () => {
    const { create, lobbies, world, wolf, ask } = aWolf();
    await create(2000);
    const replies = create(500);
    wolf.crash(5000);
    expect(lobbies.size).toBe(0);
    expect(await ask({ kind: "list" }, 100)).toMatchObject([{ code: "WOLF_UNREACHABLE", mayHaveRun: false }]);
    await pass(world, 60_000);
    expect([await replies, lobbies.size, wolf.answers]).toEqual([[], 0, "ok"]);
  });

  it("may answer 200 and have nothing a moment later", async () => {
    const { create, lobbies, events } = aWolf({ vanishing: 1 });
    expect(await create(20_000)).toMatchObject([{ ok: true }]);
    expect([lobbies.size, events]).toEqual([0, ["StopLobbyEvent"]]);
  });

  it("does not answer while it is stuck", async () => {
    const { ask, wolf, world } = aWolf();
    wolf.stuckUntilMs = 30_000;
    expect(await ask({ kind: "list" }, 29_999)).toEqual([]);
    expect(wolf.answers).toBe("stuck");
    await pass(world, 10);
    expect(wolf.answers).toBe("ok");
  });
});

describe("a plan", () => {
  it("has more faults where there are more hosts, and as many of the control plane", () => {
    const [small, large] = [10, 1000].map(
      (wolves) => planOf({ seed: 5, wolves, weather: "everything" }).faults,
    );
    expect((small?.cut ?? 0) / (large?.cut ?? 1)).toBeCloseTo(100);
    expect(small?.replicaKill).toBe(large?.replicaKill);
  });

  it("is the same for the same seed, and nothing goes wrong in a calm one but what users and hosts do", () => {
    expect(planOf({ seed: 9 })).toEqual(planOf({ seed: 9 }));
    expect(planOf({ seed: 9, weather: "calm" })).toMatchObject({
      faults: { leftover: expect.any(Number), foreign: expect.any(Number) },
      killAtStep: 0,
      crashAtRequest: 0,
    });
  });
});
