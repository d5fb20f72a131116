/** Places of further tunnels in PostgreSQL, beside those of sandboxes. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { type Further, type FurtherPlaces, furtherKey, furtherKeys } from "./further-connections.ts";

/** Those of the replica `self`. */
export function prismaFurtherPlaces(prisma: Prisma, self: string): FurtherPlaces {
  return {
    async put({ wolfId, connection, incarnation }) {
      const count = await prisma.$executeRaw`
        INSERT INTO tunnel_place (key, replica_id) SELECT ${furtherKey({ wolfId, connection })}, replica.id FROM replica, wolf_instance
        WHERE replica.id = ${self} AND wolf_instance.id = ${wolfId} AND tunnel_incarnation = ${signed(incarnation)}
        ON CONFLICT (key) DO UPDATE SET replica_id = EXCLUDED.replica_id, since = EXCLUDED.since`;
      return count === 1;
    },

    async remove(further) {
      await prisma.$executeRaw`DELETE FROM tunnel_place WHERE key = ${furtherKey(further)} AND replica_id = ${self}`;
    },

    async fenced(held) {
      const [wolfIds, connections] = [
        held.map(({ wolfId }) => wolfId),
        held.map(({ connection }) => connection),
      ];
      return prisma.$queryRaw<Further[]>`
        SELECT held.wolf_id AS "wolfId", held.connection FROM unnest(${wolfIds}::text[], ${connections}::int[],
          ${held.map(({ incarnation }) => signed(incarnation))}::bigint[]) AS held(wolf_id, connection, incarnation)
        WHERE NOT EXISTS (SELECT 1 FROM tunnel_place JOIN wolf_instance ON wolf_instance.id = held.wolf_id
          WHERE key = held.wolf_id || ' ' || held.connection AND replica_id = ${self} AND tunnel_incarnation = held.incarnation)`;
    },

    async lives(wolfId) {
      const rows = await prisma.$queryRaw<{ one: number }[]>`
        SELECT 1 AS one FROM tunnel_place JOIN replica ON replica.id = replica_id
        WHERE key = ANY(${furtherKeys(wolfId)}) AND lease_until > now() LIMIT 1`;
      return rows.length > 0;
    },
  };
}

/** 64 bits, of which PostgreSQL takes the first for a sign. */
export const signed = (incarnation: bigint): bigint => BigInt.asIntN(64, incarnation);
