/** What the doctor prints: a table for people, 80 columns wide, and one JSON document for programs. */
import type { EffectivePolicy } from "@wolfpack/wolf-api";
import { doctorChecks } from "./codes.ts";
import type { Result } from "./run.ts";

const COLUMNS = 80;
const INDENT = " ".repeat(13);
const words = { ok: "ok", warning: "WARNING", failed: "FAILED", skipped: "skipped" } as const;

/** One check: a line or several, each at most 80 columns, without the last line break. */
export function resultText({ code, status, detail }: Result): string {
  const { name, cause, cure } = doctorChecks[code];
  const lines = wrap(`${name}: ${detail}`);
  if (status === "failed" || status === "warning")
    lines.push(...wrap(`Cause: ${cause}`), ...wrap(`Cure:  ${cure}`));
  const [first = "", ...others] = lines;
  return [`${words[status].padEnd(8)} ${code} ${first}`, ...others.map((line) => INDENT + line)].join("\n");
}

export function summaryText(results: readonly Result[], interrupted: boolean): string {
  const count = (status: Result["status"]) => results.filter((result) => result.status === status).length;
  const warnings = count("warning");
  const sum = `${count("ok")} ok, ${warnings} warning${warnings === 1 ? "" : "s"}, ${count("failed")} failed, ${count("skipped")} skipped`;
  return interrupted ? `interrupted: ${sum}` : sum;
}

/** What the guard lets through on this host. The reasons of closed routes and the limits are in the JSON only. */
export function policyText({ open, closed, limits: _limits, ...rules }: EffectivePolicy): string {
  const rows: [string, string][] = [
    ["open", open.join(", ") || "nothing"],
    ["closed", closed.map(({ route }) => route).join(", ") || "nothing"],
    ...Object.entries(rules).map(([rule, value]): [string, string] => [rule, JSON.stringify(value)]),
  ];
  const lines = rows.flatMap(([name, value]) => wrap(`${name}: ${value}`));
  return lines.map((line, index) => (index === 0 ? "policy" : "").padEnd(INDENT.length) + line).join("\n");
}

/** The shape is documented in docs/operations/doctor.md. */
export function resultJson(
  results: readonly Result[],
  about: { agentVersion: string; controlPlane: string; policy: EffectivePolicy; interrupted: boolean },
): string {
  const verdict = about.interrupted
    ? "interrupted"
    : results.some(({ status }) => status === "failed")
      ? "failed"
      : "ok";
  const checks = results.map(({ code, status, detail, durationMs }) => {
    const { name, cause, cure } = doctorChecks[code];
    const advice = status === "failed" || status === "warning" ? { cause, cure } : {};
    return { code, name, status, detail, duration_ms: durationMs, ...advice };
  });
  const report = {
    format: 1,
    agent_version: about.agentVersion,
    control_plane: about.controlPlane,
    verdict,
    checks,
    policy: about.policy,
  };
  return JSON.stringify(report, null, 2);
}

/** Lines beside the indent; a word that is too long is cut. */
function wrap(text: string): string[] {
  const width = COLUMNS - INDENT.length;
  const lines: string[] = [];
  let line = "";
  for (const word of text
    .split(/\s+/)
    .flatMap((long) => long.match(new RegExp(`.{1,${width}}`, "gu")) ?? [])) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
