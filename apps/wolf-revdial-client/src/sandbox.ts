/** The configuration of an agent inside a sandbox, which serves the screen of its own session and nothing of a Wolf. */
import { SessionId } from "@wolfpack/api-contract";
import type { SettingName } from "./settings.ts";

/** Settings of a host with a Wolf; without meaning inside a sandbox. */
export const wolfSettings = [
  "wolfId",
  "local",
  "policyFile",
  "gpuType",
  "gpuFolder",
  "maxSandboxes",
  "encoderSessionsMax",
  "region",
  "label",
  "costPerHour",
  "address",
  "disk",
  "diskWarningPercent",
  "diskCriticalPercent",
  "diskFreeMinGib",
  "connections",
] as const satisfies readonly SettingName[];

interface Given {
  /** By flag or variable, not by default. */
  isGiven: (name: SettingName) => boolean;
  wrong: (name: SettingName, why: string) => Error;
}

/** The session of this sandbox; undefined beside a Wolf. Throws what is wrong with it or with what else was given. */
export function checkSession(text: string | undefined, { isGiven, wrong }: Given): string | undefined {
  if (text === undefined) return undefined;
  if (!SessionId.safeParse(text).success)
    throw wrong("sessionId", "has to be a session's id, such as ses_01KB…");
  const foreign = wolfSettings.find(isGiven);
  if (foreign !== undefined)
    throw wrong(foreign, "describes a host with a Wolf: leave it out together with --session-id");
  if (!isGiven("service")) throw wrong("service", "is missing: a sandbox serves screen=<target>");
  return text;
}
