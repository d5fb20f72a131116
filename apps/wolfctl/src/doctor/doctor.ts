/** Runs the doctor's checks in order, each bounded in time and skipped where one that it needs has failed, and has the control plane examine itself. */
import { WolfpackApiError } from "@wolfpack/api-contract";
import { readKeyFile } from "../config/key-file.ts";
import type { Target } from "../config/target.ts";
import type { Connection } from "../connection.ts";
import { connect } from "../connection.ts";
import type { Edges } from "../edges.ts";
import { Failed, Interrupted } from "../errors.ts";
import { failureOf } from "../failure.ts";
import type { Run } from "../run.ts";
import * as c from "./checks.ts";

const CHECK_MS = 10_000;

/** Tells each finding as it comes. */
export async function examine(run: Run, tell: (finding: c.Finding) => Promise<void>): Promise<void> {
  const { edges } = run;
  const results = new Map<c.CheckId, c.Status>();
  const succeeded = (id: c.CheckId) => ["ok", "warning"].includes(results.get(id) ?? "");

  async function check(
    id: c.CheckId,
    needs: readonly c.CheckId[],
    look: (signal: AbortSignal) => Promise<c.Verdict> | c.Verdict,
  ) {
    const missing = needs.find((need) => !succeeded(need));
    const begun = edges.now();
    const { title, advice } = c.wolfctlChecks[id];
    const verdict: c.Verdict =
      missing === undefined
        ? await bounded(edges, look, (error) => c.failed(reasonOf(error)))
        : { status: "skipped", detail: `it needs ${missing}` };
    if (edges.signal.aborted) throw new Interrupted();
    results.set(id, verdict.status);
    const isFine = verdict.status === "ok" || verdict.status === "skipped";
    await tell({ id, title, ...verdict, advice: isFine ? null : advice, ms: edges.now() - begun });
  }

  let target: Target | undefined;
  let connection: Connection | undefined;
  let found: { date: string | null; version: string; atMs: number } | undefined;
  await check("W01", [], () => {
    target = run.target();
    const [first] = target.warnings;
    const words = `${target.url.href.replace(/\/+$/, "")} (${target.urlFrom})`;
    return first === undefined ? c.ok(words) : c.warning(`${words}: ${first}`);
  });
  await check("W02", ["W01"], () => c.readKeyCheck(target?.keyFile ?? null));
  if (target !== undefined)
    connection = connect(
      target,
      succeeded("W02") && target.keyFile !== null ? readKeyFile(target.keyFile) : undefined,
      edges,
    );
  const to = connection as Connection;
  await check("W03", ["W01"], async (signal) => {
    const begun = edges.now();
    found = { ...(await c.reach(to, signal)), atMs: edges.now() };
    return c.ok(`answers within ${edges.now() - begun} ms`);
  });
  await check("W04", ["W03"], (signal) => c.readiness(to, signal));
  await check("W05", ["W03"], () => c.clockCheck(found?.date ?? null, found?.atMs ?? 0));
  await check("W06", ["W03"], () => c.versionCheck(edges.version, found?.version ?? ""));
  await check("W07", ["W02", "W03"], async (signal) => {
    const { body } = await to.call("getMe", {}, { signal });
    return c.ok(`belongs to ${body.name} (${body.role})`);
  });
  await check("W08", ["W07"], (signal) => c.streamCheck(to, signal));
  if (succeeded("W07")) await serverChecks(to, edges, tell);
  if (edges.signal.aborted) throw new Interrupted();
}

/** Whatever it is that looks, and asks meanwhile, has so long; what it left open ends with it. */
async function bounded<Result>(
  edges: Edges,
  look: (signal: AbortSignal) => Promise<Result> | Result,
  failedBy: (error: unknown) => Result,
): Promise<Result> {
  const over = new AbortController();
  const limit = edges.limit(CHECK_MS);
  try {
    return await look(AbortSignal.any([edges.signal, limit, over.signal]));
  } catch (error) {
    return failedBy(limit.aborted ? new Failed(`no result within ${CHECK_MS / 1000} s`) : error);
  } finally {
    over.abort();
  }
}

/** What the control plane finds out about itself, all within the time of one check; only operators and admins may ask. */
async function serverChecks(
  connection: Connection,
  edges: Edges,
  tell: (finding: c.Finding) => Promise<void>,
): Promise<void> {
  const begun = edges.now();
  const findings = await bounded<c.Finding[]>(
    edges,
    async (signal) => (await connection.call("getHealth", {}, { signal })).body.checks,
    (error) => [unexamined(error, edges.now() - begun)],
  );
  if (edges.signal.aborted) return;
  for (const { id, title, status, detail, advice, ms } of findings)
    await tell({ id, title, status, detail, advice, ms });
}

function unexamined(error: unknown, ms: number): c.Finding {
  const finding = { id: "C00", title: "Control plane's own checks", ms };
  const api = error instanceof WolfpackApiError ? error : undefined;
  const why =
    api?.code === "forbidden"
      ? "only operators and admins may have the control plane examine itself"
      : api?.status === 404
        ? "this control plane is older and cannot examine itself"
        : undefined;
  if (why !== undefined) return { ...finding, status: "skipped", detail: why, advice: null };
  const advice = "Look at the control plane's log.";
  return { ...finding, status: "failed", detail: reasonOf(error), advice };
}

/** One sentence without its full stop. */
const reasonOf = (error: unknown): string =>
  (failureOf(error, undefined).lines[0] ?? "interrupted").replace(/\.$/, "");
