/** A host with a key pair of its own, as an agent has it: proofs, enrolment, tunnels. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  AGENT_PROOF_SCHEME,
  type AgentChallenge,
  type Enrollment,
  type ProofParts,
  proofText,
} from "@wolfpack/api-contract";
import { type DialOptions, dialTunnel, type RevdialError, type Tunnel } from "revdial";
import { RUNNER_TOKEN } from "./control-plane.ts";
import { dialled, TUNNEL_PATH, whenThereIsRoom } from "./tunnel-requests.ts";

export interface Answer<Body = Record<string, unknown>> {
  status: number;
  body: Body & { code?: string; detail?: string };
}

export interface ProofChanges extends Partial<Omit<ProofParts, "publicKey">> {
  /** Signs in its place. */
  signer?: KeyObject;
}

export class TestAgent {
  readonly name: string;
  readonly publicKey: string;
  readonly privateKey: KeyObject;
  /** Once enrolled. */
  keyId = "";
  wolfId = "";

  constructor(name: string) {
    this.name = name;
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.publicKey = String(publicKey.export({ format: "jwk" }).x);
    this.privateKey = privateKey;
  }

  async enroll(
    url: string,
    credential = RUNNER_TOKEN,
    changes: ProofChanges & { name?: string; nonce?: string; body?: object } = {},
  ): Promise<Answer<Partial<Enrollment>>> {
    const nonce = changes.nonce ?? (await challenge(url)).nonce;
    const body = this.enrolment(url, { ...changes, nonce });
    const answer: Answer<Partial<Enrollment>> = await post(`${url}/api/v1/agents/enroll`, credential, body);
    if (answer.status === 201 || answer.status === 202) {
      this.keyId = String(answer.body.key_id);
      this.wolfId = String(answer.body.wolf_id);
    }
    return answer;
  }

  /** The body that asks to enrol. */
  enrolment(url: string, changes: ProofChanges & { name?: string; nonce: string; body?: object }): object {
    const { name = this.name, body, ...parts } = changes;
    const claim = this.claim(url, { purpose: "enroll", wolf: name, ...parts });
    return { name, public_key: this.publicKey, ...claim, ...body };
  }

  /** The header that opens a tunnel. */
  proof(
    url: string,
    nonce: string,
    { keyId = this.keyId, ...changes }: ProofChanges & { keyId?: string } = {},
  ) {
    const claim = this.claim(url, { purpose: "connect", ...changes, nonce });
    return header({ key_id: keyId, ...claim });
  }

  async connect(url: string, runnerId = `wolf-${this.name}`, changes: ProofChanges = {}): Promise<Tunnel> {
    return dialWith(url, runnerId, this.proof(url, (await challenge(url)).nonce, changes));
  }

  private claim(url: string, changes: ProofChanges & { nonce: string; purpose: ProofParts["purpose"] }) {
    const { signer = this.privateKey, ...given } = changes;
    const parts = {
      host: new URL(url).host,
      wolf: this.wolfId,
      publicKey: this.publicKey,
      time: new Date().toISOString(),
      ...given,
    };
    const { host, nonce, time } = parts;
    return {
      host,
      nonce,
      time,
      signature: sign(null, Buffer.from(proofText(parts)), signer).toString("base64url"),
    };
  }
}

export function header(proof: object): string {
  return `${AGENT_PROOF_SCHEME} ${Buffer.from(JSON.stringify(proof)).toString("base64url")}`;
}

/** A replica that is late gives few at a time, and says so to the others: they come again, as agents do. */
export async function challenge(url: string): Promise<AgentChallenge> {
  for (;;) {
    const response = await fetch(`${url}/api/v1/agents/challenges`, { method: "POST" });
    const body: unknown = await response.json();
    if (response.ok) return body as AgentChallenge;
    if (response.status !== 503) throw new Error(`no challenge: ${response.status} ${JSON.stringify(body)}`);
  }
}

export async function post<Body>(url: string, credential: string, body: object): Promise<Answer<Body>> {
  const headers = { authorization: `Bearer ${credential}`, "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as Answer<Body>["body"] };
}

export async function dialWith(
  url: string,
  runnerId: string,
  authorization: string,
  options: DialOptions = {},
): Promise<Tunnel> {
  const target = `${url.replace("http", "ws")}${TUNNEL_PATH}?runnerid=${encodeURIComponent(runnerId)}`;
  const tunnel = await whenThereIsRoom(() => dialTunnel(target, { headers: { authorization }, ...options }));
  dialled.push(tunnel);
  return tunnel;
}

/** The status and the code that refuse a dial, or "open". */
export async function outcomeOf(dialling: Promise<Tunnel>): Promise<string> {
  try {
    await dialling;
    return "open";
  } catch (cause) {
    const { code, detail, status } = cause as RevdialError;
    if (code !== "DIAL_REFUSED") throw cause;
    return `${status} ${(JSON.parse(detail ?? "{}") as { code?: string }).code}`;
  }
}
