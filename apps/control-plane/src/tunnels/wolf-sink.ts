/** Where the notices of one wolf's tunnel go: what it says of itself to the store, what happens to whoever listens. */
import type { AgentWolfEvent, WolfCapabilities, WolfImage } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { HealthState } from "../wolves/health.ts";
import type { UsageReport, WolfStore } from "../wolves/wolf-store.ts";
import type { NoticeSink } from "./agent-notices.ts";
import type { WolfVoice } from "./tunnels.ts";

/** The same for all tunnels. */
export interface Listeners {
  store: Pick<
    WolfStore,
    "changeHealth" | "changeReport" | "changeUsage" | "changeCapabilities" | "changeImages"
  >;
  clock: Clock;
  /** A tunnel that was replaced may still speak; the newest one's word counts. The store sees to that by the epoch. */
  isLive: (from: WolfVoice) => boolean;
  event: (from: WolfVoice, event: AgentWolfEvent) => void;
  relist: (from: WolfVoice) => void;
}

export class WolfSink implements NoticeSink {
  private readonly from: WolfVoice;
  private readonly to: Listeners;

  constructor(from: WolfVoice, to: Listeners) {
    this.from = from;
    this.to = to;
  }

  health({ health, reasons }: HealthState): Promise<unknown> {
    const { wolfId, epoch } = this.from;
    return this.to.store.changeHealth(wolfId, epoch, health, reasons, this.to.clock.now());
  }

  report(report: Parameters<NoticeSink["report"]>[0]): Promise<unknown> {
    const { wolfId, epoch } = this.from;
    return this.to.store.changeReport(wolfId, epoch, report, this.to.clock.now());
  }

  usage(report: UsageReport): Promise<unknown> {
    const { wolfId, epoch } = this.from;
    return this.to.store.changeUsage(wolfId, epoch, report, this.to.clock.now());
  }

  capabilities(known: WolfCapabilities | null): Promise<unknown> {
    const { wolfId, epoch } = this.from;
    return this.to.store.changeCapabilities(wolfId, epoch, known, this.to.clock.now());
  }

  images(images: WolfImage[] | null): Promise<unknown> {
    const { wolfId, epoch } = this.from;
    return this.to.store.changeImages(wolfId, epoch, images, this.to.clock.now());
  }

  event(event: AgentWolfEvent): void {
    if (this.to.isLive(this.from)) this.to.event(this.from, event);
  }

  relist(): void {
    if (this.to.isLive(this.from)) this.to.relist(this.from);
  }
}
