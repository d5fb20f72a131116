/** Who did what: one event for every call that changes something or is denied, written before its answer leaves. */
import type { AuditAction, AuditActor, AuditResult, ProblemCode } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { newId } from "../ids.ts";
import { withoutCredentials } from "../logger.ts";
import type { Principal } from "./principal.ts";

export interface AuditRecord {
  id: string;
  at: Date;
  actor: AuditActor;
  actorId: string | null;
  credentialId: string | null;
  action: string;
  object: string | null;
  result: AuditResult;
  code: string | null;
  requestId: string;
  replica: string;
  address: string | null;
  detail: Record<string, unknown>;
}

/** With how those are called now whom it names by ids. Null: no such id, or nobody's any more. */
export interface NamedAuditRecord extends AuditRecord {
  actorName: string | null;
  /** Of a key or token of an agent, the wolf's. */
  objectName: string | null;
}

export interface AuditFilter {
  limit: number;
  after: string | undefined;
  actorId?: string | undefined;
  action?: string | undefined;
  object?: string | undefined;
  result?: AuditResult | undefined;
  since?: Date | undefined;
  until?: Date | undefined;
}

export interface AuditStore {
  add(record: AuditRecord): Promise<void>;
  list(filter: AuditFilter): Promise<NamedAuditRecord[]>;
}

/** What happened, as its place knows it. */
export interface AuditEntry {
  /** Undefined: nobody was authenticated. */
  principal: Principal | undefined | "system";
  action: AuditAction;
  object?: string | undefined;
  result: AuditResult;
  code?: ProblemCode | undefined;
  requestId: string;
  address?: string | undefined;
  /** Never secrets. */
  detail?: Record<string, unknown>;
}

export interface AuditLog {
  /** Rejects when it could not be written: then nothing may be acknowledged. */
  record(entry: AuditEntry): Promise<void>;
}

const OBJECT_CHARACTERS_MAX = 64;

export function createAuditLog(store: Pick<AuditStore, "add">, clock: Clock, replica: string): AuditLog {
  return {
    record({ principal, action, object, result, code, requestId, address, detail = {} }) {
      return store.add({
        id: newId("aud"),
        at: clock.now(),
        ...actorOf(principal),
        action,
        object: object === undefined ? null : printable(object),
        result,
        code: code ?? null,
        requestId,
        replica,
        address: address ?? null,
        detail,
      });
    },
  };
}

/** What a caller named may be no id at all: PostgreSQL refuses NUL, and a refused event would be a refused call. Nor a credential. */
function printable(object: string): string {
  return withoutCredentials(object)
    .slice(0, OBJECT_CHARACTERS_MAX)
    .replace(/[^\x21-\x7e]/g, "?");
}

function actorOf(
  principal: AuditEntry["principal"],
): Pick<AuditRecord, "actor" | "actorId" | "credentialId"> {
  if (principal === undefined) return { actor: "anonymous", actorId: null, credentialId: null };
  if (principal === "system") return { actor: "system", actorId: null, credentialId: null };
  switch (principal.kind) {
    case "user":
      return { actor: "user", actorId: principal.userId, credentialId: principal.credentialId };
    case "agent":
      return { actor: "agent", actorId: principal.wolfId, credentialId: principal.credentialId };
    case "joiner":
      return { actor: "join-token", actorId: null, credentialId: principal.credentialId };
    case "runner":
      return { actor: "runner-token", actorId: null, credentialId: null };
  }
}
