/** The way into every tunnel of the cluster: one that ends here directly, any other through the replica that holds it. */
import { RevdialError, type TunnelRequest, type TunnelResponse } from "revdial";
import { type Clock, pause } from "../clock.ts";
import { isRepeatable, wasNotSent } from "../tunnels/asked-again.ts";
import type { TunnelLink } from "../tunnels/helix/grace.ts";
import type { Links } from "../tunnels/tunnels.ts";
import type { Forwarding } from "./forwarding.ts";
import { type HopWatch, unwatchedHops } from "./hop-watch.ts";
import { type Holder, tunnelPrefix } from "./internal-wire.ts";
import type { Membership } from "./membership.ts";
import type { Owner, TunnelPlaces } from "./replica-store.ts";

export interface LinksOfAllOptions {
  local: Links;
  /** A live tunnel of this replica, and not the wait for one. */
  isHere: (wolfId: string) => boolean;
  /** No other replica can reach this one: there are none. */
  alone: boolean;
  membership: Pick<Membership, "peer">;
  places: Pick<TunnelPlaces, "find" | "findWolf" | "findFurther" | "expectsWolf">;
  clock: Clock;
  forwarding: Pick<Forwarding, "ask">;
  onForwarded?: (outcome: "answered" | "failed") => void;
  /** Default: nobody watches. */
  hops?: Pick<HopWatch, "out">;
}

/** Where wolves were last found, for times without a database; of more, the oldest are forgotten. */
const KNOWN_MAX = 20_000;
/** An agent that has lost its tunnel, or moves to another replica, is back within. */
const RETURN_MS = 4000;
const LOOK_MS_MIN = 20;
const LOOK_MS_MAX = 320;
/** Requests that wait for a return, of one wolf and of all; more fail at once. */
const WAITING_PER_WOLF_MAX = 64;
const WAITING_MAX = 1024;

export function linksOfAll(options: LinksOfAllOptions): Links {
  const { local, isHere, alone, membership, places, forwarding, clock, onForwarded = () => {} } = options;
  const { hops = unwatchedHops } = options;
  const known = new Map<string, Owner>();
  const waiting = createWaiting();

  async function ownerOf(wolfId: string): Promise<Owner | undefined> {
    try {
      const owner = await places.findWolf(wolfId);
      known.delete(wolfId);
      if (owner === undefined) return undefined;
      known.set(wolfId, owner);
      if (known.size > KNOWN_MAX) known.delete(known.keys().next().value as string);
      return owner;
    } catch (error) {
      // Tunnels outlive the database; so does the way to them.
      const last = known.get(wolfId);
      if (last !== undefined && membership.peer(last.id) !== undefined) return last;
      throw unreachable(error);
    }
  }

  async function ask(
    owner: Owner,
    holder: Holder,
    id: string,
    request: TunnelRequest,
  ): Promise<TunnelResponse> {
    try {
      const { service } = request;
      const response = await hops.out({ replica: owner.id, service }, (traceparent) =>
        forwarding.ask(
          owner,
          tunnelPrefix(holder, id, service),
          traceparent ? { ...request, traceparent } : request,
        ),
      );
      onForwarded("answered");
      return response;
    } catch (error) {
      onForwarded("failed");
      throw error;
    }
  }

  /** Here; else where the newest tunnel is; else where another of the same agent is. */
  async function askOnce(id: string, request: TunnelRequest): Promise<TunnelResponse> {
    if (isHere(id)) return linkHere(id).request(request);
    const owner = await ownerOf(id);
    let last: unknown;
    for await (const holder of holdersOf(id, owner)) {
      try {
        return await ask(holder, "wolf", id, request);
      } catch (error) {
        if (!mayAskAgain(error, request)) throw error;
        last ??= error;
      }
    }
    if (last !== undefined) throw last;
    return linkHere(id).request(request);
  }

  async function* holdersOf(id: string, owner: Owner | undefined): AsyncGenerator<Owner> {
    if (owner !== undefined) yield owner;
    for (const holder of await places.findFurther(id).catch(() => []))
      if (holder.id !== owner?.id) yield holder;
  }

  /** What was not sent for want of a tunnel is asked again until the agent is back, if it is expected. */
  async function askWolf(id: string, request: TunnelRequest): Promise<TunnelResponse> {
    const begun = clock.elapsedMs();
    // A try takes as long as it takes: 3 s where packets vanish.
    const spentMs = () => clock.elapsedMs() - begun;
    const { deadlineMs } = request;
    const limitMs = Math.min(RETURN_MS, deadlineMs ?? RETURN_MS);
    for (let lookMs = LOOK_MS_MIN; ; lookMs = Math.min(2 * lookMs, LOOK_MS_MAX)) {
      try {
        return await askOnce(
          id,
          deadlineMs === undefined
            ? request
            : { ...request, deadlineMs: Math.max(1, deadlineMs - spentMs()) },
        );
      } catch (error) {
        if (spentMs() + lookMs >= limitMs || !mayAskAgain(error, request)) throw error;
        if (!(await places.expectsWolf(id).catch(() => false)) || !waiting.enter(id)) throw error;
      }
      await pause(clock, lookMs);
      waiting.leave(id);
    }
  }

  /** Live, or the wait for the next one of an agent of Helix. */
  function linkHere(id: string): TunnelLink {
    const link = local.wolf(id);
    if (link === undefined) throw unreachable();
    return link;
  }

  return {
    wolf(wolfId) {
      if (isHere(wolfId) || alone) return local.wolf(wolfId);
      return { request: (request) => askWolf(wolfId, request) };
    },

    async sandbox(sessionId) {
      const here = await local.sandbox(sessionId);
      if (here !== undefined || alone) return here;
      const owner = await places.find(sessionId).catch(() => undefined);
      return owner && { request: (request) => ask(owner, "sandbox", sessionId, request) };
    },
  };
}

const unreachable = (cause?: unknown) =>
  new RevdialError("CLOSED", "no replica holds a tunnel of this wolf", { sent: "not-sent", cause });

function createWaiting() {
  const perWolf = new Map<string, number>();
  let all = 0;
  const change = (id: string, by: 1 | -1) => {
    all += by;
    const now = (perWolf.get(id) ?? 0) + by;
    if (now === 0) perWolf.delete(id);
    else perWolf.set(id, now);
  };
  return {
    enter(id: string): boolean {
      if (all >= WAITING_MAX || (perWolf.get(id) ?? 0) >= WAITING_PER_WOLF_MAX) return false;
      change(id, 1);
      return true;
    },
    leave: (id: string) => change(id, -1),
  };
}

/** There was no tunnel to send it through. */
function mayAskAgain(error: unknown, request: TunnelRequest): boolean {
  return wasNotSent(error) && error.code === "CLOSED" && isRepeatable(request);
}
