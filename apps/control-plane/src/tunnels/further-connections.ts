/**
 * Tunnels of an agent beside its first one: ways for requests, and nothing else. Each has a place of its own, so that other replicas find
 * it, and counts as long as the newest first tunnel of its wolf is of the same boot of the same agent.
 */
import { CONNECTIONS_MAX } from "@wolfpack/api-contract";
import { RevdialError, type Tunnel, type TunnelRequest, type TunnelResponse } from "revdial";
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { Log } from "../logger.ts";
import { isRepeatable, wasNotSent } from "./asked-again.ts";
import type { TunnelLink } from "./helix/grace.ts";
import { inOrder } from "./in-order.ts";
import { TunnelRegistry } from "./tunnel-registry.ts";

export interface Further {
  wolfId: string;
  /** 1 to 7. */
  connection: number;
}

export interface HeldFurther extends Further {
  /** Of the agent's boot. */
  incarnation: bigint;
}

/** Where they end, in the database. Those of this replica, but for `lives`. */
export interface FurtherPlaces {
  /** False: the newest first tunnel of this wolf is of another boot, or there is none. */
  put(held: HeldFurther): Promise<boolean>;
  /** Unless it is another replica's by now. */
  remove(further: Further): Promise<void>;
  /** Of these, those that count no more. */
  fenced(held: readonly HeldFurther[]): Promise<Further[]>;
  /** At any replica that lives. */
  lives(wolfId: string): Promise<boolean>;
}

export interface FurtherConnections {
  readonly registry: TunnelRegistry;
  /** Its place is put; false, and it is told to go: its agent is not the wolf's. Rejects without a database. */
  admit(held: HeldFurther, tunnel: Tunnel): Promise<boolean>;
  /** This one has ended, whether it was admitted or not. */
  left(held: HeldFurther): void;
  /** The live ones of this replica. */
  of(wolfId: string): Tunnel[];
  /** `first` with those of this replica beside it: the least loaded is asked, and another where that did not send. */
  link(wolfId: string, first: TunnelLink | undefined): TunnelLink | undefined;
  /** Wherever it ends. Without a database: here. */
  lives(wolfId: string): Promise<boolean>;
  /** Sends away those that count no more. Never rejects. */
  look(): Promise<void>;
  close(): void;
}

const LOOK_MS = 1000;
const FENCED_RETRY_MS = 15_000;
const FENCED_DRAIN_MS = 10_000;

export const furtherKey = ({ wolfId, connection }: Further): string => `${wolfId} ${connection}`;
const connections = Array.from({ length: CONNECTIONS_MAX - 1 }, (_, at) => at + 1);
/** Of all that a wolf may have. */
export const furtherKeys = (wolfId: string): string[] =>
  connections.map((connection) => furtherKey({ wolfId, connection }));

export function createFurtherConnections({
  places,
  clock,
  log,
}: {
  places: FurtherPlaces;
  clock: Clock;
  log: Log;
}): FurtherConnections {
  const registry = new TunnelRegistry();
  const held = new Map<string, HeldFurther>();
  const ordered = inOrder();
  let looking: Timer | undefined;

  const sendAway = (tunnel: Tunnel) =>
    tunnel.close({
      code: "REPLACED",
      reason: "a newer agent of this wolf has its tunnel",
      retryAfterMs: FENCED_RETRY_MS,
      drainMs: FENCED_DRAIN_MS,
    });

  const of = (wolfId: string): Tunnel[] =>
    registry.size === 0 ? [] : furtherKeys(wolfId).flatMap((key) => registry.dial(key) ?? []);

  async function look(): Promise<void> {
    if (held.size === 0) return;
    try {
      for (const further of await places.fenced([...held.values()])) {
        const tunnel = registry.get(furtherKey(further))?.tunnel;
        log.info(
          { wolf_id: further.wolfId, connection: further.connection },
          "a further tunnel counts no more",
        );
        if (tunnel !== undefined) void sendAway(tunnel);
      }
    } catch (err) {
      // Tunnels outlive the database.
      log.debug({ err }, "further tunnels were not looked at");
    }
  }

  return {
    registry,

    async admit(further, tunnel) {
      const key = furtherKey(further);
      const isPut = await ordered(key, async () => {
        const put = await places.put(further);
        if (put) held.set(key, further);
        return put;
      });
      if (isPut) {
        looking ??= repeat(clock, LOOK_MS, look);
        return true;
      }
      void sendAway(tunnel);
      return false;
    },

    left(further) {
      const key = furtherKey(further);
      const { wolfId, connection } = further;
      ordered(key, async () => {
        // Its place may be that of the next one by now.
        if (held.get(key) !== further) return;
        held.delete(key);
        await places.remove(further);
      }).catch((err: unknown) =>
        log.warn({ err, wolf_id: wolfId, connection }, "the place of a tunnel was not removed"),
      );
    },

    of,

    link(wolfId, first) {
      const others = of(wolfId);
      if (others.length === 0) return first;
      return { request: (request) => askAny([...(first === undefined ? [] : [first]), ...others], request) };
    },

    async lives(wolfId) {
      if (of(wolfId).length > 0) return true;
      return places.lives(wolfId).catch(() => false);
    },

    look,

    close() {
      looking?.cancel();
      looking = undefined;
    },
  };
}

const loadOf = (link: TunnelLink) => ("load" in link ? (link as Tunnel).load : 0);

async function askAny(links: readonly TunnelLink[], request: TunnelRequest): Promise<TunnelResponse> {
  const [best, ...others] = links.toSorted((a, b) => loadOf(a) - loadOf(b));
  if (best === undefined) throw new RevdialError("CLOSED", "there is no tunnel", { sent: "not-sent" });
  try {
    return await best.request(request);
  } catch (error) {
    if (others.length === 0 || !wasNotSent(error) || !isRepeatable(request)) throw error;
    return askAny(others, request);
  }
}

/** Where none are kept, none are taken. */
export const noFurtherPlaces: FurtherPlaces = {
  put: async () => false,
  remove: async () => {},
  fenced: async () => [],
  lives: async () => false,
};
