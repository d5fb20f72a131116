/** Intents, quarantines and what placement has to know of wolves in memory: the twin of wolf-steering.prisma.ts. */
import type { Connectivity, QuarantineReason } from "@wolfpack/api-contract";
import { byId, copy, type MemoryFleet, toWolf, type WolfRow } from "../database/memory-fleet.ts";
import { countedIntents } from "./wolf-lifecycle.ts";
import type { QuarantineRules, WolfStore } from "./wolf-store.ts";

type Steering = Pick<
  WolfStore,
  | "reconciled"
  | "createSucceeded"
  | "createFailed"
  | "readmit"
  | "changeIntent"
  | "listDraining"
  | "countConnectivity"
  | "fleet"
  | "setFleet"
  | "changedCandidates"
>;

const DOUBLINGS_MAX = 40;

const isFree = ({ quarantine }: WolfRow, now: Date): boolean =>
  quarantine === null || quarantine.until <= now;

/** A quarantine from now on if `condition` holds and none is on, twice as long as the one before. */
export function quarantineIf(
  condition: boolean,
  row: WolfRow,
  reason: QuarantineReason,
  { firstMs, maxMs }: QuarantineRules,
  now: Date,
): Partial<WolfRow> {
  if (!condition || !isFree(row, now)) return {};
  const times = row.quarantine?.times ?? 0;
  const ms = Math.min(firstMs * 2 ** Math.min(times, DOUBLINGS_MAX), maxMs);
  return { quarantine: { until: new Date(now.getTime() + ms), reason, times: times + 1 } };
}

export function memorySteering(fleet: MemoryFleet): Steering {
  return {
    async reconciled(id, epoch, otherLobbies, now) {
      const row = fleet.wolves.get(id);
      if (row?.epoch !== epoch) return false;
      if (row.reconciledEpoch !== epoch || row.otherLobbies !== otherLobbies)
        fleet.changeWolf(row, { reconciledEpoch: epoch, otherLobbies, updatedAt: now });
      return true;
    },

    async createSucceeded(id, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined || !isFree(row, now)) return;
      const { quarantine } = row;
      if (row.createFailures === 0 && (quarantine === null || quarantine.times === 0)) return;
      const forgiven = quarantine && { ...quarantine, times: 0 };
      fleet.changeWolf(row, { createFailures: 0, quarantine: forgiven, updatedAt: now });
    },

    async createFailed(id, what, rules, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined || !isFree(row, now)) return "counted";
      const createFailures = row.createFailures + 1;
      const tooMany = createFailures >= rules.createFailuresMax;
      const reason = what === "failed" ? "creates-failed" : "creates-slow";
      const quarantine = quarantineIf(tooMany, row, reason, rules, now);
      fleet.changeWolf(row, { createFailures, ...quarantine, updatedAt: now });
      return tooMany ? "quarantined" : "counted";
    },

    async readmit(id, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined) return false;
      const forgotten = { quarantine: null, createFailures: 0, flaps: 0, flapsSince: null };
      fleet.changeWolf(row, { ...forgotten, updatedAt: now });
      return true;
    },

    async changeIntent(id, { from, to, reason, drain, unlessSessions }, now) {
      const row = fleet.wolves.get(id);
      if (row === undefined) return { outcome: "unknown" };
      if (!from.includes(row.intent)) return { outcome: "refused", wolf: toWolf(row) };
      if (unlessSessions && row.connectedSandboxes > 0) return { outcome: "has-sessions", wolf: toWolf(row) };
      const plan = drain ? { ...drain, sessionsAtStart: row.connectedSandboxes } : row.drain;
      fleet.changeWolf(row, {
        intent: to,
        intentSince: row.intent === to ? row.intentSince : now,
        intentReason: reason,
        drain: to === "draining" ? plan : null,
        updatedAt: now,
      });
      return { outcome: "changed", wolf: toWolf(row) };
    },

    async listDraining() {
      return [...fleet.wolves.values()]
        .filter(({ intent }) => intent === "draining")
        .sort(byId)
        .map(toWolf);
    },

    async countConnectivity(since) {
      const of = (connectivity: Connectivity) =>
        [...fleet.wolvesOf(connectivity)].filter(({ intent }) => countedIntents.includes(intent));
      const [suspect, lost] = [of("suspect"), of("lost")];
      return {
        connected: of("connected").length,
        suspect: suspect.length,
        lost: lost.length,
        leftSince: suspect.length + lost.filter(({ connectivitySince }) => connectivitySince >= since).length,
      };
    },

    async fleet() {
      return copy(fleet.state);
    },

    async setFleet(row) {
      fleet.state = row;
    },

    async changedCandidates(mark) {
      const { wolves, gone, next } = fleet.changedSince(mark === undefined ? 0 : Number(mark));
      const known = wolves.sort(byId).map((row) => toWolf({ ...row, host: null, usage: null }));
      return { wolves: known, gone: mark === undefined ? [] : gone.sort(), mark: String(next) };
    },
  };
}
