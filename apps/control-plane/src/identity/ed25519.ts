/** Signatures of agents (RFC 8032), by the raw keys that the contract has. */
import { createPublicKey, verify } from "node:crypto";

/** True when the text was signed by this key, both in base64url; false for whatever is no key or no signature. */
export function isSignedBy(publicKey: string, text: string, signature: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey }, format: "jwk" });
    return verify(null, Buffer.from(text), key, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}
