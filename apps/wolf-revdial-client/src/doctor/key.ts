/** The key of this host: its file, and whether the control plane takes it, shown by a tunnel of the doctor's own. */
import path from "node:path";
import { dialTunnel, RevdialError } from "revdial";
import { type AgentConfig, ConfigError } from "../config.ts";
import { RegistrationFailed } from "../control-plane.ts";
import { type Credential, createCredential } from "../identity/credential.ts";
import { isJoinToken } from "../identity/join-token.ts";
import { hostMark, KEY_FILE } from "../identity/key-file.ts";
import { clockSentence } from "../identity/refusal.ts";
import { renewalTimes } from "../identity/renewal.ts";
import { inventoryOf } from "../inventory/static.ts";
import { createLogger } from "../logger.ts";
import { problemOf, sentence } from "../sentence.ts";
import { type Check, type Finding, failed, ok, skipped, warning } from "./run.ts";

export interface DoctorKey {
  file: string;
  /** With the key of this host; undefined where there is none. */
  credential: Credential | undefined;
  /** Why the key file cannot be used. */
  problem: string | undefined;
}

export function lookAtKey(config: AgentConfig): DoctorKey {
  const folder = path.join(config.stateDir.path, config.wolfId);
  const file = path.join(folder, KEY_FILE);
  try {
    const credential = createCredential({
      config,
      inventory: inventoryOf(config, ""),
      place: { folder, controlPlane: config.apiUrl.origin, wolfName: config.wolfId, host: hostMark() },
      log: createLogger("silent"),
      wallClock: Date.now,
    });
    return { file, credential: credential.keyed ? credential : undefined, problem: undefined };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { file, credential: undefined, problem: error.message };
  }
}

export function keyCheck(options: { key: DoctorKey; timeoutMs: number; wallClock: () => number }): Check {
  const { key, timeoutMs, wallClock } = options;
  return { code: "D20", timeoutMs, run: async () => fileFinding(key, wallClock()) };
}

function fileFinding({ file, credential, problem }: DoctorKey, nowMs: number): Finding {
  if (problem !== undefined) return failed(problem);
  const enrolled = credential?.enrolled;
  if (enrolled === undefined) return skipped(`there is no key at ${file}: this host has not enrolled`);
  const { id, expires_at } = enrolled;
  if (Date.parse(expires_at) <= nowMs) return failed(`the key ${id} has ended at ${expires_at}`);
  const text = `${id}, good until ${expires_at}`;
  return nowMs < renewalTimes(enrolled).warnMs
    ? ok(text)
    : warning(`${text}: it should have been renewed, does the agent run?`);
}

type Config = Pick<
  AgentConfig,
  "apiUrl" | "token" | "joinToken" | "ca" | "insecure" | "transport" | "wolfId"
>;

/** Undefined: this host can open a tunnel, by its key or the runner token. */
export function noTunnelYet({ token }: Pick<Config, "token">, { credential }: DoctorKey): string | undefined {
  return credential === undefined && token === "" ? "this host has not enrolled yet" : undefined;
}

/** What stands in `Authorization` of one try. */
export async function tunnelHeaders(
  { token }: Pick<Config, "token">,
  { credential }: DoctorKey,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (credential === undefined) return { authorization: `Bearer ${token}` };
  return credential.forDial(signal, "diagnose").headers();
}

export function tunnelUrl({ apiUrl, wolfId }: Pick<Config, "apiUrl" | "wolfId">): URL {
  const url = new URL("/api/v1/revdial", apiUrl);
  url.searchParams.set("runnerid", `doctor-${wolfId}`);
  return url;
}

/** D10 of a host with a key, or with a join token; undefined: it has a runner token, or nothing. */
export async function credentialFinding(
  config: Config,
  key: DoctorKey,
  { timeoutMs, signal, nowMs }: { timeoutMs: number; signal: AbortSignal; nowMs: number },
): Promise<Finding | undefined> {
  if (key.problem !== undefined) return failed("the key file cannot be used (D20)");
  if (key.credential !== undefined) return shown(config, key, { timeoutMs, signal, nowMs });
  if (config.joinToken === "") return undefined;
  return isJoinToken(config.joinToken)
    ? ok("a join token, whose checksum is right: it is used when this host enrols")
    : failed("this is no join token: its form or its checksum is wrong");
}

async function shown(
  config: Config,
  key: DoctorKey,
  { timeoutMs, signal, nowMs }: { timeoutMs: number; signal: AbortSignal; nowMs: number },
): Promise<Finding> {
  const url = tunnelUrl(config);
  url.protocol = config.apiUrl.protocol === "https:" ? "wss:" : "ws:";
  try {
    const tunnel = await dialTunnel(url, {
      headers: () => tunnelHeaders(config, key, signal),
      insecure: config.insecure,
      ...(config.ca === undefined ? {} : { ca: config.ca }),
      transport: config.transport,
      // Both ways within the time of the check.
      handshakeTimeoutMs: Math.max(1, Math.floor(timeoutMs * 0.8)),
      upgradeTimeoutMs: Math.max(1, Math.floor(timeoutMs * 0.4)),
      signal,
    });
    tunnel.destroy();
    return ok(`the key ${key.credential?.enrolled?.id} is accepted`);
  } catch (error) {
    const skew = clockSentence(error, nowMs);
    if (skew !== undefined) return failed(skew);
    const status =
      error instanceof RevdialError || error instanceof RegistrationFailed ? error.status : undefined;
    const code = error instanceof RegistrationFailed ? error.code : problemOf(error)?.code;
    if (status === 401 || status === 403)
      return failed(`the key is refused (${code ?? `status ${status}`}): ${sentence(error)}`);
    // The way is the matter of other checks.
    return warning(`whether the key is accepted is not known: ${sentence(error)}`);
  }
}
