/** What is said of the agent to whoever asks from outside: the report, its texts, and the words for systemd. */
import { describe, expect, it } from "@jest/globals";
import type { Tunnel } from "revdial";
import { statusText } from "./commands/status.ts";
import { ANSWER_AGE_MS_MAX, type Condition, createCondition, STEP_MS_MAX } from "./condition.ts";
import { createLogger } from "./logger.ts";
import { createServiceManager, wordsFor } from "./service-manager.ts";

let nowMs = 0;
const condition = (): Condition =>
  createCondition({ wolfId: "gpu-1", controlPlane: "cp.test", version: "1.2.3", now: () => nowMs });

function tunnel(): { tunnel: Tunnel; metrics: Record<string, unknown>; end: () => void } {
  const metrics = {
    openedOutbound: 0,
    openedInbound: 3,
    bytesSent: 10,
    bytesReceived: 20,
    pingsAnswered: 0,
    creditStalls: 0,
    resets: { CANCELLED: 1 },
  };
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const made = { metrics, closed, draining: false, transport: "websocket", rttMs: 1.26 };
  return { tunnel: made as unknown as Tunnel, metrics, end: () => resolve() };
}

describe("an agent", () => {
  it("is alive while its tunnel is answered, and stuck when the answers stop", () => {
    const agent = condition();
    const { tunnel: up, metrics } = tunnel();
    agent.tunnelUp(up);
    agent.step("ready");
    nowMs += ANSWER_AGE_MS_MAX - 1;
    expect(agent.report()).toMatchObject({ ready: true, alive: true });
    metrics.pingsAnswered = 1;
    expect(agent.report().alive).toBe(true);
    nowMs += ANSWER_AGE_MS_MAX;
    expect(agent.report().alive).toBe(false);
    metrics.pingsAnswered = 2;
    expect(agent.report().alive).toBe(true);
  });

  it("is alive without a tunnel while its tries go on, however long, and stuck when none comes", () => {
    const agent = condition();
    for (let i = 0; i < 100; i += 1) {
      agent.step("connecting");
      agent.ended("DIAL_FAILED", "no route");
      agent.step("waiting");
      agent.waits(3_600_000);
      nowMs += 3_600_000;
      expect(agent.report()).toMatchObject({ alive: true, ready: false });
    }
    expect(agent.report()).toMatchObject({ endings: { DIAL_FAILED: 100 }, last_problem: "no route" });
    nowMs += STEP_MS_MAX;
    expect(agent.report().alive).toBe(false);
  });

  it("inside a sandbox speaks of its session, and of no wolf", () => {
    const sessionId = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    const inside = createCondition({
      wolfId: "",
      sessionId,
      controlPlane: "cp.test",
      version: "1",
      now: () => 0,
    });
    const report = inside.report();
    expect(report).toMatchObject({ wolf_id: "", session_id: sessionId });
    expect(statusText(report)).toContain(`session        ${sessionId}\n`);
    expect(statusText(report)).not.toMatch(/^wolf/m);
    expect(condition().report().session_id).toBeNull();
  });

  it("says how long another agent has kept Wolf's events from it, and nothing once they are its own", () => {
    const agent = condition();
    const said = () => statusText(agent.report());
    expect(agent.report().events_wait_s).toBeNull();
    agent.eventsWait(true);
    nowMs += 300_000;
    agent.eventsWait(true);
    expect(agent.report().events_wait_s).toBe(300);
    expect(said()).toContain("events         not heard for 5 min: waits for its turn\n");
    agent.eventsWait(false);
    expect([agent.report().events_wait_s, said()]).toEqual([null, expect.not.stringContaining("not heard")]);
  });

  it("adds its tunnels up, also those that have ended", async () => {
    const agent = condition();
    const [first, second] = [tunnel(), tunnel()];
    agent.tunnelUp(first.tunnel);
    first.end();
    await first.tunnel.closed;
    expect(agent.report().transport).toBeNull();
    agent.tunnelUp(second.tunnel);
    expect(agent.totals()).toMatchObject({ openedInbound: 6, bytesSent: 20, resets: { CANCELLED: 2 } });
  });
});

describe("the status for people", () => {
  it("fits into 80 columns and steers no terminal, whatever went wrong", () => {
    const agent = condition();
    agent.ended("DIAL_REFUSED", `\u001b]0;owned\u0007${"x".repeat(300)}`);
    const text = statusText(agent.report());
    expect(text).toMatch(/^state +connecting/);
    expect(text.split("\n").filter((line) => line.length > 80)).toEqual([]);
    expect(text).not.toMatch(/(?!\n)\p{Cc}/u);
  });
});

describe("the words for systemd", () => {
  const nothing = { ready: false, status: "" };

  it("are no READY before the tunnel is up, but more time for a start that still tries", () => {
    const agent = condition();
    expect(wordsFor(agent.report(), nothing, true).words).toEqual([
      "STATUS=connecting",
      "EXTEND_TIMEOUT_USEC=60000000",
    ]);
    nowMs += STEP_MS_MAX;
    expect(wordsFor(agent.report(), nothing, true).words).toEqual(["STATUS=connecting"]);
  });

  it("are READY once, then the watchdog's while the control plane answers, then silence", () => {
    const agent = condition();
    agent.tunnelUp(tunnel().tunnel);
    agent.step("ready");
    const first = wordsFor(agent.report(), nothing, true);
    expect(first.words).toEqual(["READY=1", "STATUS=serving cp.test over websocket", "WATCHDOG=1"]);
    expect(wordsFor(agent.report(), first.said, true).words).toEqual(["WATCHDOG=1"]);
    expect(wordsFor(agent.report(), first.said, false).words).toEqual([]);
    nowMs += ANSWER_AGE_MS_MAX;
    expect(wordsFor(agent.report(), first.said, true).words).toEqual([]);
  });

  it("never carry what could end a line and begin another word", () => {
    const agent = condition();
    agent.ended("DIAL_REFUSED", "no\nMAINPID=1");
    expect(wordsFor(agent.report(), nothing, true).words[0]).toBe("STATUS=connecting: no MAINPID=1");
  });

  it("are said one after the other, and their failure once in the log", async () => {
    const lines: string[] = [];
    const said: string[] = [];
    const agent = condition();
    const manager = createServiceManager({
      env: { NOTIFY_SOCKET: "/run/systemd/notify" },
      condition: agent,
      log: createLogger("info", { write: (line) => void lines.push(line) }),
      run: async (words) => {
        said.push(...words);
        throw new Error("ENOENT");
      },
    });
    const ended = new AbortController();
    manager.start(ended.signal);
    agent.step("authenticating");
    manager.stopping();
    await manager.spoken();
    ended.abort();
    expect(said.filter((word) => !word.startsWith("EXTEND"))).toEqual([
      "STATUS=connecting",
      "STATUS=authenticating",
      "STOPPING=1",
      "STATUS=finishing what is in flight",
    ]);
    expect(lines).toHaveLength(1);
  });

  it("are not said where no socket is named", () => {
    const run = () => Promise.reject(new Error("called"));
    const manager = createServiceManager({
      env: {},
      condition: condition(),
      log: createLogger("silent"),
      run,
    });
    expect(() => manager.start(new AbortController().signal)).not.toThrow();
  });
});
