import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { RevdialError, type Tunnel, tunnelFetch } from "revdial";
import {
  ManualClock as TunnelClock,
  type TunnelPair,
  type TunnelPairOptions,
  tunnelPair,
} from "revdial/testing";
import { aWolf } from "../../test/a-wolf.ts";
import { anOpener } from "../../test/an-opener.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import type { Wolf } from "../wolves/wolf-store.ts";
import { createTunnelGateway, type TunnelGateway, type TunnelGatewayOptions } from "./tunnel-gateway.ts";

const wolf = aWolf({ id: "wlf_a", name: "a" });
const opener = anOpener();

let gateway: TunnelGateway;
let lines: string[];
let pairs: TunnelPair[];
let lost: [id: string, epoch: number][];
let writes: unknown[][];
let epoch: number;
let openTunnel: () => Promise<Wolf | undefined>;
let tunnelLost: TunnelGatewayOptions["tunnelLost"];
let random: () => number;
let clock: ManualClock;

beforeEach(() => {
  lines = [];
  pairs = [];
  lost = [];
  writes = [];
  epoch = 0;
  random = () => 0.5;
  clock = manualClock();
  openTunnel = async () => {
    epoch += 1;
    return { ...wolf, epoch };
  };
  tunnelLost = async (id, lostEpoch) => void lost.push([id, lostEpoch]);
  gateway = createTunnelGateway({
    store: {
      openTunnel: () => openTunnel(),
      changeUsage: async () => true,
      changeHealth: async (...args) => writes.push(["health", ...args]) > 0,
      changeCapabilities: async () => true,
      changeImages: async () => true,
      changeReport: async (...args) => writes.push(["report", ...args]) > 0,
    },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    random: () => random(),
    tunnelLost: (...args) => tunnelLost(...args),
    audit: { record: async () => undefined },
    revocations: { revokedSince: () => false },
    control: { serve: () => undefined },
  });
});
afterEach(async () => {
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
  }
  await gateway.drain();
});

function trackedPair(options: TunnelPairOptions = {}): TunnelPair {
  const made = tunnelPair(options);
  pairs.push(made);
  return made;
}

function pair(options: TunnelPairOptions = {}): { agent: Tunnel; accepted: Tunnel } {
  const { left, right } = trackedPair(options);
  return { agent: left, accepted: right };
}

/** Every turn of the event loop that memory tunnels need for what is under way. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function connect(): Promise<{ agent: Tunnel; accepted: Tunnel }> {
  const { agent, accepted } = pair();
  await gateway.acceptWolf(wolf, accepted, opener);
  return { agent, accepted };
}

/** The next tunnel's epoch is issued when the test says so. */
function holdEpoch(): { asked: Promise<void>; issue(): void; fail(error: Error): void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const issue = openTunnel;
  openTunnel = () => {
    openTunnel = issue;
    const opened = issue();
    asked.resolve();
    return promise.then(() => opened);
  };
  return { asked: asked.promise, issue: resolve, fail: reject };
}

const say = (agent: Tunnel, type: string, json: unknown) =>
  agent.notify(type, Buffer.from(JSON.stringify(json)));

