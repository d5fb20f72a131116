/** Process: users of the API who list wolves, create sessions and, if they are to, look at them and stop them. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { serveCalls } from "./process.ts";

const TICK_MS = 20;
const TIMEOUT_MS = 30_000;
/** From an answer that did not come to the next try, with the same Idempotency-Key. */
const RETRY_MS = 500;
const LIST_LIMIT = 50;
const SESSIONS_AT_ONCE = 8;
const READS_AT_ONCE = 4;
const readPaths = ["/api/v1/wolf-instances?limit=50", "/api/v1/sessions?limit=50", "/api/v1/me", "/healthz"];

interface Users {
  port: number;
  keys: string[];
  listsPerSecond: number;
  createsPerSecond: number;
}

export interface UserCounts {
  /** Of requests that were answered. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  answered: number;
  /** Tries without an answer: nobody listened, or the connection broke. */
  unanswered: number;
  /** Answers that are no success, by status. */
  refused: Record<string, number>;
  sessions: string[];
  /** Of events, that were opened. */
  streams: number;
}

const connections = new Agent({ keepAlive: true, maxSockets: 64 });
let latencies: number[] = [];
let unanswered = 0;
let refused: Record<string, number> = {};
const sessions: string[] = [];
let opened = 0;
let running: Promise<void> | undefined;
let stopped = false;

interface Ask {
  port: number;
  key: string;
  method: "GET" | "POST" | "DELETE";
  path: string;
  headers?: Record<string, string>;
  body?: object;
}

/** Undefined: there was no answer. */
function ask({
  port,
  key,
  method,
  path,
  headers,
  body,
}: Ask): Promise<{ status: number; text: string } | undefined> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve) => {
    const begun = performance.now();
    const asked = request({
      host: "127.0.0.1",
      port,
      path,
      method,
      agent: connections,
      timeout: TIMEOUT_MS,
      headers: {
        authorization: `Bearer ${key}`,
        "x-forwarded-for": "192.0.2.1",
        ...headers,
        ...(text !== undefined && {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(text),
        }),
      },
    });
    const failed = () => {
      unanswered += 1;
      resolve(undefined);
    };
    asked.on("response", async (response) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        latencies.push(performance.now() - begun);
        const status = response.statusCode ?? 0;
        if (status >= 400) refused[status] = (refused[status] ?? 0) + 1;
        resolve({ status, text: Buffer.concat(chunks).toString("utf8") });
      } catch {
        failed();
      }
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", failed);
    asked.end(text);
  });
}

/** Until it is answered with a session: what broke may have happened. */
async function create(port: number, key: string): Promise<void> {
  const headers = { "idempotency-key": randomUUID() };
  const body = { wait_seconds: 0 };
  for (;;) {
    const answer = await ask({ port, key, method: "POST", path: "/api/v1/sessions", headers, body });
    if (answer !== undefined && answer.status < 300)
      return void sessions.push((JSON.parse(answer.text) as { id: string }).id);
    // Who is told no does not ask again.
    if (answer !== undefined && answer.status < 500 && answer.status !== 409 && answer.status !== 429) return;
    await pause(RETRY_MS);
  }
}

async function run({ port, keys, listsPerSecond, createsPerSecond }: Users): Promise<void> {
  const begun = performance.now();
  const waiting: Promise<unknown>[] = [];
  const turns = { list: 0, create: 0 };
  const keyOf = (turn: number) => keys[turn % keys.length] ?? "";
  const path = `/api/v1/wolf-instances?limit=${LIST_LIMIT}`;
  while (!stopped) {
    const seconds = (performance.now() - begun) / 1000;
    for (; turns.list < seconds * listsPerSecond; turns.list += 1)
      waiting.push(ask({ port, key: keyOf(turns.list), method: "GET", path }));
    for (; turns.create < seconds * createsPerSecond; turns.create += 1)
      waiting.push(create(port, keyOf(turns.create)));
    await pause(TICK_MS);
  }
  await Promise.all(waiting);
}

interface Day {
  port: number;
  keys: string[];
  admin: string;
  sessions: number;
  streams: number;
  reads: number;
}

/** What users do in some hours; everything that they begin has ended by then. */
async function day({ port, keys, admin, sessions: count, streams, reads }: Day): Promise<void> {
  const keyOf = (turn: number) => keys[turn % keys.length] ?? "";
  const readers = await Promise.all(Array.from({ length: streams }, (_, at) => read(port, keyOf(at))));
  await Promise.all([
    inTurn(count, SESSIONS_AT_ONCE, (turn) => use(port, keyOf(turn))),
    inTurn(reads, READS_AT_ONCE, (turn) => {
      const path = readPaths[turn % readPaths.length] ?? "";
      return ask({ port, key: turn % 2 === 0 ? admin : keyOf(turn), method: "GET", path });
    }),
  ]);
  for (const reader of readers) reader.destroy();
}

/** A session from its beginning to its end, which is asked for until it is heard. */
async function use(port: number, key: string): Promise<void> {
  const created = await ask({
    port,
    key,
    method: "POST",
    path: "/api/v1/sessions",
    body: { wait_seconds: 20 },
  });
  if (created === undefined || created.status >= 300) return;
  const { id } = JSON.parse(created.text) as { id: string };
  sessions.push(id);
  await ask({ port, key, method: "GET", path: `/api/v1/external-agents/${id}/screenshot` });
  for (;;) {
    const stopped = await ask({ port, key, method: "DELETE", path: `/api/v1/sessions/${id}` });
    if (stopped !== undefined && stopped.status < 500 && stopped.status !== 429) return;
    await pause(RETRY_MS);
  }
}

/** A stream of events, that is read. */
async function read(port: number, key: string): Promise<ClientRequest> {
  const headers = {
    accept: "text/event-stream",
    authorization: `Bearer ${key}`,
    "x-forwarded-for": "192.0.2.1",
  };
  const asked = request({ host: "127.0.0.1", port, path: "/api/v1/events", agent: false, headers });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`a stream was refused with ${answer.statusCode}`);
  answer.on("error", () => undefined);
  asked.on("error", () => undefined);
  answer.resume();
  opened += 1;
  return asked;
}

async function inTurn(count: number, atOnce: number, one: (turn: number) => Promise<unknown>): Promise<void> {
  let turn = 0;
  const worker = async () => {
    while (turn < count) {
      turn += 1;
      await one(turn);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

function counts(): UserCounts {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
  return {
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1),
    answered: sorted.length,
    unanswered,
    refused,
    sessions,
    streams: opened,
  };
}

serveCalls({
  /** Sessions, some at once; resolves when all are answered for. */
  create: ({ port, keys, count, atOnce }: { port: number; keys: string[]; count: number; atOnce: number }) =>
    inTurn(count, atOnce, (turn) => create(port, keys[turn % keys.length] ?? "")),
  day,
  start: (users: Users) => {
    stopped = false;
    running = run(users);
  },
  reset: () => {
    latencies = [];
    unanswered = 0;
    refused = {};
  },
  /** Resolves to what there was until then; those that still wait are not in it. */
  counts,
  /** Resolves when every request has been answered for. */
  stop: async () => {
    stopped = true;
    await running;
    return counts();
  },
});
