/**
 * Locks of PostgreSQL for periodic work (pg_try_advisory_xact_lock): nothing waits, and a lock ends with its transaction, however its
 * replica ends. One that stands still holds none for long: the transaction is kept alive by a word from time to time, and PostgreSQL
 * ends whatever says none (idle_in_transaction_session_timeout). What runs is not part of that transaction: it has to be right also
 * beside another one, as after a replica stood still. The lock saves work; epochs and guarded statements keep order.
 */
import { createHash } from "node:crypto";
import { type Clock, repeat } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { Exclusive } from "./exclusive.ts";
import type { Prisma } from "./prisma.prisma.ts";

export interface ExclusiveOptions {
  prisma: Prisma;
  clock: Clock;
  log: Log;
  /** Without a word for so long a lock ends. Default 6,000. */
  silenceMs?: number;
}

const SILENCE_MS = 6000;
const WORDS_PER_SILENCE = 4;
/** Longer no turn lasts; what still runs then goes on without its lock. */
const TURN_MS_MAX = 10 * 60_000;

export function createExclusive({ prisma, clock, log, silenceMs = SILENCE_MS }: ExclusiveOptions): Exclusive {
  return async <Result>(name: string, run: () => Promise<Result>) => {
    let done: { result: Result } | undefined;
    let failed: { error: unknown } | undefined;
    const turn = prisma.$transaction(
      async (tx) => {
        // One statement: both hold until the end of this transaction.
        const [lock] = await tx.$queryRaw<{ taken: boolean }[]>`
          SELECT pg_try_advisory_xact_lock(${lockOf(name)}::bigint) AS taken
          FROM set_config('idle_in_transaction_session_timeout', ${String(silenceMs)}, true)`;
        if (lock?.taken !== true) return;
        const words = repeat(clock, silenceMs / WORDS_PER_SILENCE, async () => {
          await tx.$executeRaw`SELECT 1`.catch(() => words.cancel());
        });
        await run().then(
          (result) => {
            done = { result };
          },
          (error: unknown) => {
            failed = { error };
          },
        );
        words.cancel();
      },
      { timeout: TURN_MS_MAX },
    );
    try {
      await turn;
    } catch (err) {
      // Nothing was written in it. What was done is done.
      if (done === undefined && failed === undefined) throw err;
      log.warn({ err, name }, "the lock of this work ended before the work did");
    }
    if (failed !== undefined) throw failed.error;
    return done === undefined ? "elsewhere" : done.result;
  };
}

/** A stable number of the name, among all of PostgreSQL's 2^64. */
export function lockOf(name: string): bigint {
  return createHash("sha256").update(`wolfpack ${name}`).digest().readBigInt64BE();
}
