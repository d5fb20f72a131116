/** `wolfctl doctor`: whether this machine reaches the control plane, and whether that is well; numbered findings with what to do. */
import type { Command } from "commander";
import type { Finding, Status } from "../doctor/checks.ts";
import { examine } from "../doctor/doctor.ts";
import { Ended, exitCodes } from "../errors.ts";
import { printable, wrapped } from "../output/printable.ts";
import type { Paint, Tone } from "../output/style.ts";
import { count } from "../output/words.ts";
import type { Binder } from "../run.ts";

export function doctorCommand(program: Command, bind: Binder): void {
  program
    .command("doctor")
    .description("Check the way to the control plane, and have it examine itself")
    .action(
      bind<object, []>(async (run) => {
        const { out } = run;
        const findings: Finding[] = [];
        await examine(run, async (finding) => {
          findings.push(finding);
          if (out.format === "table") await out.write(findingText(finding, out));
        });
        const isFailed = findings.some(({ status }) => status === "failed");
        if (out.format === "table") await out.write(`\n${summary(findings)}\n`);
        else if (out.format === "name")
          await out.write(
            findings
              .filter(({ status }) => status === "failed")
              .map(({ id }) => `${printable(id)}\n`)
              .join(""),
          );
        else {
          const verdict = isFailed ? "failed" : "ok";
          await out.one(
            { wolfctl_version: run.edges.version, verdict, checks: findings },
            { name: () => verdict, text: () => "" },
          );
        }
        if (isFailed) throw new Ended(exitCodes.failed);
      }),
    );
}

const words: Record<Status, string> = { ok: "ok", warning: "WARNING", failed: "FAILED", skipped: "skipped" };
const tones: Record<Status, Tone> = { ok: "good", warning: "warn", failed: "bad", skipped: "faint" };
const INDENT = 13;

export function findingText(
  { id, title, status, detail, advice }: Finding,
  { width, paint }: { width: number | undefined; paint: Paint },
): string {
  const room = (width ?? 200) - INDENT;
  const text = wrapped(printable(`${title}: ${detail}`), room);
  if (advice !== null) text.push(...wrapped(printable(`Try: ${advice}`), room));
  const [first = "", ...others] = text;
  const head = `${paint(tones[status], (words[status] ?? printable(status)).padEnd(8))} ${printable(id).padEnd(3)} ${first}`;
  return `${[head, ...others.map((line) => " ".repeat(INDENT) + line)].join("\n")}\n`;
}

function summary(findings: readonly Finding[]): string {
  const many = (status: Status) => findings.filter((one) => one.status === status).length;
  return `${many("ok")} ok, ${count(many("warning"), "warning")}, ${many("failed")} failed, ${many("skipped")} skipped`;
}
