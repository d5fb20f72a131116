/**
 * Agents change to another replica, as before this one ends: each is asked to open another tunnel, and the one it has takes requests until
 * the new one counts. Whoever does not do so hears of the end by GOAWAY, as ever.
 */
import { AGENT_SERVICE, MOVE_PATH, type MoveRequest } from "@wolfpack/api-contract";
import { RevdialError, type Tunnel } from "revdial";
import { type Clock, pause, within } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { TunnelRegistry } from "./tunnel-registry.ts";

export interface MovingOptions {
  tunnels: readonly Tunnel[];
  /** Looks which of them have been overtaken by a newer one elsewhere, and sends those away. Never rejects. */
  sendOvertaken: () => Promise<void>;
  clock: Clock;
  random: () => number;
  log: Log;
}

/** So many agents may come to the other replicas in a second. */
const MOVES_PER_SECOND = 1000;
const SPREAD_MS_MIN = 500;
const SPREAD_MS_MAX = 4000;
/** For dialling, after the last was to begin. */
const DIAL_MS = 4000;
const ASK_MS = 2000;
const LOOK_MS = 250;

/** Over how much time as many agents are spread. */
export function spreadMsOf(tunnels: number): number {
  return Math.min(SPREAD_MS_MAX, Math.max(SPREAD_MS_MIN, (tunnels / MOVES_PER_SECOND) * 1000));
}

/** Resolves when all that took the wish have gone, and in time: how many took it, and how many of all have gone. Never rejects. */
export async function moveAway(
  options: MovingOptions,
): Promise<{ asked: number; moved: number; stayed: number }> {
  const { tunnels, sendOvertaken, clock, random, log } = options;
  const spreadMs = spreadMsOf(tunnels.length);
  const until = clock.now().getTime() + spreadMs + DIAL_MS;
  const answers = await Promise.all(
    tunnels.map((tunnel) => isAsked(tunnel, { after_ms: Math.floor(random() * spreadMs) })),
  );
  const moving = tunnels.filter((_, index) => answers[index]);
  const left = () => moving.filter(({ draining }) => !draining).length;
  while (left() > 0 && clock.now().getTime() < until) {
    await pause(clock, LOOK_MS);
    // A database that does not answer holds up nobody who has to go.
    await within(clock, DIAL_MS, sendOvertaken());
  }
  const moved = moving.length - left();
  const outcome = { asked: moving.length, moved, stayed: tunnels.length - moved };
  log.info(outcome, "agents have opened other tunnels");
  return outcome;
}

export interface MovingSome extends Omit<MovingOptions, "tunnels" | "sendOvertaken"> {
  wolves: TunnelRegistry;
  count: number;
  canMove: (tunnel: Tunnel) => boolean;
  sendOvertaken: (wolfIds: ReadonlySet<string>) => Promise<void>;
}

/** The same for so many wolves, drawn by lot; `moved`: of how many no tunnel is here any more that takes requests. */
export async function moveSome(options: MovingSome): Promise<{ asked: number; moved: number }> {
  const { wolves, count, canMove, sendOvertaken, random } = options;
  const able = wolves.list().filter(([, { tunnel }]) => canMove(tunnel));
  const drawn = able.map((live) => ({ live, lot: random() })).toSorted((a, b) => a.lot - b.lot);
  const some = drawn.slice(0, count).map(({ live }) => live);
  const tunnels = some.map(([, { tunnel }]) => tunnel);
  const ids = new Set(some.map(([id]) => id));
  const { asked } = await moveAway({ ...options, tunnels, sendOvertaken: () => sendOvertaken(ids) });
  return { asked, moved: some.filter(([id]) => wolves.dial(id) === undefined).length };
}

/** False: an agent of before, or one that does not answer. */
async function isAsked(tunnel: Tunnel, wish: MoveRequest): Promise<boolean> {
  const body = Buffer.from(JSON.stringify(wish));
  const request = { service: AGENT_SERVICE, method: "POST", path: MOVE_PATH, body, deadlineMs: ASK_MS };
  try {
    const reply = await tunnel.request(request);
    for await (const _ of reply.body);
    return reply.status === 202;
  } catch (error) {
    if (error instanceof RevdialError) return false;
    throw error;
  }
}
