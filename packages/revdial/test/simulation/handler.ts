/** The end of an exchange that answers: does what the plan says, and looks whether it was asked what was planned. */
import { createHash } from "node:crypto";
import {
  type IncomingRequest,
  type OutgoingResponse,
  RevdialError,
  type RevdialErrorCode,
} from "../../src/index.ts";
import type { Side } from "../../src/testing/index.ts";
import type { Reply, Tunnel } from "../../src/tunnel.ts";
import type { Kind } from "./plan.ts";
import { talk } from "./talk.ts";
import { type Exchange, Planned, type World } from "./world.ts";

interface Turn {
  world: World;
  exchange: Exchange;
  request: IncomingRequest;
  reply: Reply;
  headers: [string, string][];
}

type Answering = (turn: Turn) => Promise<OutgoingResponse | undefined> | OutgoingResponse | undefined;

export const trailersOf = (id: number) => [["x-end", String(id)]] as const;

/** The sum of a whole upload, which is what the caller of a `digest` compares. */
async function readAll({ world, exchange, request }: Turn): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of request.body) {
    world.took(exchange, "up", chunk);
    hash.update(chunk);
  }
  exchange.up.complete = true;
  return hash.digest("hex");
}

/** The handler's promise ends when the caller is gone. */
function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}

function drained(reply: Reply): Promise<void> {
  return new Promise((resolve) => reply.onDrain(resolve));
}

function end({ exchange: { plan } }: Turn): { trailers?: readonly (readonly [string, string])[] } {
  return plan.trailers ? { trailers: trailersOf(plan.id) } : {};
}

function download(turn: Turn): OutgoingResponse {
  const { world, exchange, headers } = turn;
  const body = world.produce(exchange, "down", exchange.plan.download);
  return { status: 200, headers, body, ...end(turn) };
}

async function pieces(turn: Turn): Promise<undefined> {
  const { world, exchange, reply, headers } = turn;
  for (let n = 0; n < exchange.plan.interims; n += 1) reply.interim(103, [["x-interim", String(n)]]);
  reply.head(200, headers);
  for await (const chunk of world.produce(exchange, "down", exchange.plan.download)) {
    if (!reply.write(chunk) && !reply.over) await drained(reply);
    if (reply.over) return undefined;
  }
  reply.end(undefined, end(turn).trailers);
  return undefined;
}

async function socket(turn: Turn): Promise<undefined> {
  const { world, exchange, reply } = turn;
  const stream = reply.accept(turn.headers);
  const { kind, detail, download: flow, reading } = exchange.plan;
  const breaks = kind === "socket-broken" && detail === "handler";
  await talk(world, exchange, stream, { flow, leaveAtBytes: breaks ? reading.leaveAtBytes : undefined });
  return undefined;
}

const answers: Record<Kind, Answering> = {
  echo: (turn) => {
    turn.exchange.up.left = true; // Taken by the answer.
    return { status: 200, headers: turn.headers, body: turn.request.body, ...end(turn) };
  },
  async digest(turn) {
    const sum = await readAll(turn);
    return { status: 200, headers: [...turn.headers, ["x-sum", sum]], ...end(turn) };
  },
  download,
  async duplex(turn) {
    // Its end is its own business: the answer may be complete, or nobody's wish any more, before the upload is.
    readAll(turn).catch(() => undefined);
    return download(turn);
  },
  pieces,
  early: (turn) => {
    turn.exchange.up.left = true;
    return { status: 200, headers: turn.headers, ...end(turn) };
  },
  never: ({ request }) => untilAborted(request.signal),
  refuse({ exchange: { plan } }) {
    throw new RevdialError(plan.detail as RevdialErrorCode, "as planned");
  },
  fail() {
    throw new Planned("the handler fails");
  },
  silent: () => undefined,
  "broken-answer": download,
  async "broken-upload"(turn) {
    await readAll(turn);
    throw new Planned("an upload that fails has come to its end");
  },
  leave: download,
  unread: download,
  illegal: () => ({ status: 200 }),
  stillborn: () => ({ status: 200 }),
  socket,
  "socket-refused": ({ exchange: { plan }, headers }) => ({
    status: 403,
    headers,
    body: new TextEncoder().encode(`not you, ${plan.id}`),
  }),
  "socket-broken": socket,
};

function compare(world: World, { plan }: Exchange, request: IncomingRequest, side: Side): void {
  const wrong = (what: string) => world.fault(`exchange ${plan.id} (${plan.kind}): ${what} at the handler`);
  const socket = plan.kind.startsWith("socket");
  if (plan.from === side) wrong("came back to its caller");
  if (request.service !== "sim") wrong(`service ${request.service}`);
  if (request.method !== (socket ? "GET" : "POST")) wrong(`method ${request.method}`);
  const { whole, upload: { bytes } = { bytes: 0 } } = plan;
  const announced = whole && !socket && bytes > 0 && Number.isFinite(bytes);
  if (String(request.headers) !== `x-id,${plan.id}${announced ? `,content-length,${bytes}` : ""}`)
    wrong(`headers ${request.headers}`);
  if (request.upgrade !== (socket ? "sim" : undefined)) wrong(`upgrade ${request.upgrade}`);
  const left = request.deadlineMs;
  if ((left === undefined) !== (plan.deadlineMs === undefined) || (left ?? 0) > (plan.deadlineMs ?? 0))
    wrong(`deadline ${left} instead of ${plan.deadlineMs}`);
}

/** Calls that have not ended yet are `seen` and not `handled`. */
export function serve(world: World, tunnel: Tunnel, side: Side): void {
  tunnel.serve(async (request, reply) => {
    const exchange = world.exchanges.get(Number(request.path.slice(1)));
    if (exchange === undefined) {
      world.fault(`a request for ${request.path} that nobody made`);
      return { status: 404 };
    }
    const { plan } = exchange;
    exchange.seen += 1;
    compare(world, exchange, request, side);
    const signal = plan.stubbornMs > 0 ? undefined : request.signal;
    try {
      if (plan.waitMs > 0) await world.sleep(plan.waitMs);
      signal?.throwIfAborted();
      const headers: [string, string][] = [["x-id", String(plan.id)]];
      return await answers[plan.kind]({ world, exchange, request, reply, headers });
    } finally {
      if (plan.stubbornMs > 0) await world.sleep(plan.stubbornMs);
      exchange.handled += 1;
    }
  });
}
