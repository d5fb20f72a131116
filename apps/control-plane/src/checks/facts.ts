/** What the checks look at in the database. */

/** So many of them, and the first few names. */
export interface Some {
  count: number;
  names: string[];
}

export interface WolvesSeen {
  /** Those that are expected to be there: not the pending and retired ones, nor those in maintenance. */
  expected: number;
  connected: number;
  /** Suspect or lost. */
  away: Some;
  /** Connected, and not well. */
  unwell: Some;
}

export interface AgentsSeen {
  /** Null: it has not said. */
  version: string | null;
  protocol: string;
  agents: Some;
}

/** Of hosts with a live tunnel, as it was opened. */
export interface ClocksSeen {
  /** Whose clock is known. */
  known: number;
  /** Off by as much as was asked for or more, the worst first. */
  off: Some;
  /** The one that is off most; positive: ahead. */
  worst: { name: string; offsetMs: number } | undefined;
}

/** Everything rejects when the database does not answer. */
export interface CheckFacts {
  ping(): Promise<void>;
  /** Its clock. */
  now(): Promise<Date>;
  /** Of those that were begun here, by name; unfinished ones have failed, or run now. */
  migrations(): Promise<{ name: string; finished: boolean }[]>;
  queue(): Promise<{ length: number; oldestAt: Date | null }>;
  wolves(): Promise<WolvesSeen>;
  /** Of wolves with a live tunnel, by version. */
  agents(): Promise<AgentsSeen[]>;
  /** Live tunnels that were opened with the RUNNER_TOKEN. */
  legacyTunnels(): Promise<Some>;
  clocks(offMs: number): Promise<ClocksSeen>;
  storage(): Promise<{ databaseBytes: number; oldestEventAt: Date | null }>;
}
