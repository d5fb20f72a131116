/**
 * Which channels there are, which of them still hold a slot after their end because their handler goes on, and when the
 * next deadline falls.
 */
import { advance, type Channel, type ChannelEvent } from "./channel.ts";
import type { Grants } from "./grants.ts";
import { IdTable } from "./id-table.ts";
import type { Windows } from "./windows.ts";

export interface ChannelsSize {
  /** Not closed. */
  live: number;
  /** Opened by the peer and not closed, or with a handler that has not stopped. */
  slots: number;
  /** Of `receiveBudgetBytes`. */
  budgetUsedBytes: number;
}

export class Channels {
  /** Never later than the earliest deadline of a live channel. */
  nextDeadlineAt = Number.POSITIVE_INFINITY;
  /** Live channels that we opened. */
  outbound = 0;
  private readonly windows: Windows;
  private readonly grants: Grants;
  private readonly channels = new IdTable<Channel>();
  private readonly slots = new IdTable<Channel>();

  constructor(windows: Windows, grants: Grants) {
    this.windows = windows;
    this.grants = grants;
  }

  get live(): number {
    return this.channels.size;
  }

  get size(): ChannelsSize {
    return { live: this.live, slots: this.slots.size, budgetUsedBytes: this.windows.budgetUsedBytes };
  }

  get(id: number): Channel | undefined {
    return this.channels.get(id);
  }

  /** A copy: the caller may end channels while it looks at them. */
  list(): Channel[] {
    return this.channels.values();
  }

  /** `deadlineMs` 0 is none. */
  add(channel: Channel, deadlineMs: number, now: number): void {
    this.channels.set(channel.id, channel);
    if (channel.inbound) this.slots.set(channel.id, channel);
    else this.outbound += 1;
    if (deadlineMs <= 0) return;
    channel.deadlineAt = now + deadlineMs;
    this.nextDeadlineAt = Math.min(this.nextDeadlineAt, channel.deadlineAt);
  }

  /** Applies a table event; true when it finished the channel in order. Error: CHANNEL_STATE. */
  step(channel: Channel, event: ChannelEvent): boolean {
    channel.state = advance(channel.state, event);
    if (channel.state !== "closed") return false;
    this.channels.delete(channel.id);
    if (!channel.inbound) this.outbound -= 1;
    else if (channel.released) this.freeSlot(channel.id);
    // What is still unread now belongs to whoever holds the body: no peer can make more of it.
    this.windows.release(channel);
    return event !== "reset";
  }

  clear(): void {
    for (const channel of this.channels.values()) {
      channel.queue.clear();
      channel.state = "closed";
      this.windows.release(channel);
    }
    this.channels.clear();
    this.slots.clear();
    this.outbound = 0;
    this.nextDeadlineAt = Number.POSITIVE_INFINITY;
  }

  /** The handler of an inbound channel has stopped. */
  handled(id: number): void {
    const channel = this.channels.get(id);
    if (channel) channel.released = true;
    else this.freeSlot(id);
  }

  private freeSlot(id: number): void {
    if (this.slots.delete(id)) this.grants.slotFree();
  }

  /** Channels whose deadline has passed. */
  expired(now: number): Channel[] {
    if (now < this.nextDeadlineAt) return [];
    this.nextDeadlineAt = Number.POSITIVE_INFINITY;
    const expired: Channel[] = [];
    for (const channel of this.channels.values()) {
      if (channel.deadlineAt === undefined) continue;
      if (now >= channel.deadlineAt) expired.push(channel);
      else this.nextDeadlineAt = Math.min(this.nextDeadlineAt, channel.deadlineAt);
    }
    return expired;
  }
}
