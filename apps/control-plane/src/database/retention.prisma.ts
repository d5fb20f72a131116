/** Old rows in PostgreSQL: found by the index of their moment, each table in the same two statements. */
import { Prisma as Sql } from "../generated/client.ts";
import type { Prisma } from "./prisma.prisma.ts";
import type { Kept, RetentionStore } from "./retention.ts";

const tables: Record<Kept, { table: string; moment: string }> = {
  events: { table: "fleet_event", moment: "at" },
  "disk samples": { table: "disk_sample", moment: "at" },
  "spent challenges": { table: "spent_challenge", moment: "expires_at" },
  "idempotency keys": { table: "idempotency_key", moment: "expires_at" },
  "browsers' sessions": { table: "web_session", moment: "expires_at" },
};

export function prismaRetentionStore(prisma: Prisma): RetentionStore {
  const namesOf = (what: Kept) => ({
    table: Sql.raw(tables[what].table),
    moment: Sql.raw(tables[what].moment),
  });
  return {
    async remove(what, before, max) {
      const { table, moment } = namesOf(what);
      // Nobody is waited for: what another replica removes, or somebody just gives another end, is left to the next time. An array: of a
      // table whose statistics are old, the planner would look for each row in all rows of a subquery.
      return prisma.$executeRaw`
        DELETE FROM ${table} WHERE ctid = ANY (ARRAY
          (SELECT ctid FROM ${table} WHERE ${moment} < ${before} ORDER BY ${moment} LIMIT ${max} FOR UPDATE SKIP LOCKED))`;
    },

    async count(what, before, max) {
      const { table, moment } = namesOf(what);
      const [row] = await prisma.$queryRaw<{ count: number }[]>`
        SELECT count(*)::int AS count FROM (SELECT FROM ${table} WHERE ${moment} < ${before} LIMIT ${max}) AS old`;
      return row?.count ?? 0;
    },
  };
}
