/** Process: the control plane's authentication on a database of its own, without anything around it. */
import { generateKeyPairSync, sign as signWith } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { AGENT_PROOF_SCHEME, EnrollRequest, type ProofParts, proofText } from "@wolfpack/api-contract";
import {
  createAgentService,
  createAuthentications,
  createChallenges,
  createIdentityService,
  createLogger,
  createPrisma,
  createRevocations,
  isSigned,
  type KnownKey,
  migrate,
  prismaAgentKeyStore,
  prismaIdentityStore,
  prismaJoinTokenStore,
  prismaRevocationStore,
  systemClock,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

/** Of one admin; asked for in turn. */
const KEYS = 100;
/** Timers run between so many, as between requests. */
const IN_A_ROW = 200;

type Measured = "remembered" | "lookedUp" | "connect" | "signature";

const API_KEY_SECRET = "a secret of the bench, which is not one";
const HOST = "bench";
/** Each process enrols a key of its own, which a name that has one would not take. */
const WOLF = `gpu-${process.pid}`;

interface Proof {
  parts: ProofParts;
  signature: string;
  authorization: string;
}

async function open(url: string) {
  await migrate(url);
  const prisma = createPrisma(url);
  const [clock, log] = [systemClock, createLogger("silent")];
  const revocations = createRevocations({ store: prismaRevocationStore(prisma), clock, log });
  await revocations.start();
  const agents = createAgentService({
    keys: prismaAgentKeyStore(prisma),
    tokens: prismaJoinTokenStore(prisma),
    challenges: createChallenges(API_KEY_SECRET),
    clock,
    log,
    apiKeySecret: API_KEY_SECRET,
    publicHosts: [HOST],
    keyLifeMs: 86_400_000,
  });
  const same = {
    store: prismaIdentityStore(prisma),
    clock,
    log,
    apiKeySecret: API_KEY_SECRET,
    runnerToken: "a-runner-token-of-the-bench",
    agents,
  };
  const forgetful = createIdentityService(same);
  const service = createIdentityService({
    ...same,
    authentications: createAuthentications<KnownKey>({ revocations, clock }),
    revocations,
  });
  const headers: { authorization: string }[] = [];
  for (let i = 0; i < KEYS; i += 1)
    await service.resetAdminKey((key) => headers.push({ authorization: `Bearer ${key}` }));

  const { wolfId, proof } = await enrolledHost(agents);
  const check = async (is: boolean | Promise<boolean>) => {
    if (!(await is)) throw new Error("what is valid was refused");
  };
  const call = (identity: typeof service, at: number) =>
    check(identity.authenticate(headers[at % KEYS] ?? {}).then((principal) => principal !== undefined));
  const runs: Record<Measured, (at: number, proof: Proof | undefined) => Promise<void>> = {
    remembered: (at) => call(service, at),
    lookedUp: (at) => call(forgetful, at),
    signature: async (_at, signed) => check(signed !== undefined && isSigned(signed.parts, signed.signature)),
    async connect(_at, signed) {
      const principal = await service.authenticate({ authorization: signed?.authorization }, "connect");
      await check(principal?.kind === "agent" && principal.wolfId === wolfId);
    },
  };

  /** CPU of this process, µs for each of so many. */
  return async (what: Measured, times: number): Promise<number> => {
    const isProof = what === "connect" || what === "signature";
    const proofs = isProof ? Array.from({ length: times }, proof) : [];
    const before = process.cpuUsage();
    for (let at = 0; at < times; at += 1) {
      if (at % IN_A_ROW === 0) await setImmediate();
      await runs[what](at, proofs[at]);
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / times;
  };
}

/** Signing is the agent's work: proofs are made ahead. */
async function enrolledHost(
  agents: ReturnType<typeof createAgentService>,
): Promise<{ wolfId: string; proof: () => Proof }> {
  const pair = generateKeyPairSync("ed25519");
  const publicKey = pair.publicKey.export({ format: "jwk" }).x ?? "";
  const sign = (purpose: ProofParts["purpose"], wolf: string) => {
    const { nonce: bytes, now } = agents.challenge();
    const nonce = Buffer.from(bytes).toString("base64url");
    const parts = { purpose, host: HOST, wolf, publicKey, nonce, time: now.toISOString() };
    const signature = signWith(null, Buffer.from(proofText(parts)), pair.privateKey).toString("base64url");
    return { parts, signature, claim: { host: HOST, nonce, time: parts.time, signature } };
  };
  const request = EnrollRequest.parse({ name: WOLF, public_key: publicKey, ...sign("enroll", WOLF).claim });
  const { key } = await agents.enroll({ kind: "runner" }, request, HOST);
  return {
    wolfId: key.wolfId,
    proof() {
      const { parts, signature, claim } = sign("connect", key.wolfId);
      const json = JSON.stringify({ key_id: key.id, ...claim });
      const authorization = `${AGENT_PROOF_SCHEME} ${Buffer.from(json).toString("base64url")}`;
      return { parts, signature, authorization };
    },
  };
}

let measure: Awaited<ReturnType<typeof open>> | undefined;

serveCalls({
  open: async (url: string) => {
    measure = await open(url);
  },
  measure: ({ what, times }: { what: Measured; times: number }) => measure?.(what, times),
});
