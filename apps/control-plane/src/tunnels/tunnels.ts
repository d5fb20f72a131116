/** What the rest of the program may do with this replica's tunnels. */
import type { AgentWolfEvent } from "@wolfpack/api-contract";
import type { Tunnel } from "revdial";
import type { TunnelLink } from "./helix/grace.ts";

/** Who tells of an event. */
export interface WolfVoice {
  wolfId: string;
  epoch: number;
  /** Of the agent's boot: its events are numbered from 1 in each. */
  incarnation: bigint;
}

export interface Tunnels {
  /** The live tunnel of a wolf. */
  wolf(wolfId: string): Tunnel | undefined;
  /** Its epoch. */
  wolfEpoch(wolfId: string): number | undefined;
  /** The live tunnel of a session's own sandbox. */
  sandbox(sessionId: string): Tunnel | undefined;
  /** The live tunnel of the moonlight-web beside a wolf, which an agent of Helix opens (service `moonlight`). */
  moonlight(wolfId: string): Tunnel | undefined;
  /** Ends a sandbox's own tunnel: its session has ended. */
  dropSandbox(sessionId: string): void;
  onWolfConnected(listener: (wolfId: string) => void): void;
  /** Told after the loss is written, or could not be written at the first try. */
  onWolfTunnelLost(listener: (wolfId: string) => void): void;
  /** Events of the wolf's newest tunnel. */
  onWolfEvent(listener: (from: WolfVoice, event: AgentWolfEvent) => void): void;
  /** The agent lost events: what its Wolf runs has to be asked for. */
  onWolfRelist(listener: (wolfId: string) => void): void;
}

/** What requests go through: the live tunnel, or for a short time after the loss of an agent of Helix the wait for its next one. */
export interface Links {
  wolf(wolfId: string): TunnelLink | undefined;
  sandbox(sessionId: string): TunnelLink | undefined | Promise<TunnelLink | undefined>;
}
