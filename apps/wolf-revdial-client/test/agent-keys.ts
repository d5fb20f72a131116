/** The identity of agents at a control plane, in this process: challenges, enrolment, proofs and renewal, all really verified. */
import { createPublicKey, randomBytes, verify } from "node:crypto";
import type { IncomingMessage } from "node:http";
import {
  AgentProof,
  CONTROL_SERVICE,
  EnrollRequest,
  type ProofParts,
  proofText,
  RENEW_PATH,
  RenewRequest,
} from "@wolfpack/api-contract";
import type { RequestHandler } from "revdial";
import { checksumOf } from "../src/identity/join-token.ts";

export interface FakeKey {
  id: string;
  wolfId: string;
  name: string;
  publicKey: string;
  status: "pending" | "active" | "revoked";
  expiresAt: string;
}

export interface Answer {
  status: number;
  headers?: Record<string, string>;
  json: Record<string, unknown>;
}

export const aJoinToken = () => {
  const body = `wjt_01ARZ3NDEKTSV4RRFFQ69G5FAV_${randomBytes(32).toString("base64url")}`;
  return `${body}${checksumOf(body)}`;
};

const problem = (status: number, code: string, detail: string, extras: object = {}): Answer => ({
  status,
  json: { type: `/problems/${code}`, title: code, status, detail, instance: "r", code, ...extras },
});
const unauthenticated = (detail: string) => problem(401, "unauthenticated", detail);

/** Whose proof a tunnel was opened with. */
export interface Admitted {
  purpose: "connect" | "diagnose";
  keyId: string;
  nonce: string;
}

export class AgentKeys {
  readonly keys: FakeKey[] = [];
  /** By join token: how often it may still be used. */
  readonly joinTokens = new Map<string, number>();
  readonly admitted: Admitted[] = [];
  readonly enrolments: { bearer: string; request: EnrollRequest }[] = [];
  renewals = 0;
  /** Answered to every renewal instead. */
  refuseRenewal: Answer | undefined;
  /** The next new key waits. */
  pending = false;
  lifeMs = 7 * 86_400_000;
  /** What it thinks the time is. */
  now = () => Date.now();
  private readonly challenges = new Set<string>();
  private readonly runnerToken: string;
  private made = 0;

  constructor(runnerToken: string) {
    this.runnerToken = runnerToken;
  }

  /** Undefined: another route. */
  answer(request: IncomingMessage, body: string): Answer | undefined {
    if (request.url === "/api/v1/agents/challenges") {
      const nonce = randomBytes(48).toString("base64url");
      this.challenges.add(nonce);
      const server_time = new Date(this.now()).toISOString();
      return { status: 201, json: { nonce, server_time, expires_at: server_time } };
    }
    return request.url === "/api/v1/agents/enroll" ? this.enroll(request, body) : undefined;
  }

  /** Undefined: welcome. */
  refuse(request: IncomingMessage): Answer | undefined {
    const url = new URL(request.url ?? "", "http://x");
    const runnerId = url.searchParams.get("runnerid") ?? "";
    const [, credential = ""] = /^Wolfpack ([A-Za-z0-9_-]+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (credential === "") return problem(403, "forbidden", "An agent connects with its own key.");
    const proof = AgentProof.parse(JSON.parse(Buffer.from(credential, "base64url").toString()));
    const refusal = this.challengeRefusal(proof, request);
    if (refusal !== undefined) return refusal;
    const purpose = runnerId.startsWith("doctor-") ? "diagnose" : "connect";
    const key = this.keys.find(({ id }) => id === proof.key_id);
    if (key === undefined) return unauthenticated("There is no such key.");
    const { wolfId: wolf, publicKey } = key;
    if (!isSigned({ ...proof, purpose, wolf, publicKey }, proof.signature))
      return unauthenticated("This is not its signature.");
    if (key.status !== "active" || Date.parse(key.expiresAt) <= this.now())
      return unauthenticated("This key was revoked, or has ended.");
    if (purpose === "connect" && runnerId !== `wolf-${key.name}`)
      return problem(403, "forbidden", "This key is another wolf's.");
    this.admitted.push({ purpose, keyId: key.id, nonce: proof.nonce });
    return undefined;
  }

  /** What the control plane serves in the tunnel that this key opened. */
  service(keyId: string | undefined): RequestHandler {
    return async ({ service, method, path, body }) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      if (service !== CONTROL_SERVICE || method !== "POST" || path !== RENEW_PATH) return { status: 404 };
      const { status, json } = this.refuseRenewal ?? this.renew(keyId, Buffer.concat(chunks).toString());
      return { status, body: Buffer.from(JSON.stringify(json)) };
    };
  }

