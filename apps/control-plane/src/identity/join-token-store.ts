/** Join tokens as the rest of the program sees them. */
import type { Page } from "./identity-store.ts";

export interface JoinTokenRecord {
  id: string;
  /** The only name it may enrol; null: any. */
  wolfName: string | null;
  labels: Record<string, string>;
  uses: number;
  usesMax: number;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date;
  revokedAt: Date | null;
}

export type NewJoinToken = Omit<JoinTokenRecord, "uses" | "revokedAt"> & { hash: Uint8Array<ArrayBuffer> };

export interface JoinTokenStore {
  add(token: NewJoinToken): Promise<JoinTokenRecord>;
  /** Also one that is used up or has expired: who has enrolled with it may ask again. Not one that was revoked. */
  find(hash: Uint8Array<ArrayBuffer>): Promise<JoinTokenRecord | undefined>;
  list(page: Page): Promise<JoinTokenRecord[]>;
  /** False when there is none; true also for one that was revoked before. */
  revoke(id: string, now: Date): Promise<boolean>;
}
