/**
 * Which channels there are, which of them still hold a slot after their end because their handler goes on, which still
 * hold memory because nobody has read what came, and when the next deadline falls.
 */
import { advance, type Channel, type ChannelEvent, channelTransitions } from "./channel.ts";
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
  /** Closed, with bytes that somebody holds and may never read: the peer made them, so they count until they are gone. */
  private readonly unread = new IdTable<Channel>();

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
    this.windows.remoteEnded(channel);
    if (channel.unreadBytes > 0) this.unread.set(channel.id, channel);
    return event !== "reset";
  }

  /** Bytes were read, or dropped: the credit to send for them now. */
  consumed(id: number, bytes: number, now: number): number {
    const channel = this.channels.get(id) ?? this.unread.get(id);
    if (channel === undefined) return 0;
    const remoteEnded = channelTransitions[channel.state].remoteEnd === undefined;
    const credit = this.windows.consumed(channel, bytes, remoteEnded, now);
    if (channel.state === "closed" && channel.unreadBytes === 0) this.unread.delete(id);
    return credit;
  }

  clear(): void {
    for (const channel of [...this.channels.values(), ...this.unread.values()]) {
      channel.queue.clear();
      channel.state = "closed";
      channel.unreadBytes = 0;
      this.windows.remoteEnded(channel);
    }
    this.channels.clear();
    this.unread.clear();
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
