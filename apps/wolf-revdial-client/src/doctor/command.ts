/** `wolf-revdial-client doctor`: parses, examines, prints. */
import { lookup } from "node:dns/promises";
import { hostname } from "node:os";
import { effectivePolicy } from "@wolfpack/wolf-api";
import { Command } from "commander";
import { addSettings } from "../commands/settings-options.ts";
import { readConfig } from "../config.ts";
import { gpuTypeOf, readCards } from "../inventory/drm.ts";
import { printableWithout } from "../printable.ts";
import type { Flags, SettingName } from "../settings.ts";
import { checksForHelix } from "./helix.ts";
import { hostChecks } from "./host.ts";
import { keyCheck, lookAtKey } from "./key.ts";
import { networkChecks } from "./network.ts";
import { policyText, resultJson, resultText, summaryText } from "./report.ts";
import { runChecks } from "./run.ts";
import { tunnelChecks } from "./tunnel.ts";

/** The examination did not end well; everything is said already. */
export class DoctorEnd extends Error {
  override readonly name = "DoctorEnd";
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`the doctor ends with ${exitCode}`);
    this.exitCode = exitCode;
  }
}

const names = [
  "apiUrl",
  "wolfId",
  "joinTokenFile",
  "tokenFile",
  "token",
  "stateDir",
  "local",
  "policyFile",
  "gpuType",
  "gpuFolder",
  "disk",
  "diskWarningPercent",
  "diskCriticalPercent",
  "diskFreeMinGib",
  "protocol",
  "transport",
  "caFile",
  "insecure",
] as const satisfies readonly SettingName[];
const CHECK_TIMEOUT_MS = 10_000;
const ECHO_TIMEOUT_MS = 5000;
const IDLE_MS = 65_000;
const IDLE_FATAL_MS = 15_000;
const DETAIL_CHARACTERS_MAX = 500;

export interface DoctorEdges {
  version: string;
  env: NodeJS.ProcessEnv;
  print: (text: string) => void;
}

type DoctorFlags = Flags & { quick?: boolean; json?: boolean };

export function doctorCommand({ version, env, print }: DoctorEdges): Command {
  const command = new Command("doctor").description(
    "Check the way to the control plane and this host; numbered findings with cause and cure",
  );
  return addSettings(command, names)
    .option("--quick", "Leave out the 65 s of silence (D19)")
    .option("--json", "Print one JSON document")
    .action(async (flags: DoctorFlags) => {
      const stop = new AbortController();
      const onSignal = () => stop.abort();
      process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
      const exitCode = await examine(flags, { version, env, print }, stop.signal);
      if (exitCode !== 0) throw new DoctorEnd(exitCode);
    });
}

/** Exit code 1 when a check failed, 130 when it was interrupted. Throws ConfigError. */
async function examine(
  flags: DoctorFlags,
  { version, env, print }: DoctorEdges,
  signal: AbortSignal,
): Promise<number> {
  const { quick = false, json = false, ...settings } = flags;
  // Before the first registration a host need not have a name yet.
  const wolfId =
    hostname()
      .replace(/[^A-Za-z0-9.-]/g, "-")
      .slice(0, 63) || "host";
  const config = readConfig({
    flags: settings,
    env: { WOLF_ID: wolfId, ...env, WOLFPACK_SESSION_ID: undefined },
  });
  const key = lookAtKey(config);
  // A file that is missing is no wrong setting where the key is there already.
  if (key.credential === undefined && config.tokenMissing !== undefined && config.tokenGiven)
    throw config.tokenMissing;
  const native = [
    keyCheck({ key, timeoutMs: CHECK_TIMEOUT_MS, wallClock: Date.now }),
    ...networkChecks({
      config,
      key,
      version,
      timeoutMs: CHECK_TIMEOUT_MS,
      lookup: (host) => lookup(host, { all: true }),
      wallClock: Date.now,
    }),
    ...tunnelChecks({
      config,
      key,
      version,
      quick,
      timeoutMs: CHECK_TIMEOUT_MS,
      echoTimeoutMs: ECHO_TIMEOUT_MS,
      idleMs: IDLE_MS,
      idleFatalMs: IDLE_FATAL_MS,
      now: () => performance.now(),
    }),
    ...hostChecks({
      config,
      timeoutMs: CHECK_TIMEOUT_MS,
      detectGpu: () => gpuTypeOf(readCards(config.gpuFolder).map(({ gpu }) => gpu)),
      dri: "/dev/dri",
    }),
  ];
  const theirs = config.protocol === "helix" ? checksForHelix(native, config, CHECK_TIMEOUT_MS) : native;
  const checks = theirs.sort((a, b) => (a.code < b.code ? -1 : 1));
  const results = await runChecks(checks, {
    signal,
    now: () => performance.now(),
    clean: (text) => cleanText(text, [config.token, config.joinToken]),
    onResult: (result) => json || print(`${resultText(result)}\n`),
  });
  const policy = effectivePolicy(config.policy);
  const interrupted = signal.aborted;
  if (json) {
    const about = { agentVersion: version, controlPlane: config.apiUrl.origin, policy, interrupted };
    print(`${resultJson(results, about)}\n`);
  } else print(`${policyText(policy)}\n${summaryText(results, interrupted)}\n`);
  if (signal.aborted) return 130;
  return results.some(({ status }) => status === "failed") ? 1 : 0;
}

/** A detail, safe to print and not too long. */
export function cleanText(text: string, tokens: readonly string[]): string {
  return printableWithout(tokens, text).slice(0, DETAIL_CHARACTERS_MAX);
}
