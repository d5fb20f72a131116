/**
 * The fleet as placement sees it, kept in memory: what PostgreSQL says of each wolf, and whether a tunnel leads there. It may be a
 * moment behind, which the claim's own guards make harmless; whoever is about to refuse somebody refreshes it first.
 */
import type { Wolf, WolfStore } from "../wolves/wolf-store.ts";
import type { Candidate } from "./candidate.ts";
import { Fleet } from "./fleet.ts";

/** What of a wolf is kept: the whole row of each of thousands would be three times as much. */
export type SeenWolf = Pick<
  Wolf,
  | "id"
  | "name"
  | "epoch"
  | "intent"
  | "connectivity"
  | "health"
  | "quarantine"
  | "reconciledEpoch"
  | "gpuType"
  | "gpuModel"
  | "renderNode"
  | "labels"
  | "region"
  | "costPerHour"
  | "images"
  | "tunnelReplicaId"
  | "tunnelSince"
  | "tunnelRttMs"
  | "maxSandboxes"
  | "connectedSandboxes"
  | "otherLobbies"
  | "vramMb"
  | "encoderSessions"
> & { missing: readonly string[] };

export interface FleetViewOptions {
  store: Pick<WolfStore, "changedCandidates">;
  /** Its tunnel leads there, from this replica or from one that can be asked. */
  hasTunnel: (wolf: SeenWolf) => boolean;
  rttMsOf: (wolfId: string) => number | undefined;
  /** Something is not as it was: there may be room. */
  onChanged: () => void;
}

export class FleetView {
  readonly fleet = new Fleet();
  private readonly options: FleetViewOptions;
  private readonly wolves = new Map<string, SeenWolf>();
  /** Wolves in quarantine, with its end. */
  private readonly quarantined = new Map<string, number>();
  private mark: string | undefined;
  private reading: Promise<boolean> | undefined;
  private next: Promise<boolean> | undefined;

  constructor(options: FleetViewOptions) {
    this.options = options;
  }

  /**
   * Reads what has changed, beginning after this call; true when something had, which `onChanged` is told too, whoever asked. Those
   * who ask meanwhile share the next read.
   */
  refresh(): Promise<boolean> {
    if (this.reading === undefined) {
      this.reading = this.read().finally(() => {
        this.reading = undefined;
      });
      return this.reading;
    }
    this.next ??= this.reading
      .catch(() => false)
      .then(() => {
        this.next = undefined;
        return this.refresh();
      });
    return this.next;
  }

  /** A tunnel came or went. */
  tunnelChanged(wolfId: string): void {
    const wolf = this.wolves.get(wolfId);
    if (wolf !== undefined) this.fleet.put(this.candidateOf(wolf));
  }

  /** Replicas came or went. */
  replicasChanged(): void {
    for (const wolf of this.wolves.values()) this.fleet.put(this.candidateOf(wolf));
    this.options.onChanged();
  }

  wolf(wolfId: string): SeenWolf | undefined {
    return this.wolves.get(wolfId);
  }

  private async read(): Promise<boolean> {
    const { wolves, gone, mark } = await this.options.store.changedCandidates(this.mark);
    this.mark = mark;
    for (const row of wolves) {
      const wolf = seen(row);
      this.wolves.set(wolf.id, wolf);
      if (wolf.quarantine === null) this.quarantined.delete(wolf.id);
      else this.quarantined.set(wolf.id, wolf.quarantine.until.getTime());
      this.fleet.put(this.candidateOf(wolf));
    }
    for (const id of gone) {
      this.wolves.delete(id);
      this.quarantined.delete(id);
      this.fleet.remove(id);
    }
    const hasChanged = wolves.length + gone.length > 0;
    if (hasChanged) this.options.onChanged();
    return hasChanged;
  }

  /** A quarantine changes nothing in the database when it ends. */
  endQuarantines(nowMs: number): void {
    let hasChanged = false;
    for (const [id, untilMs] of this.quarantined) {
      if (untilMs > nowMs) continue;
      this.quarantined.delete(id);
      hasChanged = true;
    }
    if (hasChanged) this.options.onChanged();
  }

  private candidateOf(wolf: SeenWolf): Candidate {
    return {
      id: wolf.id,
      name: wolf.name,
      epoch: wolf.epoch,
      intent: wolf.intent,
      connectivity: wolf.connectivity,
      health: wolf.health,
      quarantinedUntilMs: wolf.quarantine?.until.getTime() ?? null,
      tunnel: this.options.hasTunnel(wolf),
      reconciled: wolf.reconciledEpoch === wolf.epoch,
      missing: wolf.missing,
      gpuType: wolf.gpuType,
      gpuModel: wolf.gpuModel,
      labels: wolf.labels,
      region: wolf.region,
      costPerHour: wolf.costPerHour,
      images: wolf.images?.filter(({ state }) => state === "present").map(({ name }) => name) ?? null,
      rttMs: this.options.rttMsOf(wolf.id) ?? wolf.tunnelRttMs,
      slots: { max: wolf.maxSandboxes, claimed: wolf.connectedSandboxes, other: wolf.otherLobbies },
      vramMb: wolf.vramMb,
      encoderSessions: wolf.encoderSessions,
    };
  }
}

const nothing: readonly string[] = [];

function seen(wolf: Wolf): SeenWolf {
  const { id, name, epoch, intent, connectivity, health, quarantine, reconciledEpoch, gpuType, gpuModel } =
    wolf;
  const { renderNode, labels, region, costPerHour, images, tunnelReplicaId, tunnelSince, tunnelRttMs } = wolf;
  const { maxSandboxes, connectedSandboxes, otherLobbies, vramMb, encoderSessions, capabilities } = wolf;
  return {
    ...{ id, name, epoch, intent, connectivity, health, quarantine, reconciledEpoch, gpuType, gpuModel },
    ...{ renderNode, labels, region, costPerHour, images, tunnelReplicaId, tunnelSince, tunnelRttMs },
    ...{ maxSandboxes, connectedSandboxes, otherLobbies, vramMb, encoderSessions },
    missing: capabilities?.missing ?? nothing,
  };
}
