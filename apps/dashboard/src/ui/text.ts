/**
 * Words for screens, as functions of values. Whatever a host or a user has named is text and never markup: React sees to that;
 * what would still deceive the eye (control characters, overrides of the writing direction) is made visible here.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this makes visible
const deceiving = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const CHARACTERS_MAX = 300;

/** What JSON holds as text; never by a `toString` of its own. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** For every name, label, reason and detail that came from elsewhere. */
export function plain(text: unknown, charactersMax = CHARACTERS_MAX): string {
  const whole = textOf(text);
  const shown = whole.length > charactersMax ? `${whole.slice(0, charactersMax)}…` : whole;
  return shown.replaceAll(deceiving, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/** `wlf_01KB0…00WF`: enough to compare, short enough for a cell. */
export function shortId(id: string): string {
  const whole = plain(id, 80);
  return whole.length <= 16 ? whole : `${whole.slice(0, 9)}…${whole.slice(-4)}`;
}

const words = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined || !Number.isFinite(count)) return "–";
  let rest = count;
  let step = 0;
  while (rest >= 1024 && step < words.length - 1) {
    rest /= 1024;
    step += 1;
  }
  return `${step === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${words[step]}`;
}

export function millis(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms === 0) return "0 ms";
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function percent(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–";
}

export function count(number: number): string {
  return number.toLocaleString("en-US");
}

/** `1 wolf`, `3 wolves`. */
export function many(number: number, one: string, more = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : more}`;
}

const units: [string, number][] = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];
/** `45 s`, `12 min`, `3 h`, `5 d`: the largest unit, rounded down. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  for (const [unit, size] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return "0 s";
}

/** A limit of time, nothing of it rounded away: `10 min`, `90 s`, `1.5 s`. */
export function limitOf(ms: number | null | undefined): string {
  const fits = units.find(([, size]) => ms && ms % (size * 1000) === 0);
  return ms && fits ? `${ms / (fits[1] * 1000)} ${fits[0]}` : millis(ms);
}

/** `12 s ago`, `in 5 min`; within two seconds, `now`. */
export function relative(atMs: number, nowMs: number): string {
  const ms = nowMs - atMs;
  if (Math.abs(ms) < 2000) return "now";
  return ms > 0 ? `${duration(ms)} ago` : `in ${duration(-ms)}`;
}

/** `2026-11-26 22:35:02`, on this clock. */
export function clockTime(atMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return "";
  const two = (number: number) => String(number).padStart(2, "0");
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${date} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":")}`;
}

/** `2026-11-26 21:35:02 UTC`, and the same on this clock. */
export function absolute(atMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return "";
  const utc = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return `${at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })} (${utc})`;
}

/** Within a sentence, on this clock; without its year where that is the year of what the sentence is about. */
export function moment(value: unknown, about?: string): string {
  const at = new Date(typeof value === "string" ? value : "");
  if (Number.isNaN(at.getTime())) return "an unknown time";
  if (about === undefined || new Date(about).getFullYear() !== at.getFullYear())
    return at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return at.toLocaleString(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
}

/** `a user`, `an admin`, `an API key`. */
export const withArticle = (what: string): string => `${/^[aeioA]/.test(what) ? "an" : "a"} ${what}`;

/** `wolf-unreachable` → `Wolf unreachable`: a code that nobody has a better word for. */
export function sentence(code: string): string {
  const text = plain(code).replaceAll(/[-_.]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
