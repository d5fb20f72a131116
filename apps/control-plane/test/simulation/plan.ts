/** What one run is to be, from its seed and what the command line says: how large, how long, and which faults how often. */

import type { UserPrincipal } from "../../src/identity/principal.ts";
import type { DatabaseTemper } from "./database.ts";
import { Dice } from "./dice.ts";
import type { Temper } from "./wolf.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

export interface Options {
  seed: number;
  /** Default: 3 to 14, by the seed. */
  wolves?: number | undefined;
  /** Of virtual time; default: a quarter to half an hour, by the seed. */
  hours?: number | undefined;
  /** Default: by the seed. */
  weather?: Weather | undefined;
  /** Stops after so many events; default: at the end of its time. */
  steps?: number | undefined;
}

/** What happens once in a while, in the whole world. */
export const faultKinds = [
  /** Of a host's path: both ways, one way, answers only. */
  "cut",
  "oneWay",
  "mute",
  "agentCrash",
  "agentVanish",
  "agentPause",
  "wolfCrash",
  "wolfStuck",
  "slowHost",
  "resize",
  /** Lobbies that nobody knows: with our tag, and without. */
  "leftover",
  "foreign",
  "replicaKill",
  "replicaPause",
  "replicaRestart",
  /** Stopped, replaced, and then it goes on for a moment. */
  "replicaSuperseded",
  "clockJump",
  "databaseDown",
  "massLoss",
] as const;
export type FaultKind = (typeof faultKinds)[number];

export const weathers = [
  "calm",
  "network",
  "agents",
  "wolves",
  "replicas",
  "database",
  "mass-loss",
  "operators",
  "everything",
] as const;
export type Weather = (typeof weathers)[number];

type Rates = Partial<Record<FaultKind | "operator", number>>;

export interface Plan {
  seed: number;
  weather: Weather;
  wolves: number;
  /** Faults go on until then. */
  untilMs: number;
  stepsMax: number;
  /** Faults stop at the end, but for one host that is heard and does not hear; then everything has to come right. */
  liveness: boolean;
  /** Mean time in milliseconds between two of a kind; absent: never. */
  faults: Rates;
  /** Share of statements after which the replica is killed. */
  killAtStep: number;
  /** Shares of requests to a host within whose time its Wolf dies, and its agent. */
  crashAtRequest: number;
  temper: Temper;
  database: DatabaseTemper;
  /** Between two creations of all users together. */
  createEveryMs: number;
  users: number;
  heartbeatMs: number;
  slots: readonly [min: number, max: number];
}

type Span = readonly [min: number, max: number];

/** Of one host, so that a larger fleet has more of them; in minutes. */
const perHost: Record<Weather, Rates> = {
  calm: {},
  network: { cut: 6, oneWay: 8, mute: 15 },
  agents: { agentCrash: 8, agentVanish: 10, agentPause: 10 },
  wolves: { wolfCrash: 12, wolfStuck: 15, slowHost: 20, resize: 20 },
  replicas: {},
  database: {},
  "mass-loss": { cut: 20 },
  operators: { operator: 6, resize: 20 },
  everything: {
    cut: 15,
    oneWay: 20,
    mute: 40,
    agentCrash: 20,
    agentVanish: 30,
    agentPause: 30,
    wolfCrash: 30,
    wolfStuck: 30,
    slowHost: 60,
    resize: 40,
    operator: 20,
  },
};
const always: Rates = { leftover: 100, foreign: 50 };

/** Of the control plane as a whole; in minutes. */
const perFleet: Record<Weather, Rates> = {
  calm: {},
  network: {},
  agents: {},
  wolves: {},
  replicas: { replicaKill: 4, replicaPause: 6, replicaRestart: 5, replicaSuperseded: 8, clockJump: 8 },
  database: { databaseDown: 4, replicaKill: 12 },
  "mass-loss": { massLoss: 6, replicaKill: 15 },
  operators: { replicaKill: 15 },
  everything: {
    replicaKill: 8,
    replicaPause: 12,
    replicaRestart: 12,
    replicaSuperseded: 20,
    clockJump: 15,
    databaseDown: 12,
    massLoss: 20,
  },
};
const killAtStep: Partial<Record<Weather, number>> = { replicas: 0.0005, everything: 0.0001 };
const crashAtRequest: Partial<Record<Weather, number>> = { agents: 0.01, wolves: 0.01, everything: 0.002 };

