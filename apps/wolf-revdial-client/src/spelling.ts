/** Command lines as the original agent took them: Go's flag package has one dash or two, and values of switches. */
import { type SettingName, settingNames, settings } from "./settings.ts";

/** The original's own names; other settings have two dashes. */
const singleDash = new Set(["api-url", "wolf-id", "token", "local", "reconnect", "insecure"]);
const switches: ReadonlySet<string> = new Set(
  settingNames.filter(isSwitch).map((name) => settings[name].flag.slice(2)),
);
/** What Go's strconv.ParseBool takes. */
const booleans = new Map([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);

/** A setting without a value. */
export function isSwitch(name: SettingName): boolean {
  return !settings[name].flag.includes(" ");
}

/** `-api-url=x` and `-insecure=false` as `--api-url=x` and `--no-insecure`. What stands behind `--` stays. */
export function modernise(argv: readonly string[]): string[] {
  const end = argv.indexOf("--");
  return argv.map((argument, at) => (end >= 0 && at >= end ? argument : modern(argument)));
}

function modern(argument: string): string {
  const [, dashes, name = "", value] = /^(--?)([a-z][a-z-]*)(?:=(.*))?$/s.exec(argument) ?? [];
  if (dashes === undefined || (dashes === "-" && !singleDash.has(name))) return argument;
  if (value === undefined) return `--${name}`;
  const on = switches.has(name) ? booleans.get(value) : undefined;
  if (on === undefined) return `--${name}=${value}`;
  return on ? `--${name}` : `--no-${name}`;
}
