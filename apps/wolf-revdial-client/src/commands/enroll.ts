/** `enroll`: makes this host's key, has it enrolled, and ends. `connect` does the same by itself where it is given a token. */
import { Command } from "commander";
import { CredentialRefused } from "../agent.ts";
import { type Clock, pause, systemClock } from "../clock.ts";
import { type AgentConfig, ConfigError, readConfig } from "../config.ts";
import { RegistrationFailed } from "../control-plane.ts";
import { ownFolder, StateFolderUnusable } from "../host-state.ts";
import { createCredential, EnrolmentPending } from "../identity/credential.ts";
import { hostMark, type KeyFilePlace, keyFileToReplace } from "../identity/key-file.ts";
import { clockSentence, enrolmentAdvice, isRefusedKey } from "../identity/refusal.ts";
import { inventoryOf } from "../inventory/static.ts";
import { createLogger } from "../logger.ts";
import { printableWithout } from "../printable.ts";
import { sentence } from "../sentence.ts";
import { describeSetting, type Flags, type SettingName } from "../settings.ts";
import { addSettings } from "./settings-options.ts";

const names = [
  "apiUrl",
  "wolfId",
  "joinTokenFile",
  "tokenFile",
  "stateDir",
  "gpuType",
  "gpuFolder",
  "maxSandboxes",
  "encoderSessionsMax",
  "region",
  "label",
  "costPerHour",
  "address",
  "caFile",
  "insecure",
  "reconnect",
] as const satisfies readonly SettingName[];
export interface EnrollEdges {
  version: string;
  env: NodeJS.ProcessEnv;
  print: (text: string) => void;
  warn: (text: string) => void;
}

/** It was interrupted while the key waited for approval; everything is said already. */
export class EnrollInterrupted extends Error {
  override readonly name = "EnrollInterrupted";
}

export function enrollCommand(edges: EnrollEdges): Command {
  const command = new Command("enroll").description(
    "Make this host's key and enrol it, once, with a join token; then connect needs no token",
  );
  return addSettings(command, names).action(async (flags: Flags) => {
    const stop = new AbortController();
    const onSignal = () => stop.abort();
    process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
    const config = readConfig({ flags, env: { ...edges.env, WOLFPACK_SESSION_ID: undefined } });
    await enroll(config, edges, systemClock, stop.signal);
  });
}

async function enroll(
  config: AgentConfig,
  { version, print, warn }: EnrollEdges,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (config.protocol === "helix")
    throw new ConfigError(`${describeSetting("protocol")} is helix: there are no keys to enrol there.`);
  for (const warning of config.warnings) warn(`warning: ${warning}`);
  if (config.tokenMissing !== undefined) throw config.tokenMissing;
  const place = placeOf(config);
  const credential = createCredential({
    config,
    inventory: inventoryOf(config, version),
    place,
    log: createLogger("silent"),
    wallClock: Date.now,
    found: keyFileToReplace(place),
  });
  let waiting: string | undefined;
  for (;;) {
    try {
      await credential.enrol(signal);
      break;
    } catch (error) {
      if (signal.aborted) throw new EnrollInterrupted();
      if (!(error instanceof EnrolmentPending)) throw refusalOf(error, config);
      if (waiting !== error.keyId) warn(`${error.message}. Waits.`);
      waiting = error.keyId;
    }
    await pause(config.reconnectMaxMs / 2, clock, signal);
    if (signal.aborted) throw new EnrollInterrupted();
  }
  const { enrolled, wolfId } = credential;
  print(
    `This host is ${config.wolfId} (${wolfId}) at ${config.apiUrl.origin}.\nIts key ${enrolled?.id} is in ${place.folder} and good until ${enrolled?.expires_at}; the agent renews it.\nStart the agent: wolf-revdial-client connect, with the same --api-url, --wolf-id and --state-dir. It needs no token.\n`,
  );
}

function placeOf({ stateDir, wolfId, apiUrl }: AgentConfig): KeyFilePlace {
  try {
    const folder = ownFolder(stateDir.path, wolfId);
    return { folder, controlPlane: apiUrl.origin, wolfName: wolfId, host: hostMark() };
  } catch (cause) {
    if (!(cause instanceof StateFolderUnusable)) throw cause;
    throw new ConfigError(`${describeSetting("stateDir")}: ${cause.message}.`, { cause });
  }
}

function refusalOf(error: unknown, config: AgentConfig): unknown {
  if (!(error instanceof RegistrationFailed)) return error;
  const secrets = [config.token, config.joinToken];
  const what = printableWithout(secrets, clockSentence(error, Date.now()) ?? sentence(error));
  const { status } = error;
  return status === 401 || status === 403 || isRefusedKey(error)
    ? new CredentialRefused(`${what}\n${enrolmentAdvice(config, error)}`, { cause: error })
    : new Error(`not enrolled: ${what}`, { cause: error });
}
