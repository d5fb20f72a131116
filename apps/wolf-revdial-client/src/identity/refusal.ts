/** What a refusal means for the agent, and what whoever reads of it can do. */
import { clockWords } from "@wolfpack/api-contract";
import { RevdialError } from "revdial";
import type { AgentConfig } from "../config.ts";
import { RegistrationFailed } from "../control-plane.ts";
import type { Ending } from "../life.ts";
import { problemOf } from "../sentence.ts";
import { type Credential, EnrolmentPending } from "./credential.ts";
import { isJoinToken } from "./join-token.ts";
import { howToEnrol } from "./key-file.ts";

export function endingOf(error: unknown, credential: Pick<Credential, "refused">): Ending {
  if (error instanceof EnrolmentPending) return { kind: "pending" };
  if (!(error instanceof RegistrationFailed || error instanceof RevdialError)) return { kind: "lost" };
  const { status, retryAfterMs } = error;
  const code = error instanceof RevdialError ? problemOf(error)?.code : error.code;
  if (code === "session-not-found") return { kind: "session", retryAfterMs };
  // The key may be good: another challenge, or a clock that is set, is all it needs.
  if (code === "proof-refused" || code === "clock-skew") return { kind: "lost", retryAfterMs };
  // Who refuses a key that waits does not want to be asked again with the next one.
  if (isRefusedKey(error)) return { kind: "credential", retryAfterMs };
  if (status !== 401 && status !== 403) return { kind: "lost", retryAfterMs };
  const again = error instanceof RevdialError && credential.refused(code);
  return { kind: again ? "lost" : "credential", retryAfterMs };
}

/** An admin has revoked the key that was to be enrolled. */
export function isRefusedKey(error: unknown): boolean {
  return error instanceof RegistrationFailed && error.code === "agent-key-revoked";
}

/** Both times and how far they are apart, where the control plane says that it is too much. */
export function clockSentence(error: unknown, nowMs: number): string | undefined {
  const { code, serverTime } =
    (error instanceof RegistrationFailed ? error : problemOf(error)) ?? ({} as Partial<RegistrationFailed>);
  if (code !== "clock-skew" || serverTime === undefined) return undefined;
  const here = new Date(nowMs).toISOString();
  const offsetMs = nowMs - Date.parse(serverTime);
  const words = Number.isNaN(offsetMs) ? "" : `, so this host's is ${clockWords(offsetMs)}`;
  return `the clocks differ too much: it is ${here} on this host and ${serverTime} at the control plane${words} (clock-skew); synchronise both by NTP`;
}

export function adviceOf(
  { kind }: Ending,
  config: AgentConfig,
  credential: Pick<Credential, "keyed" | "enrolled">,
  { error, nowMs }: { error: unknown; nowMs: number },
): string | undefined {
  if (kind !== "credential" && kind !== "session") return undefined;
  if (config.sessionId === undefined)
    return credential.keyed ? keyAdvice(credential, config.wolfId, nowMs) : enrolmentAdvice(config, error);
  const key = "that the token is an API key of the session's owner";
  return kind === "credential"
    ? `Check ${key}.`
    : `Check --session-id, and ${key}; a session that has ended does not come back.`;
}

export function enrolmentAdvice({ joinToken, wolfId }: AgentConfig, error: unknown): string {
  if (isRefusedKey(error))
    return `Ask an admin why this host is not to be ${wolfId}; started again, it asks with another key.`;
  if (joinToken === "") return "Check RUNNER_TOKEN or --token-file against the control plane's RUNNER_TOKEN.";
  return !isJoinToken(joinToken)
    ? "This is no whole join token (wjt_…): its checksum does not fit. Copy it once more."
    : `A join token is good for some time, for as many hosts as it was made for, and maybe for one name only: ask an admin for another one for ${wolfId}.`;
}

function keyAdvice({ enrolled }: Pick<Credential, "enrolled">, wolfName: string, nowMs: number): string {
  const ended =
    enrolled !== undefined && Date.parse(enrolled.expires_at) <= nowMs
      ? `The key of this host has ended at ${enrolled.expires_at}. `
      : "";
  return `${ended}${howToEnrol(wolfName)}`;
}
