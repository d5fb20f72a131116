/** Colours, on terminals that want them. A tone says what is meant; how it looks is decided here. */

export type Tone = "good" | "warn" | "bad" | "faint" | "strong" | "none";
/** No tone: what a newer control plane says has none here. */
export type Paint = (tone: Tone | undefined, text: string) => string;

const codes: Record<Exclude<Tone, "none">, [number, number]> = {
  good: [32, 39],
  warn: [33, 39],
  bad: [31, 39],
  faint: [2, 22],
  strong: [1, 22],
};

export const noPaint: Paint = (_tone, text) => text;
const ansi: Paint = (tone, text) => {
  if (tone === undefined || tone === "none" || text === "") return text;
  const [on, off] = codes[tone];
  return `\x1b[${on}m${text}\x1b[${off}m`;
};

/** NO_COLOR with any value says no (no-color.org), and so does a terminal that is dumb. */
export function paintFor(isTTY: boolean, env: Readonly<Record<string, string | undefined>>): Paint {
  return isTTY && !env.NO_COLOR && env.TERM !== "dumb" ? ansi : noPaint;
}
