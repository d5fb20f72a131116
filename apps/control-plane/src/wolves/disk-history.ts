/** How full a wolf's mounts were. A sample stands for five minutes, is kept for seven days, and is one of a bounded number. */
import type { DiskHistoryQuery, DiskSample, HelixDiskHistory } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import { helixDiskHistory } from "./helix.ts";
import { findWolf } from "./wolf-service.ts";
import type { WolfStore } from "./wolf-store.ts";

export const DISK_SLOT_MS = 5 * 60_000;
/** Of one wolf, whatever names its agent makes up. */
export const DISK_SAMPLES_PER_SLOT_MAX = 32;

const HOUR_MS = 3_600_000;
/** In Helix's answer, which has no pages: more than two mounts have in seven days. */
const HELIX_SAMPLES_MAX = 10_000;

/** Number of the five minutes that a moment lies in. */
export const diskSlotOf = (at: Date): number => Math.floor(at.getTime() / DISK_SLOT_MS);

export interface DiskSampleFilter {
  wolfId: string;
  limit: number;
  after: string | undefined;
  mount: string | undefined;
  since: Date | undefined;
  until: Date | undefined;
  /** With `limit` items from the end. Default: from the start. The order is the same, oldest first. */
  newest?: boolean;
}

export interface DiskHistoryStore {
  list(filter: DiskSampleFilter): Promise<DiskSample[]>;
}

export interface DiskHistoryOptions {
  store: DiskHistoryStore;
  wolves: Pick<WolfStore, "get" | "getByName">;
  clock: Clock;
}

export type DiskHistory = ReturnType<typeof createDiskHistory>;

export function createDiskHistory({ store, wolves, clock }: DiskHistoryOptions) {
  return {
    /** One more than asked for, so that the caller sees whether there is a next page. Error: wolf-not-found. */
    async list(
      idOrName: string,
      { limit, cursor, mount, since, until }: DiskHistoryQuery,
    ): Promise<DiskSample[]> {
      const { id: wolfId } = await findWolf(wolves, idOrName);
      return store.list({
        wolfId,
        limit: limit + 1,
        after: cursor,
        mount,
        since: since === undefined ? undefined : new Date(since),
        until: until === undefined ? undefined : new Date(until),
      });
    },

    /** Of the last hours, as Helix answers. Error: wolf-not-found. */
    async inHelixWords(
      idOrName: string,
      { hours, mount }: { hours: number; mount?: string | undefined },
    ): Promise<HelixDiskHistory> {
      const wolf = await findWolf(wolves, idOrName);
      const samples = await store.list({
        wolfId: wolf.id,
        limit: HELIX_SAMPLES_MAX,
        after: undefined,
        mount,
        since: new Date(clock.now().getTime() - hours * HOUR_MS),
        until: undefined,
        newest: true,
      });
      return helixDiskHistory(wolf, samples);
    },
  };
}
