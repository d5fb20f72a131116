/** What the service of sessions is made with. */
import type { Clock } from "../clock.ts";
import type { Exclusive } from "../database/exclusive.ts";
import type { Log } from "../logger.ts";
import type { PlacementSettings } from "../placement/placement.ts";
import type { Tunnels } from "../tunnels/tunnels.ts";
import type { QuarantineRules, WolfStore } from "../wolves/wolf-store.ts";
import type { Elsewhere } from "./elsewhere.ts";
import type { Lobbies } from "./lobbies.ts";
import type { SessionDefaults } from "./session-spec.ts";
import type { Quotas, Session, SessionStore } from "./session-store.ts";
import type { StatusLimits } from "./session-times.ts";
import type { SessionWatch } from "./session-watch.ts";

export interface SessionServiceOptions {
  store: SessionStore;
  wolves: Pick<WolfStore, "changedCandidates" | "reconciled" | "createSucceeded" | "createFailed">;
  tunnels: Tunnels;
  lobbies: Lobbies;
  rttMsOf: (wolfId: string) => number | undefined;
  /** Other replicas. Default: there are none. */
  elsewhere?: Elsewhere;
  /** For work that one replica does at a time. Default: there are no others. */
  exclusive?: Exclusive;
  clock: Clock;
  log: Log;
  random: () => number;
  newId: (prefix: "ses") => string;
  /** Of a lock; nobody else has it. */
  newToken: () => string;
  quotas: Quotas;
  defaults: SessionDefaults;
  placement: PlacementSettings;
  quarantine: QuarantineRules;
  queueMax: number;
  /** For wolves whose agents do not say. */
  renderNode: string;
  /** How long the statuses may last that pass. */
  limits: StatusLimits;
  /** A lobby that is still listed after this time runs, even without a container event. */
  settleMs: number;
  /** From seeing a lobby with our tag that no live session has to stopping it. */
  strayGraceMs: number;
  /** So long without a look at a wolf's lobbies, and what happened meanwhile is not known. */
  unseenMs: number;
  lockMs: number;
  createSlowMs: number;
  attemptsMax: number;
  warningMs: number;
  /** Its owner is to know that it will be stopped or moved then. Never rejects. */
  onExpiring: (session: Session, reason: "expired" | "idle" | "drained", at: Date) => Promise<void>;
  watch?: SessionWatch;
}