function faultsOf(weather: Weather, wolves: number): Rates {
  const rates: Rates = {};
  const add = (more: Rates, hosts: number) => {
    for (const [kind, minutes] of Object.entries(more)) rates[kind as FaultKind] = (minutes * MINUTE) / hosts;
  };
  add(perFleet[weather], 1);
  add({ ...always, ...perHost[weather] }, wolves);
  return rates;
}

const creations: [Span, ...Span[]] = [
  [300, 2000],
  [1000, 8000],
  [500, 25_000],
];

function temperOf(weather: Weather, dice: Dice): Temper {
  const rough = weather === "wolves" || weather === "everything";
  return {
    // A replica that dies in the middle of a creation needs creations that have a middle.
    createMs: dice.pick<Span>(weather === "replicas" ? [[500, 25_000]] : creations),
    answerMs: [1, 30],
    refused: rough ? 0.06 : 0.01,
    refusedButMade: rough ? 0.04 : 0,
    vanishing: rough ? 0.06 : 0.01,
    listedEarly: 0.3,
    silentEnds: rough ? 0.3 : 0.05,
    sandboxLifeMs: dice.pick([5, 15, 60]) * MINUTE,
    connectedMs: dice.pick([20, 120, 600]) * SECOND,
  };
}

function databaseOf(weather: Weather): DatabaseTemper {
  const rough = weather === "database" || weather === "everything";
  return {
    latencyMs: [0.3, 5],
    failsBefore: rough ? 0.01 : 0,
    failsAfter: rough ? 0.01 : 0,
    slow: rough ? 0.01 : 0.001,
    slowMs: [50, 1500],
  };
}

export function planOf({ seed, wolves: asked, hours, steps, weather: wished }: Options): Plan {
  const dice = new Dice(seed);
  const byChance = dice.chance(0.25) ? "everything" : dice.pick(weathers);
  const weather = wished ?? byChance;
  const wolves = asked ?? dice.int(3, 14);
  const untilMs = hours === undefined ? dice.int(12, 25) * MINUTE : hours * 60 * MINUTE;
  const busy = dice.pick([0.4, 0.9, 1.4]);
  const slots = dice.pick<Span>([
    [1, 3],
    [2, 8],
    [4, 12],
  ]);
  const temper = temperOf(weather, dice);
  // So that the fleet would be `busy` times full if every session lasted as long as its sandbox or its user likes.
  const lifeMs = Math.min(temper.sandboxLifeMs, 8 * MINUTE);
  const capacity = wolves * ((slots[0] + slots[1]) / 2);
  return {
    seed,
    weather,
    wolves,
    untilMs,
    stepsMax: steps ?? Number.POSITIVE_INFINITY,
    liveness: dice.chance(0.5),
    faults: faultsOf(weather, wolves),
    // As often in a large fleet as in a small one: it makes more statements.
    killAtStep: ((killAtStep[weather] ?? 0) * 10) / Math.max(10, wolves),
    crashAtRequest: crashAtRequest[weather] ?? 0,
    temper,
    database: databaseOf(weather),
    createEveryMs: lifeMs / (capacity * busy),
    users: dice.int(2, 8) + Math.floor(wolves / 2),
    heartbeatMs: wolves > 200 ? 30 * SECOND : 10 * SECOND,
    slots,
  };
}

const principal = (userId: string, role: UserPrincipal["role"]): UserPrincipal => ({
  kind: "user",
  userId,
  role,
  scopes: null,
  credentialId: `key of ${userId}`,
});

export const operator = principal("usr_operator", "operator");

export function usersOf({ users }: Plan): UserPrincipal[] {
  return Array.from({ length: users }, (_, at) => principal(`usr_${at + 1}`, "user"));
}
