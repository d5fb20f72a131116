/** Process: the control plane's authentication on a database of its own, without anything around it. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { type ProofParts, proofText } from "@wolfpack/api-contract";
import {
  agentKeysOfTheBench,
  createAuthentications,
  createIdentityService,
  createLogger,
  createPrisma,
  createRevocations,
  isSigned,
  type KnownKey,
  migrate,
  prismaIdentityStore,
  prismaRevocationStore,
  systemClock,
} from "@wolfpack/control-plane/parts";
import { serveCalls } from "./process.ts";

/** Of one admin; asked for in turn. */
const KEYS = 100;
/** Timers run between so many, as between requests. */
const IN_A_ROW = 200;

type Measured = "remembered" | "lookedUp" | "connect" | "signature";

interface Signed {
  parts: ProofParts;
  signature: string;
}

async function open(url: string) {
  await migrate(url);
  const prisma = createPrisma(url);
  const [clock, log] = [systemClock, createLogger("silent")];
  const revocations = createRevocations({ store: prismaRevocationStore(prisma), clock, log });
  await revocations.start();
  const same = {
    store: prismaIdentityStore(prisma),
    clock,
    log,
    apiKeySecret: "a secret of the bench, which is not one",
    runnerToken: "a-runner-token-of-the-bench",
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

  const keys = agentKeysOfTheBench(prisma);
  const pair = generateKeyPairSync("ed25519");
  const publicKey = pair.publicKey.export({ format: "jwk" }).x ?? "";
  const { id: keyId, wolfId } = await keys.add(publicKey);
  const proof = (): Signed => {
    const nonce = randomBytes(48).toString("base64url");
    const time = new Date().toISOString();
    const parts = { purpose: "connect", host: "bench", wolf: wolfId, publicKey, nonce, time } as const;
    return {
      parts,
      signature: sign(null, Buffer.from(proofText(parts)), pair.privateKey).toString("base64url"),
    };
  };

  const check = async (is: boolean | Promise<boolean>) => {
    if (!(await is)) throw new Error("what is valid was refused");
  };
  const call = (identity: typeof service, at: number) =>
    check(identity.authenticate(headers[at % KEYS] ?? {}).then((principal) => principal !== undefined));
  const runs: Record<Measured, (at: number, proof: Signed | undefined) => Promise<void>> = {
    remembered: (at) => call(service, at),
    lookedUp: (at) => call(forgetful, at),
    signature: async (_at, signed) => check(signed !== undefined && isSigned(signed.parts, signed.signature)),
    async connect(_at, signed) {
      const key = await keys.get(keyId);
      if (key === undefined || signed === undefined) throw new Error("there is no key");
      const { parts, signature } = signed;
      await check(isSigned({ ...parts, wolf: key.wolfId, publicKey: key.publicKey }, signature));
      await check(keys.spend(new Uint8Array(Buffer.from(parts.nonce, "base64url")), keyId));
    },
  };

  /** CPU of this process, µs for each of so many. */
  return async (what: Measured, times: number): Promise<number> => {
    const isProof = what === "connect" || what === "signature";
    // Signing is the agent's work.
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

let measure: Awaited<ReturnType<typeof open>> | undefined;

serveCalls({
  open: async (url: string) => {
    measure = await open(url);
  },
  measure: ({ what, times }: { what: Measured; times: number }) => measure?.(what, times),
});
