/** API keys: `wpk_` and 256 random bits. Only an HMAC of a key is kept, so a copy of the database opens nothing. */
import { createHmac, randomBytes } from "node:crypto";

const FORM = /^wpk_[A-Za-z0-9_-]{43}$/;
const PREFIX_CHARACTERS = 10;

export function newApiKey(): string {
  return `wpk_${randomBytes(32).toString("base64url")}`;
}

export function isApiKey(text: string): boolean {
  return FORM.test(text);
}

/** HMAC-SHA-256: a random 256-bit key needs no slow hash, there is nothing to guess. */
export function hashApiKey(key: string, secret: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHmac("sha256", secret).update(key).digest());
}

/** What people recognise a key by. */
export function prefixOf(key: string): string {
  return key.slice(0, PREFIX_CHARACTERS);
}

/** The credential of `Authorization: Bearer …` (RFC 6750 §2.1), or undefined. */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,512})$/i.exec(header ?? "")?.[1];
}
