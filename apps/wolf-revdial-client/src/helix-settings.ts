/** What does not go together with `--protocol helix`: a Helix control plane knows neither keys nor anything but WebSockets. */
import { describeSetting, type SettingName } from "./settings.ts";

interface Given {
  /** By flag or variable, not by default. */
  isGiven: (name: SettingName) => boolean;
  /** By flag. */
  isFlag: (name: SettingName) => boolean;
  wrong: (name: SettingName, why: string) => Error;
  transport: string;
}

/** What such a control plane never hears of, or never asks for. */
const meaningless: readonly SettingName[] = [
  "service",
  "label",
  "region",
  "costPerHour",
  "address",
  "maxSandboxes",
  "encoderSessionsMax",
  "gpuType",
  "disk",
  "stateDir",
  "connections",
];

/** Throws what is wrong with what was given besides; returns a warning about what changes nothing. */
export function checkHelixSettings({ isGiven, isFlag, wrong, transport }: Given): string[] {
  const helix = `${describeSetting("protocol")} helix`;
  if (isGiven("sessionId"))
    throw wrong("sessionId", `does not go together with ${helix}: screens are not served there`);
  // By variable it is left alone: the units and images that are shipped always set it, also for hosts whose key is older.
  if (isFlag("joinTokenFile"))
    throw wrong(
      "joinTokenFile",
      `does not go together with ${helix}: there are no keys to enrol there, give the RUNNER_TOKEN`,
    );
  if (transport === "http")
    throw wrong("transport", `http does not go together with ${helix}, which has WebSockets only`);
  const flags = meaningless.filter(isFlag).map(describeSetting);
  return flags.length === 0 ? [] : [`${flags.join(", ")}: nothing of it reaches a Helix control plane`];
}