describe("a wolf's tunnel", () => {
  it("is dialled, listed and told of once its epoch is issued", async () => {
    const told: string[] = [];
    gateway.onWolfConnected((id) => told.push(id));
    const epochHeld = holdEpoch();
    const { accepted } = pair();
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await epochHeld.asked;
    expect([gateway.wolf("wlf_a"), gateway.liveWolves(), told]).toEqual([undefined, [], []]);
    epochHeld.issue();
    await accepting;
    expect(gateway.wolf("wlf_a")).toBe(accepted);
    expect(gateway.liveWolves()).toMatchObject([{ id: "wlf_a", epoch: 1 }]);
    expect(told).toEqual(["wlf_a"]);
  });

  it("carries requests to the agent", async () => {
    const { agent } = await connect();
    agent.serve(({ path }) => ({ status: 200, body: Buffer.from(path) }));
    const tunnel = gateway.wolf("wlf_a") as Tunnel;
    const response = await tunnelFetch(tunnel, "wolf")("http://wolf/api/v1/lobbies");
    expect(await response.text()).toBe("/api/v1/lobbies");
  });

  it("that ends is gone at once; the loss is written with its epoch before others are told", async () => {
    const told: unknown[] = [];
    gateway.onWolfTunnelLost((id) => told.push([id, ...lost]));
    const { agent } = await connect();
    agent.destroy();
    await settle();
    expect(gateway.wolf("wlf_a")).toBeUndefined();
    expect(gateway.liveWolves()).toEqual([]);
    expect(lost).toEqual([["wlf_a", 1]]);
    expect(told).toEqual([["wlf_a", ["wlf_a", 1]]]);
  });

  it("that counts no more is sent away, to come back soon; one of another epoch stays", async () => {
    const { agent } = await connect();
    gateway.sendAway({ id: "wlf_a", epoch: 2 });
    gateway.sendAway({ id: "wlf_b", epoch: 1 });
    await settle();
    expect(gateway.wolf("wlf_a")).toBeDefined();
    gateway.sendAway({ id: "wlf_a", epoch: 1 });
    const { code, retryAfterMs = 0 } = await agent.goingAway;
    expect(code).toBe("DRAINING");
    expect(retryAfterMs).toBeGreaterThan(0);
    await settle();
    expect(gateway.liveWolves()).toEqual([]);
  });

  it("that drains takes no new requests but counts as live until it has ended", async () => {
    const { agent } = await connect();
    agent.serve(async () => new Promise(() => undefined));
    const pending = gateway.wolf("wlf_a")?.request({ service: "wolf", method: "GET", path: "/" });
    pending?.catch(() => undefined);
    await settle();
    void agent.close();
    await settle();
    expect(gateway.wolf("wlf_a")).toBeUndefined();
    expect(gateway.liveWolves()).toHaveLength(1);
    expect(lost).toEqual([]);
  });

  it("of a wolf removed meanwhile is ended", async () => {
    openTunnel = async () => undefined;
    const { agent, accepted } = pair();
    await gateway.acceptWolf(wolf, accepted, opener);
    await agent.closed;
    expect(gateway.liveWolves()).toEqual([]);
  });

  it("ends when its wolf is removed", async () => {
    const { agent } = await connect();
    gateway.revoke("wlf_a");
    await agent.closed;
    await settle();
    expect(gateway.wolf("wlf_a")).toBeUndefined();
    expect(() => gateway.revoke("wlf_a")).not.toThrow();
  });

  it("ends when the database issues no epoch, and nothing is left behind", async () => {
    openTunnel = async () => {
      throw new Error("the database is down");
    };
    const { agent, accepted } = pair();
    await gateway.acceptWolf(wolf, accepted, opener);
    await agent.closed;
    expect(gateway.liveWolves()).toEqual([]);
    expect(lines.join("")).toContain("tunnel not accepted");
  });

  it("whose agent never says HELLO gets no epoch", async () => {
    const clock = new TunnelClock();
    const silent = pair({ both: { clock }, fault: () => ({ kind: "drop" }) });
    const accepting = gateway.acceptWolf(wolf, silent.accepted, opener);
    await settle();
    await clock.advance(60_000);
    await accepting;
    expect(epoch).toBe(0);
    expect(gateway.liveWolves()).toEqual([]);
  });
});

describe("a tunnel that dies while its epoch is issued", () => {
  it("is written as lost in that epoch, and nobody is told that it was connected", async () => {
    const told: string[] = [];
    gateway.onWolfConnected((id) => told.push(id));
    const epochHeld = holdEpoch();
    const { agent, accepted } = pair();
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await epochHeld.asked;
    agent.destroy();
    await accepted.closed;
    epochHeld.issue();
    await accepting;
    await settle();
    expect(told).toEqual([]);
    expect(gateway.wolf("wlf_a")).toBeUndefined();
    expect(lost).toEqual([["wlf_a", 1]]);
  });

  it("is not accepted when the epoch fails as well", async () => {
    const epochHeld = holdEpoch();
    const { agent, accepted } = pair();
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await epochHeld.asked;
    agent.destroy();
    epochHeld.fail(new Error("the database is down"));
    await accepting;
    await settle();
    expect(lost).toEqual([]);
    expect(gateway.liveWolves()).toEqual([]);
  });
});

