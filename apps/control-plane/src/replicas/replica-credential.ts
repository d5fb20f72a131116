/**
 * What a replica shows another: signed with a key that is made of the cluster's secret and used for nothing else, for one method and
 * path, for half a minute. Who has none is no replica; who has one asks for what it may not pass on again.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { derivedKey } from "../http/seal.ts";

export const REPLICA_FIELD = "wolfpack-replica";
const LIFE_MS = 30_000;
/** Replicas' clocks may differ by so much. */
const SKEW_MS = 30_000;
const FORM =
  /^v1\.(rep_[0-9A-HJKMNP-TV-Z]{26})\.(rep_[0-9A-HJKMNP-TV-Z]{26})\.(\d{13})\.([\w-]{16})\.([\w-]{43})$/;

export interface Shown {
  from: string;
}

export type CredentialFault = "missing" | "malformed" | "wrong" | "elsewhere" | "expired";

export interface ReplicaCredentials {
  sign(to: string, method: string, path: string, nowMs: number): string;
  /** Who asks, or what is wrong. */
  check(shown: string | undefined, method: string, path: string, nowMs: number): Shown | CredentialFault;
}

export function createReplicaCredentials(secret: string, self: string): ReplicaCredentials {
  const key = derivedKey(secret, "replica credential v1");
  const macOf = (words: readonly string[], method: string, path: string) =>
    createHmac("sha256", key)
      .update(JSON.stringify([...words, method, path]))
      .digest();

  return {
    sign(to, method, path, nowMs) {
      const words = ["v1", self, to, String(nowMs + LIFE_MS), randomBytes(12).toString("base64url")];
      return [...words, macOf(words, method, path).toString("base64url")].join(".");
    },

    check(shown, method, path, nowMs) {
      if (shown === undefined) return "missing";
      const [whole, from = "", to, until, nonce, mac = ""] = FORM.exec(shown) ?? [];
      if (whole === undefined) return "malformed";
      const expected = macOf(["v1", from, to ?? "", until ?? "", nonce ?? ""], method, path);
      if (!timingSafeEqual(expected, Buffer.from(mac, "base64url"))) return "wrong";
      if (to !== self) return "elsewhere";
      const leftMs = Number(until) - nowMs;
      return leftMs < -SKEW_MS || leftMs > LIFE_MS + SKEW_MS ? "expired" : { from };
    },
  };
}

/** Tells secrets apart without telling them. */
export function secretPrintOf(secret: string): string {
  return Buffer.from(hkdfSync("sha256", secret, "", "wolfpack secret print v1", 16)).toString("hex");
}
