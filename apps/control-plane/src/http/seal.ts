/** Encryption of what the database keeps for us but must not tell whoever has a copy of it: AES-256-GCM. */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * A key for one purpose only. No Buffer: of each that it is given, Node throws and catches an error to find out that it is no
 * KeyObject, which is six times what an HMAC costs.
 */
export function derivedKey(secret: string, purpose: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", `wolfpack ${purpose}`, 32)));
}

export interface Seal {
  /** `context` names what it belongs to: sealed text moved elsewhere does not open. */
  seal(text: string, context: string): Uint8Array<ArrayBuffer>;
  /** Undefined when it was sealed with another secret, for something else, or changed since. */
  open(sealed: Uint8Array, context: string): string | undefined;
}

export function createSeal(secret: string, purpose: string): Seal {
  const key = derivedKey(secret, purpose);
  return {
    seal(text, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(context));
      const parts = [nonce, cipher.update(text, "utf8"), cipher.final()];
      return new Uint8Array(Buffer.concat([...parts, cipher.getAuthTag()]));
    },
    open(sealed, context) {
      if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
      const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(-TAG_BYTES));
      try {
        const text = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString("utf8");
      } catch {
        return undefined;
      }
    },
  };
}
