/**
 * An enrolment as one transaction. Three guards decide its races: the challenge's primary key, the count of the join token, and the
 * lock on the wolf's row, under which it is seen whether the name has had a key.
 */
import type { Prisma } from "../database/prisma.prisma.ts";
import { toAgentKey } from "./agent-key-row.prisma.ts";
import {
  type AgentKeyRecord,
  type EnrolmentOutcome,
  type EnrolmentRefusal,
  type EnrolmentRequest,
  RUNNER_TOKEN_ENROLS,
} from "./agent-key-store.ts";
import { type EnrolmentStep, enrolmentStep, type KnownKey } from "./enrolment.ts";
import { revoke } from "./revocation-store.prisma.ts";

/** Keys that wait for approval as one wolf; more would be a flood that hides the right one. */
const WAITING_MAX = 10;
/** Longer than a burst of enrolments takes, of which each needs a connection. */
const TRANSACTION_MS = 15_000;

type Transaction = Parameters<Parameters<Prisma["$transaction"]>[0]>[0];

/** Ends the transaction without a trace. `changed`: the key is no longer as it was read. */
class Undone extends Error {
  readonly why: EnrolmentRefusal | "changed";
  constructor(why: EnrolmentRefusal | "changed") {
    super(why);
    this.why = why;
  }
}

const TRIES = 3;

export async function enrollInTransaction(
  prisma: Prisma,
  request: EnrolmentRequest,
  now: Date,
): Promise<EnrolmentOutcome> {
  let tokenIsUsable = true;
  for (let tries = 0; tries < TRIES; tries += 1) {
    const known = await find(prisma, request, now);
    const todo = enrolmentStep(known, request.bound);
    if (todo.step === "refuse") return { refused: todo.code };
    if (todo.use && !tokenIsUsable) return { refused: "join-token-refused" };
    try {
      return await prisma.$transaction((tx) => carryOut(tx, todo, known, request, now), {
        maxWait: TRANSACTION_MS,
        timeout: TRANSACTION_MS,
      });
    } catch (cause) {
      if (!(cause instanceof Undone)) throw cause;
      // Used up, perhaps by the same host, which has asked twice at the same moment: its key is known by now.
      if (cause.why === "join-token-refused") tokenIsUsable = false;
      else if (cause.why !== "changed") return { refused: cause.why };
    }
  }
  throw new Error("an enrolment found its key changed again and again");
}

type Todo = Exclude<EnrolmentStep, { step: "refuse" }>;

async function carryOut(
  tx: Transaction,
  { step, use }: Todo,
  known: { id: string; wolfId: string } | undefined,
  request: EnrolmentRequest,
  now: Date,
): Promise<{ key: AgentKeyRecord; revoked: string[] }> {
  const { expiresAt, challenge } = request;
  const labels = use ? await useToken(tx, request, now) : {};
  const spent = await tx.$executeRaw`
    INSERT INTO spent_challenge (nonce, expires_at) VALUES (${challenge.nonce}, ${challenge.expiresAt}) ON CONFLICT DO NOTHING`;
  if (spent === 0) throw new Undone("challenge-spent");
  let revoked: string[] = [];
  const { id, wolfId } = known ?? { id: request.keyId, wolfId: "" };
  if (step === "add") revoked = await addKey(tx, request, labels, now);
  if (step === "activate") {
    revoked = await revokeOthers(tx, wolfId, id, now);
    await change(tx, id, "pending", { status: "active", expires_at: expiresAt });
    await takeReport(tx, wolfId, request, labels, now);
  }
  if (step === "extend") await change(tx, id, { not: "revoked" }, { expires_at: expiresAt });
  return {
    key: toAgentKey(await tx.agentKey.findUniqueOrThrow({ where: { id }, include: byName })),
    revoked,
  };
}

async function change(
  tx: Transaction,
  id: string,
  status: string | { not: string },
  data: { status?: string; expires_at: Date },
): Promise<void> {
  const { count } = await tx.agentKey.updateMany({ where: { id, status }, data });
  if (count === 0) throw new Undone("changed");
}

const byName = { wolf_instance: { select: { name: true } } };

