/** What vite.config.ts makes of the contract's tables. */
declare module "virtual:contract" {
  import type { Action, AuditAction, OperationId, ProblemCode, Reach, Role } from "@wolfpack/api-contract";

  export const calls: Record<
    OperationId,
    { method: string; path: string; reads: "json" | "bytes" | "stream" }
  >;
  export const actionUsers: Record<Action, Partial<Record<Role, Reach>>>;
  export const auditActions: readonly AuditAction[];
  export const problemMeanings: Record<ProblemCode, string>;
  /** Every kind of event, and what it says. */
  export const eventKinds: Readonly<Record<string, string>>;
  export const CSRF_HEADER: string;
}
