/**
 * Challenges that agents sign. None is kept before it is answered: it carries its time and an HMAC, so every replica with the same
 * secret knows it as one of theirs. That one is answered once only, the table of spent challenges says.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { CHALLENGE_SECONDS } from "@wolfpack/api-contract";
import { derivedKey } from "../http/seal.ts";

const RANDOM_BYTES = 16;
const TIME_BYTES = 8;
const TAG_BYTES = 24;
const SIGNED_BYTES = RANDOM_BYTES + TIME_BYTES;
const LIFE_MS = CHALLENGE_SECONDS * 1000;
/** Clocks of replicas differ a little. */
const AHEAD_MS_MAX = 30_000;

export interface Challenge {
  nonce: Uint8Array<ArrayBuffer>;
  expiresAt: Date;
}

export interface Challenges {
  issue(now: Date): Challenge;
  /** Undefined for one that is not ours or is too old. */
  read(nonce: string, now: Date): Challenge | undefined;
}

/** What was issued for one purpose is nothing for another. */
export function createChallenges(apiKeySecret: string, purpose = "agent challenge v1"): Challenges {
  const key = derivedKey(apiKeySecret, purpose);
  const tagOf = (signed: Uint8Array) =>
    createHmac("sha256", key).update(signed).digest().subarray(0, TAG_BYTES);
  return {
    issue(now) {
      const signed = Buffer.concat([randomBytes(RANDOM_BYTES), Buffer.alloc(TIME_BYTES)]);
      signed.writeBigUInt64BE(BigInt(now.getTime()), RANDOM_BYTES);
      return challengeOf(Buffer.concat([signed, tagOf(signed)]));
    },

    read(nonce, now) {
      const bytes = Buffer.from(nonce, "base64url");
      if (bytes.length !== SIGNED_BYTES + TAG_BYTES) return undefined;
      const tag = tagOf(bytes.subarray(0, SIGNED_BYTES));
      if (!timingSafeEqual(tag, bytes.subarray(SIGNED_BYTES))) return undefined;
      const challenge = challengeOf(bytes);
      const leftMs = challenge.expiresAt.getTime() - now.getTime();
      return leftMs > 0 && leftMs <= LIFE_MS + AHEAD_MS_MAX ? challenge : undefined;
    },
  };
}

function challengeOf(bytes: Buffer): Challenge {
  const issuedAt = Number(bytes.readBigUInt64BE(RANDOM_BYTES));
  return { nonce: new Uint8Array(bytes), expiresAt: new Date(issuedAt + LIFE_MS) };
}
