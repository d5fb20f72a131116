/** Ed25519 on the agent's side (RFC 8032): its keys, what it signs, and the header that carries a proof. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { AGENT_PROOF_SCHEME, AgentProof, type ProofParts, proofText } from "@wolfpack/api-contract";

/** PKCS#8, PEM. */
export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Its 32 bytes, base64url. Throws for what is no private key of Ed25519. */
export function publicKeyOf(privateKey: string): string {
  const key = createPrivateKey(privateKey);
  if (key.asymmetricKeyType !== "ed25519") throw new TypeError("the private key is none of Ed25519");
  const { x } = createPublicKey(key).export({ format: "jwk" });
  if (x === undefined) throw new TypeError("the private key has no public half");
  return x;
}

/** The signature, base64url, and the public key that it fits. */
export function signProof(
  privateKey: string,
  parts: Omit<ProofParts, "publicKey">,
): { signature: string; publicKey: string } {
  const publicKey = publicKeyOf(privateKey);
  const text = Buffer.from(proofText({ ...parts, publicKey }));
  return { publicKey, signature: sign(null, text, createPrivateKey(privateKey)).toString("base64url") };
}

/** The value of `Authorization`. */
export function proofHeader(proof: AgentProof): string {
  return `${AGENT_PROOF_SCHEME} ${Buffer.from(JSON.stringify(AgentProof.parse(proof))).toString("base64url")}`;
}
