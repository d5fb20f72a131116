/**
 * `Idempotency-Key`: a creating request that is sent again, because its answer was lost or by two at once, creates once. What was
 * answered is kept for a day, encrypted, for it may hold a secret that is shown once.
 */
import { createHash, createHmac } from "node:crypto";
import { type ProblemCode, problemKind, takesIdempotencyKey } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Principal, UserPrincipal } from "../identity/principal.ts";
import type { Log } from "../logger.ts";
import type { Step } from "./api.ts";
import type { AnyCall, AnyReply } from "./call.ts";
import type { Claim, Earlier, IdempotencyStore } from "./idempotency-store.ts";
import { ApiError, toApiError } from "./problem.ts";
import { createSeal, derivedKey } from "./seal.ts";

export interface IdempotencyOptions {
  store: IdempotencyStore;
  clock: Clock;
  secret: string;
  log: Log;
  /** Longer than any creating request takes: afterwards its replica counts as lost, and the request may be made again. */
  runningMs: number;
}

const KEPT_MS = 24 * 3_600_000;
const KEY = /^[\x21-\x7e]{1,255}$/;

interface KeptProblem {
  code: ProblemCode;
  detail: string;
  extras: Record<string, unknown>;
  headers: Record<string, string>;
  denied: boolean;
}
type Kept = { reply: AnyReply } | { problem: KeptProblem };

export function idempotency({ store, clock, secret, log, runningMs }: IdempotencyOptions): Step {
  const { seal, open } = createSeal(secret, "idempotency answers");
  const hashKey = derivedKey(secret, "idempotency requests");
  /**
   * HMAC: a body may hold something that can be guessed. With what the credential may do: another one of the same user must not be
   * given what only this one could ask for.
   */
  const hashOf = ({ params, query, body }: AnyCall, { role, scopes }: Partial<UserPrincipal>) => {
    const asked = JSON.stringify({ params, query, body, role, scopes });
    return new Uint8Array(createHmac("sha256", hashKey).update(asked).digest());
  };
  const contextOf = ({ owner, key, operation }: Claim) => `${owner} ${key} ${operation}`;

  function claimOf(call: AnyCall, principal: Principal, key: string): Claim {
    const createdAt = clock.now();
    return {
      owner: ownerOf(principal),
      // Somebody will put a secret into it.
      key: createHash("sha256").update(key).digest("base64url"),
      operation: call.id,
      requestHash: hashOf(call, principal.kind === "user" ? principal : {}),
      createdAt,
      expiresAt: new Date(createdAt.getTime() + runningMs),
    };
  }

  function answered(claim: Claim, earlier: Earlier): AnyReply {
    if (earlier.operation !== claim.operation || !Buffer.from(earlier.requestHash).equals(claim.requestHash))
      throw reused();
    if (earlier.answer === undefined)
      throw new ApiError("idempotency-key-in-use", "The first request with this key is still being served.");
    const text = open(earlier.answer, contextOf(claim));
    if (text === undefined) throw reused();
    const kept = JSON.parse(text) as Kept;
    const replayed = { "idempotency-replayed": "true" };
    if ("reply" in kept) {
      const { reply } = kept;
      // Whoever reads the audit log need not count two things that were made.
      const detail = { ...reply.detail, replayed: true };
      return { ...reply, headers: { ...reply.headers, ...replayed }, detail };
    }
    const { code, detail, extras, headers, denied } = kept.problem;
    const error = new ApiError(code, detail, { extras, headers: { ...headers, ...replayed } });
    throw denied ? error.asDenied() : error;
  }

  const keep = (claim: Claim, status: number, kept: Kept) =>
    store.keep(
      claim,
      status,
      seal(JSON.stringify(kept), contextOf(claim)),
      new Date(claim.createdAt.getTime() + KEPT_MS),
    );

  return async (call, next) => {
    const key = keyOf(call);
    if (key === undefined || call.principal === undefined) return next();
    const claim = claimOf(call, call.principal, key);
    const earlier = await store.claim(claim);
    if (earlier !== undefined) return answered(claim, earlier);
    let reply: AnyReply;
    try {
      reply = await next();
    } catch (cause) {
      const error = toApiError(cause);
      const { status, retry } = problemKind(error.code);
      const { code, message: detail, extras, headers, denied } = error;
      // What may go better the next time must be allowed to.
      if (status >= 500 || retry) await store.release(claim).catch(() => undefined);
      else await keep(claim, status, { problem: { code, detail, extras, headers, denied } });
      throw error;
    }
    // It was made: its caller hears so, and until it counts as lost nobody makes it again.
    await keep(claim, reply.status, { reply }).catch((err: unknown) =>
      log.error({ err, operation: call.id, request_id: call.requestId }, "answer not kept"),
    );
    return reply;
  };
}

const reused = () =>
  new ApiError("idempotency-key-reused", "This Idempotency-Key belongs to another request.");

function keyOf({ operation, request }: AnyCall): string | undefined {
  const key = request.headers["idempotency-key"];
  if (key === undefined || !takesIdempotencyKey(operation)) return undefined;
  if (typeof key === "string" && KEY.test(key)) return key;
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