async function find(
  prisma: Prisma,
  { publicKey, wolf }: EnrolmentRequest,
  now: Date,
): Promise<(KnownKey & { id: string; wolfId: string }) | undefined> {
  const row = await prisma.agentKey.findUnique({
    where: { public_key: Buffer.from(publicKey, "base64url") },
    include: byName,
  });
  if (row === null) return undefined;
  const { id, wolfId, status, expiresAt, wolfName } = toAgentKey(row);
  return { id, wolfId, status, expired: expiresAt <= now, sameWolf: wolfName === wolf.name };
}

/** The labels that come with it. The one statement that uses a token. */
async function useToken(tx: Transaction, { enrolledBy, wolf }: EnrolmentRequest, now: Date): Promise<object> {
  if (enrolledBy === RUNNER_TOKEN_ENROLS) return {};
  const [used] = await tx.$queryRaw<{ labels: object }[]>`
    UPDATE join_token SET uses = uses + 1
    WHERE id = ${enrolledBy} AND uses < uses_max AND revoked_at IS NULL AND expires_at > ${now}
      AND (wolf_name IS NULL OR wolf_name = ${wolf.name})
    RETURNING labels`;
  if (used === undefined) throw new Undone("join-token-refused");
  return used.labels;
}

/** Returns the keys that it replaces. */
async function addKey(
  tx: Transaction,
  request: EnrolmentRequest,
  labels: object,
  now: Date,
): Promise<string[]> {
  const { wolf, keyId, publicKey, enrolledBy, bound, expiresAt } = request;
  await tx.$executeRaw`
    INSERT INTO wolf_instance (id, name, created_at, updated_at) VALUES (${wolf.id}, ${wolf.name}, ${now}, ${now})
    ON CONFLICT (name) DO NOTHING`;
  const [{ id: wolfId } = { id: wolf.id }] = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM wolf_instance WHERE name = ${wolf.name} FOR UPDATE`;
  const others = await tx.agentKey.findMany({ where: { wolf_instance_id: wolfId } });
  const active = bound || others.length === 0;
  const waiting = others.filter(({ status, expires_at }) => status === "pending" && expires_at > now);
  const added = await tx.$executeRaw`
    INSERT INTO agent_key (id, wolf_instance_id, public_key, status, enrolled_by, created_at, expires_at)
    VALUES (${keyId}, ${wolfId}, ${Buffer.from(publicKey, "base64url")}, ${active ? "active" : "pending"}, ${enrolledBy}, ${now},
      ${expiresAt})
    ON CONFLICT (public_key) DO NOTHING`;
  // The same host has asked at the same moment.
  if (added === 0) throw new Undone("changed");
  if (!active && waiting.length >= WAITING_MAX) throw new Undone("agent-keys-waiting");
  if (!active) return [];
  await takeReport(tx, wolfId, request, labels, now);
  return revokeOthers(tx, wolfId, keyId, now);
}

/** What the host says of itself; a key that waits changes nothing of its wolf. */
async function takeReport(
  tx: Transaction,
  wolfId: string,
  { wolf }: EnrolmentRequest,
  labels: object,
  now: Date,
): Promise<void> {
  await tx.$executeRaw`
    UPDATE wolf_instance SET address = ${wolf.address}, gpu_type = ${wolf.gpuType}, max_sandboxes = ${wolf.maxSandboxes},
      labels = ${JSON.stringify({ ...wolf.labels, ...labels })}::jsonb, region = ${wolf.region}, cost_per_hour = ${wolf.costPerHour},
      agent_version = ${wolf.agentVersion}, updated_at = ${now}
    WHERE id = ${wolfId}`;
}

/** Every other key of the wolf that could open something or wait to. Returns their ids. */
export async function revokeOthers(
  tx: Transaction,
  wolfId: string,
  keyId: string,
  now: Date,
): Promise<string[]> {
  const rows = await tx.$queryRaw<{ id: string }[]>`
    UPDATE agent_key SET status = 'revoked', revoked_at = ${now}
    WHERE wolf_instance_id = ${wolfId} AND id <> ${keyId} AND status <> 'revoked' RETURNING id`;
  for (const { id } of rows) await revoke(tx, "agent-key", id);
  return rows.map(({ id }) => id);
}
