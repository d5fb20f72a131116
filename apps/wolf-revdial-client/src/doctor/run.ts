/** Runs checks in order: each bounded in time, skipped with the reason when one it needs did not succeed, all ended by one signal. */
import { sentence } from "../sentence.ts";
import { type DoctorCode, doctorChecks } from "./codes.ts";

export interface Finding {
  status: "ok" | "warning" | "failed" | "skipped";
  detail: string;
}

export interface Check {
  code: DoctorCode;
  /** Those that must have succeeded; a warning is a success. */
  needs?: readonly DoctorCode[];
  /** A reason not to run. */
  skip?: string | undefined;
  timeoutMs: number;
  /** What it throws is a failure. */
  run(signal: AbortSignal): Promise<Finding>;
}

export interface Result extends Finding {
  code: DoctorCode;
  durationMs: number;
}

export interface RunOptions {
  signal: AbortSignal;
  /** Milliseconds that never go back. */
  now: () => number;
  /** Made safe to print. */
  clean: (text: string) => string;
  onResult: (result: Result) => void;
}

export const ok = (detail: string): Finding => ({ status: "ok", detail });
export const warning = (detail: string): Finding => ({ status: "warning", detail });
export const skipped = (detail: string): Finding => ({ status: "skipped", detail });
export const failed = (detail: string): Finding => ({ status: "failed", detail });

/** Stops at once when `signal` aborts; the results until then have been told. */
export async function runChecks(checks: readonly Check[], options: RunOptions): Promise<Result[]> {
  const { signal, now, clean, onResult } = options;
  const results = new Map<DoctorCode, Result>();
  for (const check of checks) {
    if (signal.aborted) break;
    const { code, needs = [] } = check;
    const missing = needs.find((need) => !["ok", "warning"].includes(results.get(need)?.status ?? ""));
    const reason =
      check.skip ??
      (missing === undefined ? undefined : `it needs ${missing} (${doctorChecks[missing].name})`);
    const begun = now();
    const finding: Finding | undefined =
      reason === undefined ? await examine(check, signal) : { status: "skipped", detail: reason };
    if (finding === undefined) break;
    const durationMs = Math.round(now() - begun);
    const result = { code, status: finding.status, detail: clean(finding.detail), durationMs };
    results.set(code, result);
    onResult(result);
  }
  return [...results.values()];
}

/** Undefined when the whole examination was stopped. */
async function examine({ run, timeoutMs }: Check, signal: AbortSignal): Promise<Finding | undefined> {
  const over = new AbortController();
  const { promise, resolve } = Promise.withResolvers<Finding | undefined>();
  const stop = () => resolve(undefined);
  const timer = setTimeout(() => resolve(failed(`no result within ${timeoutMs / 1000} s`)), timeoutMs);
  signal.addEventListener("abort", stop, { once: true });
  run(over.signal).then(resolve, (error: unknown) => resolve(failed(sentence(error))));
  const finding = await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
  // Whatever it left open ends with it.
  over.abort();
  return finding;
}