  approve(): void {
    for (const key of this.keys) if (key.status === "pending") key.status = "active";
  }

  private enroll(request: IncomingMessage, body: string): Answer {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const left = this.joinTokens.get(bearer);
    if (left === undefined && bearer !== this.runnerToken) return unauthenticated("Unknown token.");
    const wanted = EnrollRequest.parse(JSON.parse(body));
    const { public_key: publicKey, name } = wanted;
    const refusal = this.challengeRefusal(wanted, request);
    if (refusal !== undefined) return refusal;
    if (!isSigned({ ...wanted, purpose: "enroll", wolf: name, publicKey }, wanted.signature))
      return problem(401, "proof-refused", "It is not signed by the key that it shows.");
    const known = this.keys.find((key) => key.publicKey === publicKey);
    if (known?.status === "revoked") return problem(409, "agent-key-revoked", "This key was revoked.");
    const expired = known?.status === "active" && Date.parse(known.expiresAt) <= this.now();
    const uses = known === undefined || expired;
    if (uses && left === 0)
      return problem(403, "join-token-refused", "This join token is used up or has expired.");
    if (uses && left !== undefined) this.joinTokens.set(bearer, left - 1);
    const key = known ?? this.add(name, publicKey);
    if (expired) key.expiresAt = new Date(this.now() + this.lifeMs).toISOString();
    this.enrolments.push({ bearer, request: wanted });
    return { status: key.status === "active" ? 201 : 202, json: enrolmentOf(key) };
  }

  private renew(keyId: string | undefined, body: string): Answer {
    const request = RenewRequest.parse(JSON.parse(body));
    const old = this.keys.find(({ id }) => id === keyId);
    if (old === undefined) return problem(403, "forbidden", "No key opened this tunnel.");
    const parts = { ...request, purpose: "renew", wolf: old.wolfId, publicKey: request.public_key } as const;
    if (!isSigned({ ...parts, nonce: old.id }, request.signature))
      return problem(401, "proof-refused", "It is not signed by the key that it shows.");
    this.renewals += 1;
    const { id: key_id, expiresAt: expires_at } = this.add(old.name, request.public_key);
    return { status: 201, json: { key_id, expires_at } };
  }

  private add(name: string, publicKey: string): FakeKey {
    this.made += 1;
    const key: FakeKey = {
      id: `agk_${String(this.made).padStart(26, "0")}`,
      wolfId: "wlf_00000000000000000000000000",
      name,
      publicKey,
      status: this.pending ? "pending" : "active",
      expiresAt: new Date(this.now() + this.lifeMs).toISOString(),
    };
    this.keys.push(key);
    return key;
  }

  private challengeRefusal(
    { nonce, host, time }: { nonce: string; host: string; time: string },
    request: IncomingMessage,
  ): Answer | undefined {
    if (host !== request.headers.host?.toLowerCase())
      return problem(401, "proof-refused", "It names another host.");
    if (Math.abs(Date.parse(time) - this.now()) > 300_000)
      return problem(401, "clock-skew", "The agent's clock is more than 5 minutes off.", {
        server_time: new Date(this.now()).toISOString(),
      });
    return this.challenges.delete(nonce)
      ? undefined
      : problem(401, "proof-refused", "Its challenge has been answered before.");
  }
}

const enrolmentOf = ({ id, wolfId, name, status, expiresAt }: FakeKey) => ({
  wolf_id: wolfId,
  name,
  key_id: id,
  status,
  expires_at: expiresAt,
});

function isSigned(parts: ProofParts, signature: string): boolean {
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: parts.publicKey }, format: "jwk" });
  return verify(null, Buffer.from(proofText(parts)), key, Buffer.from(signature, "base64url"));
}
