/** Replicas in memory, for tests. Time is given. */
import type { Clock } from "../clock.ts";
import type { ReplicaRow, ReplicaStore } from "./replica-store.ts";

export function memoryReplicaStore(clock: Pick<Clock, "now">): ReplicaStore {
  const rows = new Map<string, ReplicaRow & { secretPrint: string; untilMs: number }>();
  const nowMs = () => clock.now().getTime();
  return {
    async join({ id, url, version, startedAt, secretPrint, leaseMs, replaces }) {
      const others = [...rows.values()].filter((row) => row.id !== id);
      const lives = (row: { id: string; untilMs: number }) => rows.has(row.id) && row.untilMs > nowMs();
      const atSame = others.filter((row) => url !== null && row.url === url);
      for (const row of atSame) if (!lives(row) || row.id === replaces) rows.delete(row.id);
      const same = atSame.find(lives);
      if (same !== undefined) return { outcome: "url-taken", id: same.id };
      const other = others
        .filter((row) => row.secretPrint !== secretPrint && lives(row))
        .sort((left, right) => (left.id < right.id ? -1 : 1))[0];
      if (other !== undefined) return { outcome: "other-secret", id: other.id };
      const before = rows.get(id) ?? { id, version, startedAt, secretPrint, draining: false, tunnels: 0 };
      rows.set(id, { ...before, url, untilMs: nowMs() + leaseMs });
      return { outcome: "joined" };
    },

    async renew(id, now, leaseMs) {
      const row = rows.get(id);
      if (row === undefined) return false;
      rows.set(id, { ...row, ...now, untilMs: nowMs() + leaseMs });
      return true;
    },

    async leave(id) {
      rows.delete(id);
    },

    async live() {
      return [...rows.values()]
        .filter(({ untilMs }) => untilMs > nowMs())
        .sort((left, right) => (left.id < right.id ? -1 : 1))
        .map(({ untilMs: _until, secretPrint: _print, ...row }) => row);
    },

    has: async (id) => rows.has(id),

    async reap() {
      const gone = [...rows.values()].filter(({ untilMs }) => untilMs <= nowMs()).map(({ id }) => id);
      for (const id of gone) rows.delete(id);
      return gone;
    },
  };
}