describe("a newer tunnel of the same wolf", () => {
  it("takes over at once and ends the older one as replaced; its end is no loss", async () => {
    const old = await connect();
    const young = await connect();
    expect(gateway.wolf("wlf_a")).toBe(young.accepted);
    expect((await old.agent.closed).reason).toContain("replaced");
    await settle();
    expect(gateway.wolf("wlf_a")).toBe(young.accepted);
    expect(gateway.liveWolves()).toMatchObject([{ id: "wlf_a", epoch: 2 }]);
    expect(lost).toEqual([]);
  });

  it("lets the older one finish what is in flight", async () => {
    const old = await connect();
    const answer = Promise.withResolvers<void>();
    old.agent.serve(async () => {
      await answer.promise;
      return { status: 204 };
    });
    const pending = gateway.wolf("wlf_a")?.request({ service: "wolf", method: "GET", path: "/" });
    await settle();
    await connect();
    answer.resolve();
    expect((await pending)?.status).toBe(204);
    await old.agent.closed;
  });

  it("lets the older one finish the creation of a sandbox, but not for ever", async () => {
    const time = new TunnelClock();
    const { left: agent, right: accepted, ready } = trackedPair({ both: { clock: time } });
    agent.serve(() => new Promise(() => undefined));
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await ready;
    await time.advance(0);
    await accepting;
    const pending = gateway.wolf("wlf_a")?.request({ service: "wolf", method: "POST", path: "/" });
    let over = false;
    const ended = pending?.catch((error: RevdialError) => error).finally(() => (over = true));
    await connect();
    await time.advance(119_000);
    expect(over).toBe(false);
    await time.advance(1000);
    expect(await ended).toBeInstanceOf(RevdialError);
    await agent.closed;
  });

  it("does not take over before its path has carried something both ways", async () => {
    const old = await connect();
    const deaf = trackedPair();
    deaf.link.hold("left", true);
    const accepting = gateway.acceptWolf(wolf, deaf.right, opener);
    await deaf.right.ready;
    await settle();
    expect(gateway.wolf("wlf_a")).toBe(old.accepted);
    expect(epoch).toBe(1);
    deaf.link.hold("left", false);
    await accepting;
    expect(gateway.wolf("wlf_a")).toBe(deaf.right);
  });

  it("wins over one that dialled earlier and got its epoch later in time", async () => {
    const epochHeld = holdEpoch();
    const slow = pair();
    const accepting = gateway.acceptWolf(wolf, slow.accepted, opener);
    await epochHeld.asked;
    const fast = await connect();
    expect(gateway.liveWolves()).toMatchObject([{ id: "wlf_a", epoch: 2 }]);
    epochHeld.issue();
    await accepting;
    expect((await slow.agent.closed).reason).toContain("replaced");
    await settle();
    expect(gateway.wolf("wlf_a")).toBe(fast.accepted);
    expect(lost).toEqual([]);
  });

  it("leaves exactly one of many that dial at once", async () => {
    const all = Array.from({ length: 10 }, () => pair());
    await Promise.all(all.map(({ accepted }) => gateway.acceptWolf(wolf, accepted, opener)));
    await settle();
    expect(gateway.liveWolves()).toMatchObject([{ id: "wlf_a", epoch: 10 }]);
    const ended = await Promise.all(
      all.map(({ accepted }) => Promise.race([accepted.closed.then(() => 1), settle().then(() => 0)])),
    );
    expect(ended.reduce<number>((sum, one) => sum + one, 0)).toBe(9);
    expect(lost).toEqual([]);
  });

  it("takes over from one that is half dead, whose late end is no loss", async () => {
    const old = await connect();
    pairs[0]?.link.drop();
    const young = await connect();
    expect(gateway.wolf("wlf_a")).toBe(young.accepted);
    old.accepted.destroy();
    await settle();
    expect(gateway.wolf("wlf_a")).toBe(young.accepted);
    expect(lost).toEqual([]);
  });
});

