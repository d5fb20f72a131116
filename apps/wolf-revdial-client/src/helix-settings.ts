/** What does not go together with `--protocol helix`: a Helix control plane knows neither keys nor anything but WebSockets. */
import { describeSetting, type SettingName } from "./settings.ts";

interface Given {
  /** By flag or variable, not by default. */
  isGiven: (name: SettingName) => boolean;
  wrong: (name: SettingName, why: string) => Error;
  transport: string;
  /** JOIN_TOKEN. */
  joinToken: string | undefined;
}

/** Throws what is wrong with what was given besides. */
export function checkHelixSettings({ isGiven, wrong, transport, joinToken }: Given): void {
  const helix = `${describeSetting("protocol")} helix`;
  if (isGiven("sessionId"))
    throw wrong("sessionId", `does not go together with ${helix}: screens are not served there`);
  if (isGiven("joinTokenFile") || joinToken)
    throw wrong(
      "joinTokenFile",
      `or JOIN_TOKEN does not go together with ${helix}: there are no keys to enrol there, give the RUNNER_TOKEN`,
    );
  if (transport === "http")
    throw wrong("transport", `http does not go together with ${helix}, which has WebSockets only`);
}
