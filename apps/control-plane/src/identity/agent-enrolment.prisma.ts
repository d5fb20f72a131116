/**
 * An enrolment as one transaction. Three guards decide its races: the challenge's primary key, the count of the join token, and the
 * lock on the wolf's row, under which it is seen whether the name has had a key.
 */
import type { Prisma } from "../database/prisma.prisma.ts";
import { toAgentKey } from "./agent-key-row.prisma.ts";
import {
  type EnrolmentOutcome,
  type EnrolmentRefusal,
  type EnrolmentRequest,
  RUNNER_TOKEN_ENROLS,
} from "./agent-key-store.ts";
import { enrolmentStep, type KnownKey } from "./enrolment.ts";
import { revoked } from "./revocation-store.prisma.ts";

/** Keys that wait for approval as one wolf; more would be a flood that hides the right one. */
const WAITING_MAX = 10;
/** Longer than a burst of enrolments takes, of which each needs a connection. */
const TRANSACTION_MS = 15_000;

type Transaction = Parameters<Parameters<Prisma["$transaction"]>[0]>[0];

/** Ends the transaction without a trace. */
class Refused extends Error {
  readonly code: EnrolmentRefusal;
  constructor(code: EnrolmentRefusal) {
    super(code);
    this.code = code;
  }
}

export async function enrollInTransaction(
  prisma: Prisma,
  request: EnrolmentRequest,
  now: Date,
): Promise<EnrolmentOutcome> {
  try {
    return await prisma.$transaction((tx) => enroll(tx, request, now), {
      maxWait: TRANSACTION_MS,
      timeout: TRANSACTION_MS,
    });
  } catch (cause) {
    if (cause instanceof Refused) return { refused: cause.code };
    throw cause;
  }
}

async function enroll(
  tx: Transaction,
  request: EnrolmentRequest,
  now: Date,
): Promise<{ key: ReturnType<typeof toAgentKey>; revoked: string[] }> {
  const { bound, expiresAt, challenge } = request;
  let known = await find(tx, request, now);
  let todo = enrolmentStep(known, bound);
  let labels: object = {};
  if (todo.step !== "refuse" && todo.use) {
    const used = await useToken(tx, request, now);
    if (used === undefined) {
      // Used up, perhaps by the same host, which has asked twice at the same moment.
      known = await find(tx, request, now);
      todo = enrolmentStep(known, bound);
      if (todo.step !== "refuse" && todo.use) throw new Refused("join-token-refused");
    } else labels = used;
  }
  if (todo.step === "refuse") throw new Refused(todo.code);
  const spent = await tx.$executeRaw`
    INSERT INTO spent_challenge (nonce, expires_at) VALUES (${challenge.nonce}, ${challenge.expiresAt}) ON CONFLICT DO NOTHING`;
  if (spent === 0) throw new Refused("challenge-spent");
  let revoked: string[] = [];
  let id = known?.id ?? request.keyId;
  if (todo.step === "add") ({ id, revoked } = await addKey(tx, request, labels, now));
  if (todo.step === "activate") {
    const wolfId = known?.wolfId ?? "";
    revoked = await revokeOthers(tx, wolfId, id, now);
    await tx.agentKey.update({ where: { id }, data: { status: "active", expires_at: expiresAt } });
    await takeReport(tx, wolfId, request, labels, now);
  }
  if (todo.step === "extend") await tx.agentKey.update({ where: { id }, data: { expires_at: expiresAt } });
  return {
    key: toAgentKey(await tx.agentKey.findUniqueOrThrow({ where: { id }, include: byName })),
    revoked,
  };
}

const byName = { wolf_instance: { select: { name: true } } };

async function find(
  tx: Transaction,
  { publicKey, wolf }: EnrolmentRequest,
  now: Date,
): Promise<(KnownKey & { id: string; wolfId: string }) | undefined> {
  const row = await tx.agentKey.findUnique({
    where: { public_key: Buffer.from(publicKey, "base64url") },
    include: byName,
  });
  if (row === null) return undefined;
  const { id, wolfId, status, expiresAt, wolfName } = toAgentKey(row);
  return { id, wolfId, status, expired: expiresAt <= now, sameWolf: wolfName === wolf.name };
}

/** The labels that come with it; undefined when it cannot be used. The one statement that uses a token. */
async function useToken(
  tx: Transaction,
  { enrolledBy, wolf }: EnrolmentRequest,
  now: Date,
): Promise<object | undefined> {
  if (enrolledBy === RUNNER_TOKEN_ENROLS) return {};
  const [used] = await tx.$queryRaw<{ labels: object }[]>`
    UPDATE join_token SET uses = uses + 1
    WHERE id = ${enrolledBy} AND uses < uses_max AND revoked_at IS NULL AND expires_at > ${now}
      AND (wolf_name IS NULL OR wolf_name = ${wolf.name})
    RETURNING labels`;
  return used?.labels;
}

async function addKey(
  tx: Transaction,
  request: EnrolmentRequest,
  labels: object,
  now: Date,
): Promise<{ id: string; revoked: string[] }> {
  const { wolf, keyId, publicKey, enrolledBy, bound, expiresAt } = request;
  await tx.$executeRaw`
    INSERT INTO wolf_instance (id, name, created_at, updated_at) VALUES (${wolf.id}, ${wolf.name}, ${now}, ${now})
    ON CONFLICT (name) DO NOTHING`;
  const [{ id: wolfId } = { id: wolf.id }] = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM wolf_instance WHERE name = ${wolf.name} FOR UPDATE`;
  const others = await tx.agentKey.findMany({ where: { wolf_instance_id: wolfId } });
  const active = bound || others.length === 0;
  const waiting = others.filter(({ status, expires_at }) => status === "pending" && expires_at > now);
  if (!active && waiting.length >= WAITING_MAX) throw new Refused("agent-keys-waiting");
  const added = await tx.$executeRaw`
    INSERT INTO agent_key (id, wolf_instance_id, public_key, status, enrolled_by, created_at, expires_at)
    VALUES (${keyId}, ${wolfId}, ${Buffer.from(publicKey, "base64url")}, ${active ? "active" : "pending"}, ${enrolledBy}, ${now},
      ${expiresAt})
    ON CONFLICT (public_key) DO NOTHING`;
  // Enrolled as another wolf since it was looked for.
  if (added === 0) throw new Refused("agent-key-in-use");
  if (!active) return { id: keyId, revoked: [] };
  await takeReport(tx, wolfId, request, labels, now);
  return { id: keyId, revoked: await revokeOthers(tx, wolfId, keyId, now) };
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
  for (const { id } of rows) await revoked(tx, "agent-key", id);
  return rows.map(({ id }) => id);
}