describe("what an agent says", () => {
  it("is written for the epoch of its tunnel, also when it came before the epoch", async () => {
    const epochHeld = holdEpoch();
    const { agent, accepted } = pair();
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await agent.ready;
    say(agent, "inventory", { gpu_type: "amd", max_sandboxes: 3, agent_version: "1", labels: {} });
    await epochHeld.asked;
    await settle();
    expect(writes).toEqual([]);
    epochHeld.issue();
    await accepting;
    say(agent, "heartbeat", { wolf: "slow" });
    await settle();
    expect(writes).toEqual([
      ["report", "wlf_a", 1, expect.objectContaining({ gpuType: "amd", maxSandboxes: 3 }), expect.any(Date)],
      [
        "health",
        "wlf_a",
        1,
        "degraded",
        [{ code: "wolf-slow", detail: "Wolf answers slowly" }],
        expect.any(Date),
      ],
    ]);
  });

  it("of Wolf's events reaches every listener, whatever another listener does", async () => {
    const told: unknown[] = [];
    gateway.onWolfEvent(() => {
      throw new Error("a listener's mistake");
    });
    gateway.onWolfEvent(({ wolfId }, event) => told.push([wolfId, event.seq]));
    const { agent } = await connect();
    say(agent, "wolf-event", { seq: 1, event: "x", data: {} });
    say(agent, "wolf-event", { seq: 2, event: "x", data: {} });
    await settle();
    expect(told).toEqual([
      ["wlf_a", 1],
      ["wlf_a", 2],
    ]);
    expect(lines.filter((line) => line.includes("a listener's mistake"))).toHaveLength(2);
  });

  it("does not make a wolf well by being new: reasons of before stay until its host is described", async () => {
    const before = [{ code: "disk-critical" as const, detail: "Almost full: /" }];
    openTunnel = async () => ({ ...wolf, epoch: 1, health: "degraded", healthReasons: before });
    const { agent } = await connect();
    say(agent, "heartbeat", { wolf: "ok" });
    await settle();
    expect(writes).toEqual([["health", "wlf_a", 1, "degraded", before, expect.any(Date)]]);
  });

  it("wrongly, closes nothing", async () => {
    const { agent } = await connect();
    agent.notify("heartbeat", Buffer.from([0xff, 0x00]));
    agent.notify("rm-rf", new Uint8Array());
    say(agent, "heartbeat", { wolf: "ok" });
    await settle();
    expect(writes).toHaveLength(1);
    expect(gateway.wolf("wlf_a")).toBeDefined();
  });
});

describe("a listener that throws", () => {
  it("spoils neither the connect nor the loss of a tunnel", async () => {
    const fail = () => {
      throw new Error("a listener's mistake");
    };
    const told: string[] = [];
    gateway.onWolfConnected(fail);
    gateway.onWolfTunnelLost(fail);
    gateway.onWolfTunnelLost((id) => told.push(id));
    const { agent } = await connect();
    agent.destroy();
    await settle();
    expect(told).toEqual(["wlf_a"]);
  });
});

