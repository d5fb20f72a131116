import { describe, expect, it } from "@jest/globals";
import type { Intent } from "@wolfpack/api-contract";
import { noTracing } from "@wolfpack/telemetry";
import { aCandidate } from "../../test/a-candidate.ts";
import { manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { slotsOf } from "./fleet-gauges.ts";
import { createMetrics, type MetricsReading } from "./metrics.ts";
import { createReconnects } from "./reconnects.ts";

function aReplica(reading: Partial<MetricsReading> = {}) {
  const clock = manualClock();
  const listeners = { connected: [] as ((id: string) => void)[], lost: [] as ((id: string) => void)[] };
  const log = createLogger("silent", { write: () => undefined });
  const metrics = createMetrics({ clock, log, tracing: noTracing, draining: () => false });
  metrics.start({
    liveWolves: () => [],
    rttMsOf: () => undefined,
    onWolfConnected: (listener) => void listeners.connected.push(listener),
    onWolfTunnelLost: (listener) => void listeners.lost.push(listener),
    countStreams: () => 0,
    countReplicas: () => 0,
    countLive: async () => ({}),
    fleetState: async () => ({ frozenSince: null }),
    ...reading,
  });
  const read = async () => {
    const text = await metrics.text();
    return (series: string) =>
      text
        .split("\n")
        .find((line) => line.startsWith(`${series} `))
        ?.split(" ")[1];
  };
  return { metrics, clock, listeners, read };
}

describe("the numbers of a replica", () => {
  it("count a request by its operation and the class of its status, and its problem by its code", async () => {
    const { metrics, read } = aReplica();
    const end = { status: 404, code: "wolf-not-found", isStream: false } as const;
    const request = { method: "GET", path: "/x", traceparent: undefined };
    metrics.requests.began(request).ended({ ...end, operation: "getWolf" });
    metrics.requests.began(request).ended({ ...end, operation: undefined });
    metrics.requests.began(request);
    const of = await read();
    const count = "wolfpack_http_request_duration_seconds_count";
    expect(of(`${count}{operation="getWolf",status="4xx"}`)).toBe("1");
    expect(of(`${count}{operation="other",status="4xx"}`)).toBe("1");
    expect(of('wolfpack_http_problems_total{code="wolf-not-found"}')).toBe("2");
    expect(of("wolfpack_http_requests_in_flight")).toBe("1");
    metrics.stop();
  });

  it("have no time of a stream, which lasts as long as its reader wants", async () => {
    const { metrics } = aReplica();
    metrics.requests
      .began({ method: "GET", path: "/x", traceparent: undefined })
      .ended({ operation: "listEvents", status: 200, code: undefined, isStream: true });
    expect(await metrics.text()).not.toContain('operation="listEvents"');
    metrics.stop();
  });

  it("tell a placement that came to nothing by its code, and pass its error on", async () => {
    const { metrics, read } = aReplica();
    const full = Object.assign(new Error("no room"), { code: "no-capacity" });
    await expect(metrics.sessions.placing(() => Promise.reject(full))).rejects.toBe(full);
    const broken = new Error("the password is hunter2");
    await expect(metrics.sessions.placing(() => Promise.reject(broken))).rejects.toBe(broken);
    await metrics.sessions.placing(async () => ({ outcome: "claimed" }));
    const of = await read();
    const count = (outcome: string) => of(`wolfpack_placement_duration_seconds_count{outcome="${outcome}"}`);
    expect(["no-capacity", "other", "claimed"].map(count)).toEqual(["1", "1", "1"]);
    expect(await metrics.text()).not.toContain("hunter2");
    metrics.stop();
  });

  it("count what a guard refused by a code that it has, and any other as other", async () => {
    const { metrics, read } = aReplica();
    const answer = { status: 403 } as never;
    for (const code of ["image-refused", 'forged"} 1', "x".repeat(10_000)])
      await metrics.links.asking(
        { service: "wolf", method: "GET" },
        async () => answer,
        () => ({ outcome: "refused", code }),
      );
    await expect(
      metrics.links.asking(
        { service: "made-up", method: "GET" },
        () => Promise.reject(new Error("gone")),
        () => ({ outcome: "answered" }),
      ),
    ).rejects.toThrow("gone");
    const of = await read();
    expect(of('wolfpack_guard_refusal_duration_seconds_count{code="image-refused"}')).toBe("1");
    expect(of('wolfpack_guard_refusal_duration_seconds_count{code="other"}')).toBe("2");
    const count = "wolfpack_tunnel_request_duration_seconds_count";
    expect(of(`${count}{service="wolf",outcome="refused"}`)).toBe("3");
    expect(of(`${count}{service="other",outcome="failed"}`)).toBe("1");
    metrics.stop();
  });

  it("sample the round trip of each live tunnel every 10 s, and of none after the end", async () => {
    const { metrics, clock, read } = aReplica({
      liveWolves: () => [{ id: "a" }, { id: "b" }, { id: "fresh" }],
      rttMsOf: (id) => ({ a: 3, b: 300 })[id],
    });
    clock.advance(10_000);
    await new Promise(setImmediate);
    let of = await read();
    expect(of("wolfpack_tunnel_rtt_seconds_count")).toBe("2");
    expect(of('wolfpack_tunnel_rtt_seconds_bucket{le="0.005"}')).toBe("1");
    metrics.stop();
    clock.advance(60_000);
    of = await read();
    expect(of("wolfpack_tunnel_rtt_seconds_count")).toBe("2");
    expect(clock.pending).toBe(0);
  });

  it("have the fleet as placement sees it, and its slots without those that nobody can have", async () => {
    const { metrics, read } = aReplica();
    metrics.sessions.fleet({
      candidates: [
        aCandidate({ slots: { max: 4, claimed: 1, other: 1 } }),
        aCandidate({ intent: "cordoned", health: "degraded", slots: { max: 9, claimed: 2, other: 0 } }),
        aCandidate({ connectivity: "lost", quarantinedUntilMs: Number.MAX_SAFE_INTEGER }),
      ],
    });
    const of = await read();
    expect(of('wolfpack_wolves{connectivity="connected"}')).toBe("2");
    expect(of('wolfpack_wolves{connectivity="lost"}')).toBe("1");
    expect(of('wolfpack_wolves_by_health{health="degraded"}')).toBe("1");
    expect(of('wolfpack_wolves_by_intent{intent="cordoned"}')).toBe("1");
    expect(of("wolfpack_wolves_quarantined")).toBe("1");
    expect(["claimed", "other", "free"].map((state) => of(`wolfpack_slots{state="${state}"}`))).toEqual([
      "1",
      "1",
      "2",
    ]);
    metrics.stop();
  });

  it("leave out wolves that nobody expects to be there or well, but for how many there are of each intent", async () => {
    const { metrics, read } = aReplica();
    const unwell = {
      connectivity: "lost",
      health: "failed",
      quarantinedUntilMs: Number.MAX_SAFE_INTEGER,
    } as const;
    const uncounted = ["pending", "maintenance", "retired"] as const;
    const counted = ["active", "cordoned", "draining"] as const;
    const wolves = (intents: readonly Intent[]) => intents.map((intent) => aCandidate({ intent, ...unwell }));
    metrics.sessions.fleet({ candidates: wolves(uncounted) });
    let of = await read();
    const alarming = [
      'wolfpack_wolves{connectivity="lost"}',
      'wolfpack_wolves_by_health{health="failed"}',
      "wolfpack_wolves_quarantined",
    ];
    expect(alarming.map(of)).toEqual(["0", "0", "0"]);
    for (const intent of uncounted) expect(of(`wolfpack_wolves_by_intent{intent="${intent}"}`)).toBe("1");
    metrics.sessions.fleet({ candidates: wolves([...uncounted, ...counted]) });
    of = await read();
    expect(alarming.map(of)).toEqual(["3", "3", "3"]);
    for (const intent of counted) expect(of(`wolfpack_wolves_by_intent{intent="${intent}"}`)).toBe("1");
    metrics.stop();
  });

  it("have no negative room where a wolf is over-full", () => {
    const slots = { max: 2, claimed: 3, other: 1 };
    expect(slotsOf([aCandidate({ slots })])).toEqual({ claimed: 3, other: 1, free: 0 });
  });

  it("are without what the database does not say, rather than as they were, and count that", async () => {
    let answers = true;
    let asked = 0;
    const { metrics, clock, read } = aReplica({
      async countLive() {
        asked += 1;
        if (!answers) throw new Error("the database is down");
        return { running: 3 };
      },
    });
    let of = await read();
    expect(of('wolfpack_sessions{status="running"}')).toBe("3");
    expect(of('wolfpack_sessions{status="queued"}')).toBe("0");
    await metrics.text();
    expect(asked).toBe(1);
    answers = false;
    clock.advance(5000);
    of = await read();
    expect(of('wolfpack_sessions{status="running"}')).toBeUndefined();
    expect(of("wolfpack_evictions_frozen")).toBeUndefined();
    expect(of("wolfpack_tunnels")).toBe("0");
    expect((await read())("wolfpack_metrics_failures_total")).not.toBe("0");
    metrics.stop();
  });

  it("have the time from a tunnel's loss to the next one, of a wolf that comes back", async () => {
    const { metrics, clock, listeners, read } = aReplica();
    const [lost, connected] = [listeners.lost[0], listeners.connected[0]];
    connected?.("new");
    lost?.("a");
    clock.advance(1500);
    connected?.("a");
    connected?.("a");
    const of = await read();
    expect(of("wolfpack_tunnel_reconnect_duration_seconds_count")).toBe("1");
    expect(of('wolfpack_tunnel_reconnect_duration_seconds_bucket{le="2"}')).toBe("1");
    metrics.stop();
  });
});

describe("reconnects", () => {
  it("are none after an hour, and none with a clock that stepped back", () => {
    let nowMs = 0;
    const clock = {
      now: () => new Date(nowMs),
      elapsedMs: () => nowMs,
      setTimer: () => ({ cancel: () => undefined }),
    };
    const seen: number[] = [];
    const reconnects = createReconnects(clock, (ms) => void seen.push(ms));
    reconnects.lost("a");
    nowMs = 3_600_001;
    reconnects.connected("a");
    reconnects.lost("b");
    nowMs = 0;
    reconnects.connected("b");
    expect(seen).toEqual([]);
  });

  it("remember so many wolves and no more: who is away for longest goes", () => {
    const clock = {
      now: () => new Date(0),
      elapsedMs: () => 0,
      setTimer: () => ({ cancel: () => undefined }),
    };
    const seen: number[] = [];
    const reconnects = createReconnects(clock, (ms) => void seen.push(ms), 2);
    for (const id of ["a", "b", "c"]) reconnects.lost(id);
    for (const id of ["a", "b", "c"]) reconnects.connected(id);
    expect(seen).toHaveLength(2);
  });
});
