/** `npm run bench -- rolling`: rolling restarts of 2 and 3 replicas under load, and how many requests they fail. */
import { startBalancer } from "../balancer.ts";
import { haproxyVersion, startHaproxy } from "../rolling/haproxy.ts";
import { type RollingFigures, type RollingOptions, rollingRestart } from "../rolling/rolling.ts";

export interface RollingResult {
  rolling: {
    /** Of all restarts together. */
    shortRequests: number;
    failedShortRequests: number;
    failedLongAnswers: number;
    failedCreations: number;
    streamEndsUntold: number;
    missedEvents: number;
    shortP99Ms: number;
    restarts: (RollingFigures & { balancer: string })[];
  };
}

/** As it is used: the defaults of the control plane and of haproxy. */
const whole = { shortRequests: 10_000, streams: 20, longMs: 6000, noticeMs: 7000, checkMs: 2000, atOnce: 16 };
const short = { shortRequests: 300, streams: 3, longMs: 1000, noticeMs: 600, checkMs: 150, atOnce: 4 };
const AGENTS = 4;

const own: RollingOptions["balance"] = (backends, checkEveryMs) => startBalancer({ backends, checkEveryMs });

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchRolling(
  { quick }: { quick: boolean },
  stopped: Promise<never>,
): Promise<RollingResult> {
  const load = quick ? short : whole;
  const version = haproxyVersion();
  if (version === undefined)
    process.stderr.write("• haproxy is not installed: only the balancer of the repository is tried\n");
  const plans: { replicas: number; balancer: string; balance: RollingOptions["balance"] }[] = [
    { replicas: 2, balancer: "own", balance: own },
    ...(version === undefined || quick
      ? []
      : [{ replicas: 2, balancer: `haproxy ${version}`, balance: startHaproxy }]),
    ...(quick ? [] : [{ replicas: 3, balancer: "own", balance: own }]),
  ];
  const restarts: RollingResult["rolling"]["restarts"] = [];
  for (const { balancer, ...plan } of plans) {
    process.stderr.write(`• ${plan.replicas} replicas behind ${balancer}\n`);
    const agents = quick ? 1 : AGENTS;
    const figures = await Promise.race([rollingRestart({ ...load, agents, ...plan }), stopped]);
    restarts.push({ balancer, ...figures });
  }
  const sum = (of: (figures: RollingFigures) => number) =>
    restarts.reduce((all, figures) => all + of(figures), 0);
  return {
    rolling: {
      shortRequests: sum((figures) => figures.shortRequests),
      failedShortRequests: sum((figures) => figures.failedShortRequests),
      failedLongAnswers: sum((figures) => figures.failedLongAnswers),
      failedCreations: sum((figures) => figures.failedCreations),
      streamEndsUntold: sum((figures) => figures.streamEndsUntold),
      missedEvents: sum((figures) => figures.missedEvents),
      shortP99Ms: Math.max(...restarts.map(({ shortP99Ms }) => shortP99Ms)),
      restarts,
    },
  };
}

export function rollingTable({ rolling }: RollingResult): string {
  const rows = rolling.restarts.map((figures) => [
    `${figures.replicas} behind ${figures.balancer}`,
    `${figures.failedShortRequests} of ${figures.shortRequests}`,
    `${figures.shortP50Ms}/${figures.shortP99Ms}/${figures.shortMaxMs} ms`,
    `${figures.failedLongAnswers} of ${figures.longAnswers}`,
    `${figures.failedCreations} of ${figures.sessionsCreated + figures.failedCreations}`,
    `${figures.streamEndsUntold} of ${figures.streamEndsTold + figures.streamEndsUntold}`,
    String(figures.missedEvents),
    `${figures.seconds} s`,
  ]);
  const head = [
    "replicas",
    "short failed",
    "p50/p99/max",
    "long failed",
    "creations failed",
    "untold ends",
    "events missed",
    "time",
  ];
  const widths = head.map((text, at) => Math.max(text.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((text, at) => text.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd();
  const failures = rolling.restarts.flatMap((figures) => figures.failures);
  return [line(head), ...rows.map(line), ...failures, ""].join("\n");
}
