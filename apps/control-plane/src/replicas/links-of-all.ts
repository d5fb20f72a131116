/** The way into every tunnel of the cluster: one that ends here directly, any other through the replica that holds it. */
import { RevdialError, type TunnelRequest, type TunnelResponse } from "revdial";
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
  membership: Pick<Membership, "peers" | "peer">;
  places: Pick<TunnelPlaces, "find" | "findWolf">;
  forwarding: Pick<Forwarding, "ask">;
  onForwarded?: (outcome: "answered" | "failed") => void;
  /** Default: nobody watches. */
  hops?: Pick<HopWatch, "out">;
}

/** Where wolves were last found, for times without a database; of more, the oldest are forgotten. */
const KNOWN_MAX = 20_000;
/** A tunnel that has just moved is looked for once more. */
const TRIES = 2;

export function linksOfAll(options: LinksOfAllOptions): Links {
  const { local, isHere, membership, places, forwarding, onForwarded = () => {} } = options;
  const { hops = unwatchedHops } = options;
  const known = new Map<string, Owner>();

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

  async function askWolf(id: string, request: TunnelRequest, triesLeft = TRIES): Promise<TunnelResponse> {
    if (isHere(id)) return linkHere(id).request(request);
    const owner = await ownerOf(id);
    if (owner === undefined) return linkHere(id).request(request);
    try {
      return await ask(owner, "wolf", id, request);
    } catch (error) {
      if (triesLeft <= 1 || !mayAskAgain(error, request)) throw error;
      return askWolf(id, request, triesLeft - 1);
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
      if (isHere(wolfId) || membership.peers.length === 0) return local.wolf(wolfId);
      return { request: (request) => askWolf(wolfId, request) };
    },

    async sandbox(sessionId) {
      const here = await local.sandbox(sessionId);
      if (here !== undefined || membership.peers.length === 0) return here;
      const owner = await places.find(sessionId).catch(() => undefined);
      return owner && { request: (request) => ask(owner, "sandbox", sessionId, request) };
    },
  };
}

const unreachable = (cause?: unknown) =>
  new RevdialError("CLOSED", "no replica holds a tunnel of this wolf", { sent: "not-sent", cause });

function mayAskAgain(error: unknown, { body, signal }: TunnelRequest): boolean {
  const isWhole = body === undefined || body instanceof Uint8Array;
  return (
    error instanceof RevdialError &&
    error.sent === "not-sent" &&
    error.code === "CLOSED" &&
    isWhole &&
    signal?.aborted !== true
  );
}
