/**
 * What systemd is told of the agent's life over $NOTIFY_SOCKET. Node has no Unix datagram sockets, so systemd's own
 * `systemd-notify` carries the words (docs/adr/0010); elsewhere nothing is said.
 */
import { spawn } from "node:child_process";
import type { Condition, ConditionReport } from "./condition.ts";
import type { Log } from "./logger.ts";
import { printable } from "./printable.ts";

export interface ServiceManagerOptions {
  /** NOTIFY_SOCKET and WATCHDOG_USEC. */
  env: NodeJS.ProcessEnv;
  condition: Condition;
  log: Log;
  /** Runs systemd-notify; for tests. */
  run?: (words: readonly string[]) => Promise<void>;
}

export interface ServiceManager {
  /** Speaks at once and then regularly, until the signal aborts. */
  start(signal: AbortSignal): void;
  stopping(): void;
  /** Resolves when all words have been carried over. */
  spoken(): Promise<void>;
}

const BEAT_MS = 10_000;
/** Each beat of an agent that still tries gives the start this much more time. */
const START_EXTENSION_USEC = 60_000_000;
const RUN_TIMEOUT_MS = 5000;
const STATUS_CHARACTERS_MAX = 120;

export function createServiceManager(options: ServiceManagerOptions): ServiceManager {
  const { env, condition, log } = options;
  if (!env.NOTIFY_SOCKET) return { start() {}, stopping() {}, async spoken() {} };
  const run = options.run ?? ((words) => systemdNotify(words, env));
  const watchdogMs = Number(env.WATCHDOG_USEC ?? 0) / 1000;
  // Half of the time that is allowed, as sd_watchdog_enabled(3) advises.
  const beatMs = watchdogMs > 0 ? Math.min(BEAT_MS, watchdogMs / 2) : BEAT_MS;
  let before: Said = { ready: false, status: "" };
  let speaking = Promise.resolve();
  let silenced = false;

  const say = (words: readonly string[]) => {
    speaking = speaking
      .then(() => run(words))
      .catch((err: unknown) => {
        if (!silenced) log.warn({ err }, "systemd cannot be notified");
        silenced = true;
      });
  };
  const beat = () => {
    const { words, said } = wordsFor(condition.report(), before, watchdogMs > 0);
    before = said;
    if (words.length > 0) say(words);
  };
  return {
    start(signal) {
      beat();
      condition.onStep(beat);
      const timer = setInterval(beat, beatMs);
      timer.unref();
      signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    },
    stopping: () => say(["STOPPING=1", "STATUS=finishing what is in flight"]),
    spoken: () => speaking,
  };
}

export interface Said {
  ready: boolean;
  status: string;
}

/** Pure: what to say of a report after what was said before. */
export function wordsFor(
  report: ConditionReport,
  before: Said,
  watchdog: boolean,
): { words: string[]; said: Said } {
  const ready = before.ready || report.ready;
  const status = statusOf(report).slice(0, STATUS_CHARACTERS_MAX);
  const words: string[] = [];
  if (ready && !before.ready) words.push("READY=1");
  if (status !== before.status) words.push(`STATUS=${status}`);
  // An agent that is stuck says nothing, and is started anew.
  if (report.alive && ready && watchdog) words.push("WATCHDOG=1");
  if (report.alive && !ready) words.push(`EXTEND_TIMEOUT_USEC=${START_EXTENSION_USEC}`);
  return { words, said: { ready, status } };
}

function statusOf({ state, ready, transport, control_plane, last_problem }: ConditionReport): string {
  if (ready) return `serving ${control_plane} over ${transport}`;
  const why = last_problem === null ? "" : `: ${printable(last_problem)}`;
  return `${state}${why}`;
}

function systemdNotify(words: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("systemd-notify", words, {
      env: { PATH: env.PATH, NOTIFY_SOCKET: env.NOTIFY_SOCKET },
      stdio: "ignore",
      timeout: RUN_TIMEOUT_MS,
    });
    child.on("error", reject);
    child.on("exit", (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`systemd-notify ended with ${code ?? signal}`)),
    );
  });
}
