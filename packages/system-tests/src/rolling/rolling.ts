/**
 * A full rolling restart under load, with real processes: replicas behind a balancer, agents with sandboxes. Each replica gets SIGTERM,
 * and is there again and ready before the next one goes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { WolfpackClient } from "@wolfpack/api-contract";
import type { Backend } from "../balancer.ts";
import { ReplicaSet } from "../replica-set.ts";
import { Stack } from "../stack.ts";
import { startEventStreams } from "./event-streams.ts";
import { startScreens } from "./screen.ts";
import { ask, startShortRequests } from "./short-requests.ts";

export interface RollingOptions {
  replicas: number;
  agents: number;
  /** Of each agent. */
  connections?: number;
  shortRequests: number;
  atOnce: number;
  streams: number;
  /** How long a long answer through a tunnel takes. */
  longMs: number;
  /** What a replica waits for before it goes, and how often the balancer looks. */
  noticeMs: number;
  checkMs: number;
  /** Puts something in front of the replicas. */
  balance: (backends: readonly Backend[], checkMs: number) => Promise<Front>;
}

export interface Front {
  url: string;
  /** Resolves when so many backends are up. */
  untilUp(count: number): Promise<void>;
  close(): Promise<void>;
}

export interface RollingFigures {
  replicas: number;
  shortRequests: number;
  failedShortRequests: number;
  shortP50Ms: number;
  shortP99Ms: number;
  shortMaxMs: number;
  /** Answers through tunnels that take seconds. */
  longAnswers: number;
  failedLongAnswers: number;
  streams: number;
  streamEndsTold: number;
  streamEndsUntold: number;
  /** Events that a stream has not heard of, or was told are missing. */
  missedEvents: number;
  sessionsCreated: number;
  failedCreations: number;
  seconds: number;
  failures: string[];
}

const PLENTY_MS = 60_000;
/** From one session that comes and goes to the next. */
const CHURN_MS = 400;

/** Rejects, with everything cleared away, when something that is no figure goes wrong. */
export async function rollingRestart(options: RollingOptions): Promise<RollingFigures> {
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-rolling-"));
  const undo: (() => unknown)[] = [() => rmSync(dataDir, { recursive: true, force: true })];
  try {
    const screens = await startScreens(options);
    undo.push(screens.close);
    const env = { WOLFPACK_DRAIN_NOTICE_SECONDS: String(options.noticeMs / 1000) };
    const set = await ReplicaSet.start({ dataDir, count: options.replicas, env });
    undo.push(() => set.stop());
    const front = await options.balance(set.backends, options.checkMs);
    undo.push(() => front.close());
    await front.untilUp(options.replicas);
    const crashes: string[] = [];
    const stack = await Stack.start({
      dataDir,
      port: 0,
      at: { baseUrl: front.url, adminKey: set.adminKey },
      hosts: Array.from({ length: options.agents }, (_, at) => ({
        name: `gpu-${at + 1}`,
        gpu: "nvidia",
        maxSandboxes: 20,
        agentFlags: {
          "--service": `screen=127.0.0.1:${screens.port}`,
          ...(options.connections && { "--connections": String(options.connections) }),
        },
      })),
      say: () => undefined,
      onCrash: (name) => void crashes.push(name),
    });
    undo.push(() => stack.stop());
    const figures = await underLoad(options, set, front, stack);
    if (crashes.length > 0) throw new Error(`ended by themselves: ${crashes.join(", ")}`);
    return figures;
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

async function underLoad(
  options: RollingOptions,
  set: ReplicaSet,
  front: Front,
  stack: Stack,
): Promise<RollingFigures> {
  const api = stack.client();
  const sessions: string[] = [];
  for (let at = 0; at < options.agents * 2; at += 1)
    sessions.push((await api.createSession({ body: {} })).body.id);
  const [url, key] = [front.url, set.adminKey];
  const streams = await startEventStreams(url, key, options.streams);
  const begun = performance.now();
  const short = startShortRequests({
    url,
    key,
    paths: sessions.map((id) => `/api/v1/external-agents/${id}/clipboard`),
    atOnce: options.atOnce,
  });
  const stopping = new AbortController();
  const long = longAnswers(url, key, sessions, stopping.signal);
  const churn = churning(api, stopping.signal);
  try {
    await short.until(options.shortRequests / 10);
    for (let at = 0; at < options.replicas; at += 1) {
      const code = await set.stopReplica(at);
      if (code !== 0) throw new Error(`replica ${at + 1} ended with ${code}`);
      await set.startReplica(at);
      await front.untilUp(options.replicas);
    }
    await short.until(options.shortRequests);
  } finally {
    stopping.abort();
    await short.stop();
  }
  const [longs, churned] = await Promise.all([long, churn]);
  const last = churned.ids.at(-1);
  if (last !== undefined)
    await Promise.race([streams.untilSeen(last), pause(PLENTY_MS / 4, undefined, { ref: false })]);
  streams.stop();
  const took = [...short.tookMs].sort((a, b) => a - b);
  const at = (share: number) => Math.round(took[Math.floor((took.length - 1) * share)] ?? 0);
  return {
    replicas: options.replicas,
    shortRequests: short.answered + short.failures.length,
    failedShortRequests: short.failures.length,
    shortP50Ms: at(0.5),
    shortP99Ms: at(0.99),
    shortMaxMs: at(1),
    longAnswers: longs.answered + longs.failures.length,
    failedLongAnswers: longs.failures.length,
    streams: options.streams,
    streamEndsTold: streams.ends.told,
    streamEndsUntold: streams.ends.untold,
    missedEvents: streams.missed + streams.lacking(churned.ids),
    sessionsCreated: churned.ids.length,
    failedCreations: churned.failures.length,
    seconds: Math.round((performance.now() - begun) / 100) / 10,
    failures: [...short.failures, ...longs.failures, ...churned.failures].slice(0, 20),
  };
}

/** One after the other, each over a connection of its own. */
async function longAnswers(url: string, key: string, sessions: readonly string[], signal: AbortSignal) {
  const failures: string[] = [];
  let answered = 0;
  while (!signal.aborted) {
    const id = sessions[answered % sessions.length] ?? "";
    const target = new URL(`/api/v1/external-agents/${id}/screenshot`, url);
    const failure = await ask(target, key, false);
    if (failure === undefined) answered += 1;
    else failures.push(`${new Date().toISOString()} long: ${failure}`);
  }
  return { answered, failures };
}

/** Sessions that come and go. */
async function churning(api: WolfpackClient, signal: AbortSignal) {
  const failures: string[] = [];
  const ids: string[] = [];
  while (!signal.aborted) {
    try {
      const { id } = (await api.createSession({ body: {} })).body;
      ids.push(id);
      await api.stopSession({ params: { id } });
    } catch (error) {
      failures.push(
        `${new Date().toISOString()} session: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    await pause(CHURN_MS);
  }
  return { ids, failures };
}
