/** Replicas and the places of tunnels in PostgreSQL. */
import type { Prisma } from "../database/prisma.prisma.ts";
import { furtherKeys } from "../tunnels/further-connections.ts";
import type { Owner, ReplicaRow, ReplicaStore, TunnelPlaces } from "./replica-store.ts";

export function prismaReplicaStore(prisma: Prisma): ReplicaStore {
  return {
    async join({ id, url, version, startedAt, secretPrint, steps, leaseMs, replaces = null }) {
      return prisma.$transaction(async (tx) => {
        // Two that begin at once see each other.
        await tx.$executeRaw`LOCK TABLE replica IN SHARE ROW EXCLUSIVE MODE`;
        await tx.$executeRaw`
          DELETE FROM replica WHERE url = ${url} AND id <> ${id} AND (lease_until <= now() OR id = ${replaces})`;
        const [same] = await tx.$queryRaw<
          { id: string }[]
        >`SELECT id FROM replica WHERE url = ${url} AND id <> ${id}`;
        if (same !== undefined) return { outcome: "url-taken", id: same.id } as const;
        const [other] = await tx.$queryRaw<{ id: string }[]>`
          SELECT id FROM replica WHERE id <> ${id} AND secret_print <> ${secretPrint} AND lease_until > now() ORDER BY id LIMIT 1`;
        if (other !== undefined) return { outcome: "other-secret", id: other.id } as const;
        await tx.$executeRaw`
          INSERT INTO replica (id, url, version, secret_print, started_at, steps, lease_until)
          VALUES (${id}, ${url}, ${version}, ${secretPrint}, ${startedAt}, ${steps}, now() + ${leaseMs}::float8 * interval '1 ms')
          ON CONFLICT (id) DO UPDATE SET url = EXCLUDED.url, lease_until = EXCLUDED.lease_until`;
        return { outcome: "joined" } as const;
      });
    },

    async renew(id, { draining, tunnels }, leaseMs) {
      const count = await prisma.$executeRaw`
        UPDATE replica SET lease_until = now() + ${leaseMs}::float8 * interval '1 ms', draining = ${draining}, tunnels = ${tunnels}
        WHERE id = ${id}`;
      return count === 1;
    },

    async leave(id) {
      await prisma.$executeRaw`DELETE FROM replica WHERE id = ${id}`;
    },

    async live() {
      return prisma.$queryRaw<ReplicaRow[]>`
        SELECT id, url, version, started_at AS "startedAt", draining, tunnels FROM replica WHERE lease_until > now() ORDER BY id`;
    },

    async has(id) {
      const rows = await prisma.$queryRaw<{ one: number }[]>`SELECT 1 AS one FROM replica WHERE id = ${id}`;
      return rows.length > 0;
    },

    async reap() {
      const rows = await prisma.$queryRaw<
        { id: string }[]
      >`DELETE FROM replica WHERE lease_until <= now() RETURNING id`;
      return rows.map(({ id }) => id);
    },
  };
}

/** Those of the replica `self`, and of all others. */
export function prismaTunnelPlaces(prisma: Prisma, self: string): TunnelPlaces {
  return {
    async put(key) {
      // A replica that was taken for gone has no row, and its tunnels are sent away.
      await prisma.$executeRaw`
        INSERT INTO tunnel_place (key, replica_id) SELECT ${key}, id FROM replica WHERE id = ${self}
        ON CONFLICT (key) DO UPDATE SET replica_id = EXCLUDED.replica_id, since = EXCLUDED.since`;
    },

    async remove(key) {
      await prisma.$executeRaw`DELETE FROM tunnel_place WHERE key = ${key} AND replica_id = ${self}`;
    },

    async find(key) {
      const [owner] = await prisma.$queryRaw<Owner[]>`
        SELECT replica.id, url FROM tunnel_place JOIN replica ON replica.id = replica_id
        WHERE key = ${key} AND lease_until > now() AND url IS NOT NULL AND replica.id <> ${self}`;
      return owner;
    },

    async findWolf(wolfId) {
      const [owner] = await prisma.$queryRaw<Owner[]>`
        SELECT replica.id, url FROM wolf_instance JOIN replica ON replica.id = tunnel_replica_id
        WHERE wolf_instance.id = ${wolfId} AND tunnel_since IS NOT NULL AND lease_until > now() AND url IS NOT NULL
          AND replica.id <> ${self}`;
      return owner;
    },

    async findFurther(wolfId) {
      return prisma.$queryRaw<Owner[]>`
        SELECT DISTINCT replica.id, url FROM tunnel_place JOIN replica ON replica.id = replica_id
        WHERE key = ANY(${furtherKeys(wolfId)}) AND lease_until > now() AND url IS NOT NULL AND replica.id <> ${self} ORDER BY replica.id`;
    },

    async expectsWolf(wolfId) {
      const rows = await prisma.$queryRaw<{ one: number }[]>`
        SELECT 1 AS one FROM wolf_instance WHERE id = ${wolfId} AND epoch > 0 AND (connectivity = 'suspect' OR tunnel_since IS NOT NULL)`;
      return rows.length > 0;
    },
  };
}
