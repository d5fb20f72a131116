/** `npm run demo`: the main job played on a fleet of real processes, every step checked. Exit 0 only if every step held. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { wrap } from "./demo-lines.ts";
import { interrupted } from "./interrupt.ts";
import { type DemoStep, playScenario } from "./scenario.ts";
import { root, Stack, threeHosts } from "./stack.ts";

/** Shorter than in production, so that a demo takes seconds; the rules are the same. */
const quicker = {
  WOLFPACK_TUNNEL_LOST_AFTER_SECONDS: "3",
  WOLFPACK_RECONCILE_INTERVAL_SECONDS: "2",
  WOLFPACK_LOBBY_SETTLE_SECONDS: "2",
  WOLFPACK_SESSION_START_TIMEOUT_SECONDS: "30",
  LOG_LEVEL: "info",
};

interface PlayedStep {
  name: string;
  ok: boolean;
  detail: string;
  seconds: number;
}

async function main(args: readonly string[]): Promise<number> {
  const json = args.includes("--json");
  const unknown = args.find((argument) => argument !== "--json");
  if (unknown !== undefined) {
    process.stderr.write(`Unknown argument ${unknown}.\nusage: npm run demo -- [--json]\n`);
    return 2;
  }
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const signal = interrupted();
  const dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-demo-"));
  const pictures = path.join(root, ".data", "demo");
  mkdirSync(pictures, { recursive: true });
  const steps: PlayedStep[] = [];
  const crash = Promise.withResolvers<never>();
  crash.promise.catch(() => undefined);
  void signal.then((name) => crash.reject(new Error(`interrupted by ${name}`)));
  let stack: Stack | undefined;
  let starting: Promise<Stack> | undefined;

  async function play(step: DemoStep): Promise<boolean> {
    const startedAt = performance.now();
    let ok = true;
    let detail: string;
    try {
      detail = await Promise.race([step.run(), crash.promise]);
    } catch (error) {
      ok = false;
      detail = error instanceof Error ? error.message : String(error);
    }
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
    steps.push({ name: step.name, ok, detail, seconds });
    if (!json)
      process.stdout.write(`${ok ? "✓" : "✗"} ${step.name} (${seconds} s)\n${wrap(detail, "    ")}\n`);
    return ok;
  }

  const started = await play({
    name: "Three wolves online",
    async run() {
      const onCrash = (name: string, code: number) =>
        crash.reject(new Error(`the ${name} ended by itself with code ${code}`));
      starting = Stack.start({ dataDir, port: 0, hosts: threeHosts, env: quicker, say, onCrash });
      stack = await starting;
      const { body } = await stack.client().call("listWolves", {});
      return `${body.map((wolf) => `${wolf.name} (${wolf.gpu_type}, ${wolf.max_sandboxes} sandboxes)`).join(", ")} at ${stack.baseUrl}`;
    },
  });
  if (started && stack) {
    const savePng = (name: string, bytes: Uint8Array) => {
      const file = path.join(pictures, name);
      writeFileSync(file, bytes);
      return path.relative(root, file);
    };
    for (const step of playScenario(stack, savePng)) if (!(await play(step))) break;
  }
  say("Stopping …");
  // Also what was still starting when it was interrupted.
  await starting?.then(
    (started) => started.stop(),
    () => undefined,
  );
  rmSync(dataDir, { recursive: true, force: true });
  const ok = steps.length > 1 && steps.every((step) => step.ok);
  if (json) process.stdout.write(`${JSON.stringify({ ok, steps }, null, 2)}\n`);
  else
    process.stdout.write(
      ok
        ? `\nEvery step held: ${steps.length} of ${steps.length}.\n`
        : `\n${steps.filter((step) => !step.ok).length} step failed.\n`,
    );
  return ok ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
