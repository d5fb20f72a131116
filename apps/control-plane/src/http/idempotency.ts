/**
 * `Idempotency-Key`: a creating request that is sent again, because its answer was lost or by two at once, creates once. While the
 * first one is served, the others wait for its answer. What was answered is kept for a day, encrypted, for it may hold a secret that
 * is shown once.
 */
import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type Operation, type ProblemCode, problemKind, takesIdempotencyKey } from "@wolfpack/api-contract";
import { type Clock, repeat, type Timer } from "../clock.ts";
import type { Principal, UserPrincipal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Step } from "./api.ts";
import type { AnyCall, AnyReply } from "./call.ts";
import type { Asked, Claim, Earlier, IdempotencyStore } from "./idempotency-store.ts";
import { type Flight as FlightOf, Flights, wait } from "./joining.ts";
import { ApiError, toApiError } from "./problem.ts";
import { createSeal, derivedKey } from "./seal.ts";

export interface IdempotencyOptions {
  store: IdempotencyStore;
  clock: Clock;
  secret: string;
  log: Log;
  /** How long a repeated request waits for the first one's answer. Default 140 s: after 150 s of silence its connection is cut. */
  joinMs?: number;
}

const JOIN_MS = 140_000;
/**
 * So long after its process died a request may be made again. Renewed early enough for two renewals to fail; the clocks of replicas
 * may differ by what is left then.
 */
export const LEASE_MS = 10_000;
export const RENEW_MS = 3000;
/** How often another process's request is looked at. */
export const LOOK_MS = 500;
const KEPT_MS = 24 * 3_600_000;
/** An answer that cannot be kept is tried to be kept for so long. */
const KEEP_TRY_MS = 10 * 60_000;
const KEY = /^[\x21-\x7e]{1,255}$/;

interface KeptProblem {
  code: ProblemCode;
  detail: string;
  extras: Record<string, unknown>;
  headers: Record<string, string>;
  denied: boolean;
}
type Kept = { reply: AnyReply } | { problem: KeptProblem };
type Flight = FlightOf<Asked, Kept>;

