/**
 * What stands in for an agent of Helix in this process. Such an agent passes on bytes and looks at none: the guard before its Wolf is
 * here, and so is what an agent of ours says of its host, as far as that can be known from here.
 */
import { AGENT_SERVICE, POLICY_PATH } from "@wolfpack/api-contract";
import {
  type AskWolf,
  createWolfGuard,
  defaultWolfPolicy,
  policyDocument,
  UpstreamError,
} from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, Reply, RequestHandler, Tunnel } from "revdial";
import { type ForwardOptions, type ForwardTarget, forwardTo } from "revdial/http";
import type { Clock } from "../../clock.ts";
import type { Log } from "../../logger.ts";
import { askThrough } from "./ask-through.ts";
import { headerOf, refuse, serviceUnknown } from "./refusals.ts";
import { watchWolf } from "./wolf-watch.ts";

/** The agent's end of the tunnel: what an agent says, it says there. */
export type AgentEnd = Pick<Tunnel, "ready" | "closed" | "notify">;

/** Given the way through the agent's data connections. */
export type StandIn = (pipe: ForwardTarget, end: AgentEnd) => RequestHandler;

export interface StandInOptions {
  clock: Clock;
  log: Log;
}

const REPLY_BYTES_MAX = 4 * 1024 * 1024;
/** Creations hold Wolf's threads, of which nobody says how many there are: Wolf has at least two. */
const CREATES_MAX = 1;
/** More than the 20 s of a pick-up, which may have to wait for others; each request has a limit of its own besides. */
export const pipeOptions: ForwardOptions = { connectTimeoutMs: 30_000 };

export type WolfGuard = ReturnType<typeof createWolfGuard>;

/**
 * The guards of wolves, by id. Each outlives the connections of its agent: the places that creations hold in Wolf, and the homes that
 * were given out, are Wolf's and not theirs. Kept for good: hosts are few.
 */
export class WolfGuards {
  private readonly guards = new Map<string, WolfGuard>();

  of(wolfId: string): WolfGuard {
    const known = this.guards.get(wolfId);
    if (known !== undefined) return known;
    const guard = createWolfGuard({ ask: unreachable, policy: defaultWolfPolicy, createsMax: CREATES_MAX });
    this.guards.set(wolfId, guard);
    return guard;
  }
}

/** Each request says how. */
const unreachable: AskWolf = () =>
  Promise.reject(new UpstreamError("upstream-unreachable", "there is no way to it"));

/** Of a wolf: its Wolf behind the guard, and notices of how it does. */
export function wolfStandIn(guard: WolfGuard, { clock, log }: StandInOptions): StandIn {
  return (pipe, end) => {
    const ask = wolfThrough(pipe, clock);
    let onOutcome: (answered: boolean) => void = () => undefined;
    void end.ready.then(
      () => {
        const watch = watchWolf({
          ask,
          clock,
          log,
          notify: (type, payload) => void end.notify(type, Buffer.from(JSON.stringify(payload))),
        });
        onOutcome = (answered) => watch.saw(answered);
        void end.closed.then(() => watch.stop());
      },
      () => undefined,
    );
    const observedAsk: AskWolf = (question) => observed(ask(question), (answered) => onOutcome(answered));
    return async (request, reply) => {
      if (isPolicy(request)) return policyAnswer;
      if (request.service !== "wolf") return refuse(log, request, serviceUnknown);
      return throughGuard(guard, observedAsk, { request, reply, log });
    };
  };
}

const isPolicy = ({ service, method, path }: IncomingRequest) =>
  service === AGENT_SERVICE && method === "GET" && path === POLICY_PATH;

/** Of every stand-in: the file that changes a policy lies on hosts of our agents only. */
const policyAnswer: OutgoingResponse = {
  status: 200,
  headers: [["content-type", "application/json"]],
  body: Buffer.from(JSON.stringify(policyDocument(defaultWolfPolicy, CREATES_MAX))),
};

/** Of a service that is passed on as it is. */
export function pipeStandIn(service: string, { log }: Pick<StandInOptions, "log">): StandIn {
  return (pipe) => {
    const forward = forwardTo(pipe, pipeOptions);
    return (request, reply) =>
      request.service === service ? forward(request, reply) : refuse(log, request, serviceUnknown);
  };
}

/**
 * What changes something goes on a connection of its own: one that was kept may die with it, and then nobody knows whether it has
 * been heard.
 */
function wolfThrough(pipe: ForwardTarget, clock: Clock): AskWolf {
  const kept = forwardTo(pipe, pipeOptions);
  const fresh = forwardTo(pipe, { ...pipeOptions, idleConnectionsMax: 0 });
  return (question) =>
    askThrough(
      question.method === "GET" ? kept : fresh,
      { ...question, replyBytesMax: REPLY_BYTES_MAX },
      clock,
    );
}

async function observed<T>(asked: Promise<T>, saw: (answered: boolean) => void): Promise<T> {
  try {
    const reply = await asked;
    saw(true);
    return reply;
  } catch (error) {
    if (error instanceof UpstreamError && error.code === "upstream-unreachable") saw(false);
    throw error;
  }
}

async function throughGuard(
  guard: WolfGuard,
  ask: AskWolf,
  { request, reply, log }: { request: IncomingRequest; reply: Reply; log: Log },
): Promise<OutgoingResponse> {
  const { method, path, hasBody } = request;
  const outcome = await guard({
    method,
    path,
    body: hasBody ? request.body : undefined,
    contentLength: headerOf(request, "content-length"),
    signal: new Caller(reply),
    ask,
  });
  if (!outcome.ok) return refuse(log, request, outcome.refusal);
  const { status, contentType = "application/json", body } = outcome;
  return { status, headers: [["content-type", contentType]], body };
}

/** Who waits for an answer, as a signal of one listener. */
class Caller {
  private readonly reply: Reply;
  private listener: (() => void) | undefined;

  constructor(reply: Reply) {
    this.reply = reply;
    reply.onClose((error) => {
      if (error) this.listener?.();
    });
  }

  get aborted(): boolean {
    return this.reply.over;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.listener = listener;
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    if (this.listener === listener) this.listener = undefined;
  }
}
