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

/**
 * The points of small order, little-endian without the sign bit: for these as public keys, signatures can be made up that fit a
 * text without any private key. No generator of keys makes one.
 */
const smallOrder = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

export function isWeakKey(publicKey: Uint8Array): boolean {
  const y = Buffer.from(publicKey);
  y.writeUInt8(y.readUInt8(31) & 0x7f, 31);
  return smallOrder.has(y.toString("hex"));
}
