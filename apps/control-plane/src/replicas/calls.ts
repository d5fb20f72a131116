/**
 * Calls that come here and belong to another replica: connections of a tunnel that ends there, and questions about its wolf. They are
 * passed on whole, once, with the caller's own credentials (door.ts takes them). Which replica it is says the row of the tunnel, or a
 * row under the digest of the secret that its connections show.
 */
import { createHash } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { RevdialError, type TunnelRequest, type TunnelResponse } from "revdial";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";
import { pairsOf, travelling } from "./fields.ts";
import type { Forwarding } from "./forwarding.ts";
import { CALL_PREFIX, CLIENT_FIELD } from "./internal-wire.ts";
import type { Membership } from "./membership.ts";
import { passedOn } from "./passed-on.ts";
import type { PassOnUpgrade } from "./raw-upgrade.ts";
import type { Owner, TunnelPlaces } from "./replica-store.ts";

/** What a tunnel's further connections show. */
export type SecretKind = "http" | "helix";

export interface Calls {
  /**
   * Connections that show this secret belong here until `carrier` closes. Resolves once others can know it, or cannot: without a
   * database a tunnel is better than none. Never rejects.
   */
  hold(kind: SecretKind, secret: string, carrier: Carrier): Promise<void>;
  /** To whom a call belongs that shows a secret nobody here knows; undefined: nobody, or it came from a replica. Rejects: not known now. */
  ownerOf(kind: SecretKind, secret: string, request: IncomingMessage): Promise<Owner | undefined>;
  /** Rejects with a RevdialError as long as nothing was answered. */
  passOn(owner: Owner, request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** The same for an upgrade, until it has ended. Rejects with a RevdialError as long as the socket is as it was. */
  passOnUpgrade(owner: Owner, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  /** Asks whoever holds the wolf's tunnel the same; undefined: nobody else does, or this is asked by a replica. Rejects with a RevdialError. */
  askHolder(
    wolfId: string,
    request: IncomingMessage,
  ): Promise<{ owner: Owner; reply: TunnelResponse } | undefined>;
}

export interface Carrier extends Pick<EventEmitter, "once"> {
  readonly closed: boolean;
}

export interface CallsOptions {
  /** Undefined: others do not reach this replica. */
  places: Pick<TunnelPlaces, "put" | "remove"> | undefined;
  find: Pick<TunnelPlaces, "find" | "findWolf">;
  membership: Pick<Membership, "peer">;
  forwarding: Pick<Forwarding, "ask">;
  upgrade: PassOnUpgrade;
  addressOf: (request: IncomingMessage) => string;
  /** Before the database is asked for a secret that nobody here knows. Throws to refuse. */
  onStranger: (request: IncomingMessage) => void;
  clock: Clock;
  log: Log;
  onForwarded?: (outcome: "answered" | "failed") => void;
}

/** A tunnel's connections stay where it is; a secret that is found is looked for again after. */
const KNOWN_MS = 60_000;
const KNOWN_MAX = 20_000;
/** Secrets that are looked for at once. */
const LOOK_UPS_MAX = 16;
/** Of one call that is passed on: longer than a peer waits for its answer. */
const CALL_MS = 15_000;

export function createCalls(options: CallsOptions): Calls {
  const { places, find, membership, forwarding, addressOf, clock, log, onForwarded = () => {} } = options;
  const known = new Map<string, { owner: Owner; untilMs: number }>();
  const lookUps = new Map<string, Promise<Owner | undefined>>();

  function remembered(key: string): Owner | undefined {
    const entry = known.get(key);
    if (entry === undefined) return undefined;
    if (entry.untilMs > clock.now().getTime() && membership.peer(entry.owner.id) !== undefined)
      return entry.owner;
    known.delete(key);
    return undefined;
  }

  function lookUp(key: string): Promise<Owner | undefined> {
    const running = lookUps.get(key);
    if (running !== undefined) return running;
    if (lookUps.size >= LOOK_UPS_MAX) {
      const why = `${LOOK_UPS_MAX} secrets are looked for`;
      throw new RevdialError("REFUSED", why, { sent: "not-sent" });
    }
    const looking = find.find(key).finally(() => lookUps.delete(key));
    looking.catch((err: unknown) => failed(err));
    lookUps.set(key, looking);
    return looking;
  }

  const failed = (err: unknown, replica?: string) => {
    onForwarded("failed");
    log.debug({ err, replica }, "a call was not passed on");
  };

  /** `body`: undefined where the call has none, whatever its caller sent. */
  async function ask(
    owner: Owner,
    request: IncomingMessage,
    { method, body, signal }: Pick<TunnelRequest, "method" | "body" | "signal">,
  ): Promise<TunnelResponse> {
    // Express takes off what a router is mounted at.
    const { originalUrl: url = request.url ?? "" } = request as { originalUrl?: string };
    // What was answered there before is nothing that this caller has.
    const fields = pairsOf(request.rawHeaders).filter(([name]) => !name.startsWith("if-"));
    const asked = { service: "call", method, path: url, headers: fields, signal, body, deadlineMs: CALL_MS };
    const ours = [[CLIENT_FIELD, addressOf(request)]] as const;
    try {
      const reply = await forwarding.ask(owner, CALL_PREFIX, asked, ours);
      onForwarded("answered");
      return reply;
    } catch (error) {
      failed(error, owner.id);
      throw error;
    }
  }

  return {
    async hold(kind, secret, carrier) {
      if (places === undefined || carrier.closed) return;
      const key = keyOf(kind, secret);
      const put = places
        .put(key)
        .catch((err: unknown) => log.warn({ err, kind }, "others are not told of a tunnel"));
      carrier.once("close", () => {
        void put
          .then(() => places.remove(key))
          .catch((err: unknown) => log.warn({ err, kind }, "the place of a tunnel was not removed"));
      });
      await put;
    },

    async ownerOf(kind, secret, request) {
      if (passedOn(request) !== undefined) return undefined;
      const key = keyOf(kind, secret);
      const before = remembered(key);
      if (before !== undefined) return before;
      options.onStranger(request);
      const owner = await lookUp(key);
      if (owner === undefined) return undefined;
      known.set(key, { owner, untilMs: clock.now().getTime() + KNOWN_MS });
      if (known.size > KNOWN_MAX) known.delete(known.keys().next().value as string);
      return owner;
    },

    async passOn(owner, request, response) {
      const gone = new AbortController();
      response.once("close", () => gone.abort(new Error("the caller hung up")));
      const { method = "POST" } = request;
      // Whoever stops reading it has yet to answer its caller.
      const body: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false });
      const reply = await ask(owner, request, { method, body, signal: gone.signal });
      response.writeHead(reply.status, travelling(reply.headers).flat());
      await pipeline(reply.body, response);
    },

    async passOnUpgrade(owner, request, socket, head) {
      try {
        await options.upgrade(owner, request, socket, head);
        onForwarded("answered");
      } catch (error) {
        failed(error, owner.id);
        throw error;
      }
    },

    async askHolder(wolfId, request) {
      if (passedOn(request) !== undefined) return undefined;
      const owner = await find.findWolf(wolfId);
      if (owner === undefined) return undefined;
      // Also for a HEAD: of what is answered the caller gets the head. Nobody reads a body that a question may come with.
      const question = { method: "GET", body: undefined, signal: AbortSignal.timeout(CALL_MS) };
      return { owner, reply: await ask(owner, request, question) };
    },
  };
}

/** Whoever reads the database learns no secret. */
const keyOf = (kind: SecretKind, secret: string): string =>
  `${kind} ${createHash("sha256").update(secret).digest("hex")}`;
