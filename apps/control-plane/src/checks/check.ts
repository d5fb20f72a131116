/** What a check of the control plane is, and how all of them are made: side by side, each within its time, and not too often. */
import type { CheckStatus, HealthCheck, HealthReport } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";

export interface Finding {
  status: CheckStatus;
  /** Sentences for people. */
  detail: string;
  /** In place of the check's own cure. */
  advice?: string;
}

/** docs/operations/health-checks.md repeats all but `run`; a test compares. */
export interface Check {
  id: `C${number}${number}`;
  title: string;
  warning: string;
  failed: string;
  cure: string;
  /** May reject: the check has failed then, and says that it could not be made. The signal ends when nobody waits any more. */
  run(signal: AbortSignal): Promise<Finding>;
}

export type Report = Omit<HealthReport, "replica" | "version">;

const CHECK_MS_MAX = 6000;
/** Whoever asks within this time is given the same report: a page that many look at costs no more than one of them. */
const REPORT_MS_MAX = 5000;
const DETAIL_CHARACTERS_MAX = 500;

const gravity: Record<CheckStatus, number> = { failed: 2, warning: 1, ok: 0, skipped: 0 };
const byGravity = ["ok", "warning", "failed"] as const;

export function worstOf(checks: readonly { status: CheckStatus }[]): HealthReport["status"] {
  return byGravity[Math.max(0, ...checks.map(({ status }) => gravity[status]))] ?? "failed";
}

export interface ExaminerOptions {
  checks: readonly Check[];
  clock: Clock;
  /** Milliseconds that never go back. */
  now: () => number;
  onFailed: (id: string, error: unknown) => void;
  /** Default 6,000. */
  checkMsMax?: number;
}

/** What it returns never rejects. */
export function createExaminer(options: ExaminerOptions): () => Promise<Report> {
  const { checks, clock, now, onFailed, checkMsMax = CHECK_MS_MAX } = options;
  let last: { report: Promise<Report>; doneAt: number } | undefined;

  async function one({ id, title, cure, run }: Check): Promise<HealthCheck> {
    const begunAt = now();
    const finding = await within(clock, checkMsMax, run).catch((error: unknown): Finding => {
      onFailed(id, error);
      const why = error instanceof Late ? `no answer within ${checkMsMax / 1000} s` : "an unexpected failure";
      return { status: "failed", detail: `It could not be checked: ${why}; the log of this replica tells.` };
    });
    const { status, detail } = finding;
    const isWell = status === "ok" || status === "skipped";
    const advice = finding.advice ?? (isWell ? null : cure);
    return { id, title, status, detail: shown(detail), advice, ms: Math.round((now() - begunAt) * 10) / 10 };
  }

  async function examine(): Promise<Report> {
    const at = clock.now().toISOString();
    const made = await Promise.all(checks.map(one));
    return { status: worstOf(made), at, checks: made };
  }

  return () => {
    if (last !== undefined && now() - last.doneAt < REPORT_MS_MAX) return last.report;
    const made = { report: examine(), doneAt: Number.POSITIVE_INFINITY };
    void made.report.then(() => {
      made.doneAt = now();
    });
    last = made;
    return made.report;
  };
}

class Late extends Error {}

async function within<T>(clock: Clock, ms: number, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = clock.setTimer(ms, () => reject(new Late()));
  try {
    return await Promise.race([run(stop.signal), late]);
  } finally {
    timer.cancel();
    stop.abort();
  }
}

/** Names in it come from hosts. */
const shown = (text: string) =>
  text
    .replace(/\p{Cc}+/gu, " ")
    .slice(0, DETAIL_CHARACTERS_MAX)
    .toWellFormed();
