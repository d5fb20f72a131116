/** Ed25519 (RFC 8032) as agents use it: is this text signed by that key? */
import { createPublicKey, verify } from "node:crypto";
import { type ProofParts, proofText } from "@wolfpack/api-contract";

/** A key that cannot be read has signed nothing. */
export function isSigned(parts: ProofParts, signature: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: parts.publicKey }, format: "jwk" });
    return verify(null, Buffer.from(proofText(parts)), key, Buffer.from(signature, "base64url"));
  } catch {
    return false;
  }
}