describe("a sandbox's tunnel", () => {
  it("is dialled by its session until it ends, apart from wolves", async () => {
    const { agent, accepted } = pair();
    await gateway.acceptSandbox("ses_1", accepted, opener);
    expect(gateway.sandbox("ses_1")).toBe(accepted);
    expect(gateway.wolf("ses_1")).toBeUndefined();
    agent.destroy();
    await settle();
    expect(gateway.sandbox("ses_1")).toBeUndefined();
    expect(lost).toEqual([]);
  });

  it("is replaced by a newer one, also when the older was slower to say HELLO", async () => {
    const clock = new TunnelClock();
    const slow = pair({ both: { clock }, fault: () => ({ kind: "drop" }) });
    const accepting = gateway.acceptSandbox("ses_1", slow.accepted, opener);
    const [first, second] = [pair(), pair()];
    await gateway.acceptSandbox("ses_1", first.accepted, opener);
    await gateway.acceptSandbox("ses_1", second.accepted, opener);
    expect((await first.agent.closed).reason).toContain("replaced");
    await clock.advance(60_000);
    await accepting;
    expect(gateway.sandbox("ses_1")).toBe(second.accepted);
  });
});

describe("draining", () => {
  it("tells each agent to come back at a moment of its own, and resolves when all losses are written", async () => {
    const values = [0, 0.999_999];
    random = () => values.shift() ?? 0;
    const written = Promise.withResolvers<void>();
    tunnelLost = () => written.promise;
    const one = await connect();
    const { agent: sandbox, accepted } = pair();
    await gateway.acceptSandbox("ses_1", accepted, opener);
    let drained = false;
    const draining = gateway.drain().then(() => {
      drained = true;
    });
    const ends = await Promise.all([one.agent.closed, sandbox.closed]);
    expect(ends.map(({ retryAfterMs }) => retryAfterMs)).toEqual([100, 2099]);
    await settle();
    expect(drained).toBe(false);
    written.resolve();
    await draining;
    expect(gateway.liveWolves()).toEqual([]);
  });

  it("waits for requests in flight and takes no new ones", async () => {
    const { agent } = await connect();
    const answer = Promise.withResolvers<void>();
    agent.serve(async () => {
      await answer.promise;
      return { status: 204 };
    });
    const tunnel = gateway.wolf("wlf_a") as Tunnel;
    const pending = tunnel.request({ service: "wolf", method: "GET", path: "/" });
    await settle();
    const draining = gateway.drain();
    await expect(tunnel.request({ service: "wolf", method: "GET", path: "/" })).rejects.toThrow(RevdialError);
    answer.resolve();
    expect((await pending).status).toBe(204);
    await draining;
  });

  it("ends a replaced tunnel that is still busy after its time", async () => {
    const old = await connect();
    old.agent.serve(() => new Promise(() => undefined));
    const pending = gateway.wolf("wlf_a")?.request({ service: "wolf", method: "GET", path: "/" });
    pending?.catch(() => undefined);
    const young = await connect();
    const draining = gateway.drain();
    await young.agent.closed;
    clock.advance(9999);
    await settle();
    expect(old.accepted.load).toBe(1);
    clock.advance(1);
    await draining;
    expect(await old.accepted.closed).toMatchObject({ code: "DESTROYED" });
    expect(clock.pending).toBe(0);
  });

  it("sends a tunnel away that comes up meanwhile", async () => {
    await gateway.drain();
    const { agent } = await connect();
    expect((await agent.closed).retryAfterMs).toBe(1100);
  });

  it("does not wait for a peer that never says HELLO", async () => {
    const { link, right: accepted } = trackedPair();
    link.hold("right", true);
    const accepting = gateway.acceptWolf(wolf, accepted, opener);
    await gateway.drain();
    await accepting;
    expect(gateway.liveWolves()).toEqual([]);
    expect(epoch).toBe(0);
  });

  it("of nothing is done at once", async () => {
    await gateway.drain();
    await gateway.drain();
  });
});

describe("a tunnel that is sent away because this replica was taken for gone", () => {
  it("ends by our doing, which is no flap of its wolf's, and one that breaks is", async () => {
    const ends: unknown[] = [];
    tunnelLost = async (_id, _epoch, options) => void ends.push(options?.sentAway);
    const first = await connect();
    gateway.sendAllAway();
    await first.accepted.closed;
    await settle();
    const second = await connect();
    second.agent.destroy();
    await second.accepted.closed;
    await settle();
    expect(ends).toEqual([true, false]);
  });
});
