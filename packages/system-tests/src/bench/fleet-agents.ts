/** Process: thousands of light agents. */
import { type AgentCounts, LightAgent, noCounts } from "./light-agent.ts";
import { serveCalls } from "./process.ts";

/** What is enrolled at once. */
const ENROLS_AT_ONCE = 32;
/** Beats are due this often, some at once: a timer for each agent would not keep its time. */
const TICK_MS = 20;
const UP_WITHIN_MS = 30_000;

/** Those that beat by HTTP. */
const OLD_WOLVES = 200;

const agents: LightAgent[] = [];
const old: string[] = [];
const counts: AgentCounts = noCounts();
let beating: NodeJS.Timeout | undefined;

/** With an address of its own each, as a proxy tells it. */
const addressOf = (at: number) => `10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}`;

async function enrol({
  from,
  count,
  ...how
}: {
  from: number;
  count: number;
  ports: number[];
  token: string;
}) {
  for (let at = from; at < from + count; at += 1) {
    const port = how.ports[at % how.ports.length] ?? 0;
    agents.push(new LightAgent(`gpu-${at}`, { port, from: addressOf(at) }, counts));
  }
  const left = agents.filter(({ wolfId }) => wolfId === "");
  const worker = async () => {
    for (let agent = left.pop(); agent !== undefined; agent = left.pop()) await agent.enrol(how.token);
  };
  await Promise.all(Array.from({ length: ENROLS_AT_ONCE }, worker));
}

/** Spread over so long, as hosts come one after the other. */
async function start({ overMs }: { overMs: number }) {
  const begun = performance.now();
  for (const [at, agent] of agents.entries()) {
    const dueMs = (at / agents.length) * overMs - (performance.now() - begun);
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
    agent.start();
  }
}

/** All together so many times a second, in turn; 0: none. */
function beat({ perSecond }: { perSecond: number }) {
  clearInterval(beating);
  if (perSecond === 0) return;
  const begun = performance.now();
  let done = 0;
  beating = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1000) * perSecond);
    for (; done < due; done += 1) agents[done % agents.length]?.beat();
  }, TICK_MS);
}

/** Wolves as agents of before register them; those have neither keys nor tunnels. */
async function registerByHttp({ token }: { token: string }) {
  for (let at = 0; at < OLD_WOLVES; at += 1) {
    const like = agents[at % agents.length] as LightAgent;
    old.push(await like.registerByHttp(`old-${like.name}-${at}`, token));
  }
}

/** By HTTP, so many a second for so long; resolves to how many were answered with which status, and to the seconds it took. */
async function beatByHttp({
  token,
  perSecond,
  seconds,
}: {
  token: string;
  perSecond: number;
  seconds: number;
}) {
  const begun = performance.now();
  const statuses: Record<string, number> = {};
  const waiting: Promise<void>[] = [];
  const one = async (at: number) => {
    const agent = agents[at % agents.length] as LightAgent;
    const status = await agent.beatByHttp(old[at % old.length] ?? "", token).catch(() => 0);
    statuses[status] = (statuses[status] ?? 0) + 1;
  };
  for (let done = 0; done < perSecond * seconds; ) {
    const due = Math.min(perSecond * seconds, Math.floor(((performance.now() - begun) / 1000) * perSecond));
    for (; done < due; done += 1) waiting.push(one(done));
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(waiting);
  return { statuses, seconds: (performance.now() - begun) / 1000 };
}

interface Visit {
  /** What the first one's number is; no name is used again. */
  from: number;
  count: number;
  port: number;
  token: string;
  /** A key that may remove wolves. */
  admin: string;
}

/** Hosts that join, serve for a moment and are removed with their tunnels. */
async function visit({ from, count, port, token, admin }: Visit) {
  const one = async (at: number) => {
    const agent = new LightAgent(`visitor-${at}`, { port, from: addressOf(at) }, counts);
    await agent.enrol(token);
    agent.start();
    const until = performance.now() + UP_WITHIN_MS;
    while (!isUp(agent)) {
      if (performance.now() > until) throw new Error(`${agent.name} did not come up`);
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    agent.beat();
    const url = `http://127.0.0.1:${port}/api/v1/wolf-instances/${agent.wolfId}`;
    const headers = { authorization: `Bearer ${admin}`, "x-forwarded-for": addressOf(at) };
    const { status } = await fetch(url, { method: "DELETE", headers });
    if (status !== 200) throw new Error(`${agent.name} was not removed: ${status}`);
    await agent.stop();
  };
  await Promise.all(Array.from({ length: count }, (_, at) => one(from + at)));
}

const isUp = ({ tunnel }: LightAgent) => tunnel?.draining === false;

serveCalls({
  enrol,
  start,
  beat,
  registerByHttp,
  beatByHttp,
  live: () => agents.filter(isUp).length,
  resetCounts: () => Object.assign(counts, noCounts()),
  counts: () => counts,
  /** Names and sessions of all lobbies, one for each lobby. */
  lobbies: () =>
    agents.flatMap(({ wolfId, lobbies }) => [...lobbies.values()].map(({ name }) => ({ wolfId, name }))),
  /** Some go and come back: those from `from`, so many. */
  flap: async ({ from, count }: { from: number; count: number }) => {
    const some = Array.from({ length: count }, (_, at) => agents[(from + at) % agents.length] as LightAgent);
    await Promise.all(some.map((agent) => agent.stop()));
    for (const agent of some) agent.start();
  },
  visit,
  stop: async () => {
    clearInterval(beating);
    await Promise.all(agents.map((agent) => agent.stop()));
  },
});
