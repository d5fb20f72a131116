/** What the gateway of tunnels is given, and what it can be asked. */
import type { Tunnel, TunnelEnd } from "revdial";
import type { Clock } from "../clock.ts";
import type { AuditLog } from "../identity/audit.ts";
import type { Revocations } from "../identity/revocations.ts";
import type { Log } from "../logger.ts";
import type { TunnelPlaces } from "../replicas/replica-store.ts";
import type { HealthMonitor } from "../wolves/health-monitor.ts";
import type { TunnelKey, Wolf, WolfStore } from "../wolves/wolf-store.ts";
import type { AgentControl } from "./agent-control.ts";
import type { Further, FurtherPlaces } from "./further-connections.ts";
import type { TunnelLink } from "./helix/grace.ts";
import type { Opener } from "./opener.ts";
import type { Links, Tunnels } from "./tunnels.ts";

export interface TunnelGateway extends Tunnels {
  /** Of this replica. */
  readonly links: { [Way in keyof Links]: (id: string) => TunnelLink | undefined };
  /** Never rejects. */
  acceptWolf(wolf: Wolf, tunnel: Tunnel, opener: Opener): Promise<void>;
  /** Of an agent, beside the one that `acceptWolf` got. Never rejects. */
  acceptFurther(further: Further, tunnel: Tunnel, opener: Opener): Promise<void>;
  /** Requests for this wolf can be sent from here. */
  holdsWolf(wolfId: string): boolean;
  /** Never rejects. */
  acceptSandbox(sessionId: string, tunnel: Tunnel, opener: Opener): Promise<void>;
  /** Never rejects. */
  acceptMoonlight(wolf: Wolf, tunnel: Tunnel, opener: Opener): Promise<void>;
  /** Milliseconds until another agent may take over a wolf, a session or a `moonlightKey` whose tunnel is live; undefined: now. */
  takeoverWaitMs(key: string): number | undefined;
  /** Those with a tunnel that has not ended. */
  liveWolves(): { id: string; epoch: number; rttMs: number | undefined }[];
  /** Wolves whose tunnel takes requests. */
  countServed(): number;
  /** Tunnels whose epoch is being issued. */
  countOpening(): number;
  rttMsOf(wolfId: string): number | undefined;
  /** Ends at once whatever was opened with this credential, by this user or as this wolf; also what was replaced and is still busy. */
  revoke(objectId: string): void;
  /** GOAWAY to one that counts no more: its agent comes back for a newer epoch. */
  sendAway(key: TunnelKey): void;
  /** The same to all there are: this replica was taken for gone. */
  sendAllAway(): void;
  /** Asks agents to open their tunnels at another replica; resolves when they have, and in time. `sendOvertaken`: see moving.ts. */
  moveAway(sendOvertaken: () => Promise<void>): Promise<unknown>;
  /**
   * The same of so many wolves' tunnels, drawn by lot. Resolves to how many agents took the wish, and how many of the wolves are
   * not here any more.
   */
  moveSome(
    count: number,
    sendOvertaken: (wolfIds: ReadonlySet<string>) => Promise<void>,
  ): Promise<{ asked: number; moved: number }>;
  /** GOAWAY to all, each told to come back at another moment; resolves when all have ended and their loss is written. */
  drain(): Promise<void>;
}

export interface TunnelGatewayOptions {
  store: Pick<
    WolfStore,
    "openTunnel" | "changeHealth" | "changeReport" | "changeUsage" | "changeCapabilities" | "changeImages"
  >;
  clock: Clock;
  log: Log;
  random: () => number;
  /** Told of every tunnel that is gone. */
  tunnelLost: HealthMonitor["tunnelLost"];
  audit: AuditLog;
  revocations: Pick<Revocations, "revokedSince">;
  /** What agents with a key of their own may ask. */
  control: AgentControl;
  /** The device that sandboxes render on, where a host has it. */
  renderNode?: string;
  /** Of one wolf within a minute. Default 10. */
  takeoversMax?: number;
  onTunnelEnd?: (end: TunnelEnd) => void;
  /** Where further tunnels end. Default: none are taken. */
  furtherPlaces?: FurtherPlaces;
  /** Where sandboxes' tunnels end, for other replicas. Default: there are none. */
  places?: Pick<TunnelPlaces, "put" | "remove">;
}