export function idempotency({ store, clock, secret, log, joinMs = JOIN_MS }: IdempotencyOptions): Step {
  const { seal, open } = createSeal(secret, "idempotency answers");
  const hashKey = derivedKey(secret, "idempotency requests");
  const flights = new Flights<Asked, Kept>();
  /**
   * HMAC: a body may hold something that can be guessed. With what the credential may do: another one of the same user must not be
   * given what only this one could ask for.
   */
  const hashOf = ({ params, query, body }: AnyCall, { role, scopes }: Partial<UserPrincipal>) => {
    const asked = JSON.stringify({ params, query, body, role, scopes });
    return new Uint8Array(createHmac("sha256", hashKey).update(asked).digest());
  };
  const contextOf = ({ owner, key, operation }: Asked) => `${owner} ${key} ${operation}`;

  const askedOf = (call: AnyCall, principal: Principal, key: string): Asked => ({
    owner: ownerOf(principal),
    key,
    operation: call.id,
    requestHash: hashOf(call, principal.kind === "user" ? principal : {}),
  });
  const leaseEnd = () => new Date(clock.now().getTime() + LEASE_MS);
  const claimOf = (asked: Asked): Claim => ({ ...asked, createdAt: clock.now(), expiresAt: leaseEnd() });

  /** Undefined while the earlier request is served. */
  function keptOf(asked: Asked, earlier: Earlier): Kept | undefined {
    if (!isSame(asked, earlier)) throw reused();
    if (earlier.answer === undefined) return undefined;
    const text = open(earlier.answer, contextOf(asked));
    if (text === undefined) throw reused();
    return JSON.parse(text) as Kept;
  }

  const keep = (claim: Claim, status: number, kept: Kept) =>
    store.keep(
      claim,
      status,
      seal(JSON.stringify(kept), contextOf(claim)),
      new Date(claim.createdAt.getTime() + KEPT_MS),
    );

  /** For as long as this process works on it, nobody else takes the request for lost. */
  function renewing(claim: Claim): Timer {
    let ended = false;
    const timer = repeat(clock, RENEW_MS, async () => {
      // A database that cannot be asked is asked again: until somebody else claims the key, its lease can still be had.
      const isMine = await store.renew(claim, leaseEnd()).catch(() => true);
      if (isMine || ended) return;
      timer.cancel();
      log.warn(
        { operation: claim.operation },
        "an idempotency key was taken over while its request is served",
      );
    });
    return {
      cancel() {
        ended = true;
        timer.cancel();
      },
    };
  }

  /** It was made: until that can be written down, its lease goes on, and nobody makes it again. */
  function keepLater(lease: Timer, keepNow: () => Promise<void>): void {
    const endsAt = clock.now().getTime() + KEEP_TRY_MS;
    const trying = repeat(clock, RENEW_MS, async () => {
      const over = await keepNow().then(
        () => true,
        () => clock.now().getTime() >= endsAt,
      );
      if (!over) return;
      trying.cancel();
      lease.cancel();
    });
  }

  async function serve(claim: Claim, flight: Flight, call: AnyCall, next: () => Promise<AnyReply>) {
    const lease = renewing(claim);
    let reply: AnyReply;
    try {
      reply = await next();
    } catch (cause) {
      lease.cancel();
      const error = toApiError(cause);
      const { status, retry } = problemKind(error.code);
      const { code, message: detail, extras, headers, denied } = error;
      const problem = { code, detail, extras, headers, denied };
      // What may go better the next time must be allowed to.
      if (status >= 500 || retry) {
        const released = store.release(claim).catch(() => undefined);
        // Without a database that would be a second wait; if it is not released, it ends with its lease.
        if (error.code !== "database-unavailable") await released;
      } else {
        await keep(claim, status, { problem });
        flight.answer = { problem };
      }
      throw error;
    }
    flight.answer = { reply };
    const keepNow = () => keep(claim, reply.status, { reply });
    await keepNow().then(lease.cancel, (err: unknown) => {
      log.error({ err, operation: call.id, request_id: call.requestId }, "answer not kept yet");
      keepLater(lease, keepNow);
    });
    return reply;
  }

  /** The one of this process that asks the store: the request is its own to make, or another process's to wait for. */
  async function lead(flight: Flight, endsAt: number, call: AnyCall, next: () => Promise<AnyReply>) {
    for (;;) {
      const claim = claimOf(flight.asked);
      const earlier = await store.claim(claim);
      if (earlier === undefined) return serve(claim, flight, call, next);
      flight.answer = keptOf(claim, earlier);
      if (flight.answer !== undefined) return replayed(flight.answer);
      await wait(clock, Math.min(LOOK_MS, leftOf(endsAt)), call.response);
      giveUpAfter(endsAt, call);
    }
  }

  const leftOf = (endsAt: number) => Math.max(0, endsAt - clock.now().getTime());
  /** Whoever has hung up is told nothing, but must not begin to make anything. */
  function giveUpAfter(endsAt: number, { response }: AnyCall): void {
    if (response.closed || leftOf(endsAt) === 0)
      throw new ApiError("idempotency-key-in-use", "The first request with this key is still being served.");
  }

  return async (call, next) => {
    const { principal, idempotencyKey } = call;
    if (idempotencyKey === undefined || principal === undefined) return next();
    const asked = askedOf(call, principal, idempotencyKey);
    const id = `${asked.owner} ${asked.key}`;
    const endsAt = clock.now().getTime() + joinMs;
    for (;;) {
      const flight = flights.get(id);
      if (flight === undefined) return flights.fly(id, asked, (mine) => lead(mine, endsAt, call, next));
      if (!isSame(asked, flight.asked)) throw reused();
      await wait(clock, leftOf(endsAt), call.response, flight);
      if (flight.answer !== undefined) return replayed(flight.answer);
      giveUpAfter(endsAt, call);
    }
  };
}

const isSame = (asked: Asked, earlier: Pick<Asked, "operation"> & { requestHash: Uint8Array }): boolean =>
  earlier.operation === asked.operation && Buffer.from(earlier.requestHash).equals(asked.requestHash);

/** The answer once more, or the refusal. */
function replayed(kept: Kept): AnyReply {
  const again = { "idempotency-replayed": "true" };
  if ("reply" in kept) {
    const { reply } = kept;
    // Whoever reads the audit log need not count two things that were made.
    const detail = { ...reply.detail, replayed: true };
    return { ...reply, headers: { ...reply.headers, ...again }, detail };
  }
  const { code, detail, extras, headers, denied } = kept.problem;
  const error = new ApiError(code, detail, { extras, headers: { ...headers, ...again } });
  throw denied ? error.asDenied() : error;
}

const reused = () =>
  new ApiError("idempotency-key-reused", "This Idempotency-Key belongs to another request.");

/** What stands for the request's key, where its operation takes one: a hash, since somebody will put a secret into it. */
export function idempotencyKeyOf(operation: Operation, { headers }: IncomingMessage): string | undefined {
  const key = headers["idempotency-key"];
  if (key === undefined || !takesIdempotencyKey(operation)) return undefined;
  if (typeof key === "string" && KEY.test(key)) return createHash("sha256").update(key).digest("base64url");
  const message = "has to be 1 to 255 visible ASCII characters, once";
  throw new ApiError("invalid-request", `Idempotency-Key ${message}.`, {
    extras: { errors: [{ path: "header.idempotency-key", message }] },
  });
}

/** A user's keys are the same whichever credential they show. */
function ownerOf(principal: Principal): string {
  if (principal.kind === "user") return principal.userId;
  return principal.kind === "runner" ? "runner-token" : principal.credentialId;
}
