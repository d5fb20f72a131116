/** Settings as options of a command; its help names their variables. */
import { type Command, Option } from "commander";
import { type Setting, type SettingName, settings } from "../settings.ts";
import { isSwitch } from "../spelling.ts";

export function addSettings(command: Command, names: readonly SettingName[]): Command {
  for (const name of names) {
    const setting: Setting = settings[name];
    const fallback = setting.default === undefined ? "" : `; default ${setting.default}`;
    const option = new Option(setting.flag, `${setting.meaning} (${setting.env.join(", ")}${fallback})`);
    if (setting.repeatable)
      option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
    command.addOption(option);
    // Against a variable that says yes.
    if (isSwitch(name)) command.addOption(new Option(`--no-${setting.flag.slice(2)}`).hideHelp());
  }
  return command;
}
