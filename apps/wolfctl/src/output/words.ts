/** Times, sizes and counts as people say them. */

/** `3 s`, `12 min`, `5 h`, `8 d`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** To the second, in UTC. */
export function moment(iso: string): string {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : at.toISOString().replace(/\.\d+Z$/, "Z");
}

/** `11-26 21:29:04`, in UTC; as a whole where there is room. */
export const brief = (iso: string, width: number | undefined): string =>
  width === undefined ? moment(iso) : moment(iso).slice(5, 19).replace("T", " ");

/** `2026-11-26T21:29:04Z (3 min ago)`, or `(in 4 h)`. */
export function momentAnd(iso: string | null | undefined, nowMs: number): string | undefined {
  if (iso === null || iso === undefined) return undefined;
  const distance = nowMs - Date.parse(iso);
  if (Number.isNaN(distance)) return iso;
  const words = distance >= 0 ? `${duration(distance)} ago` : `in ${duration(-distance)}`;
  return `${moment(iso)} (${words})`;
}

export const age = (iso: string | null | undefined, nowMs: number): string =>
  iso === null || iso === undefined ? "–" : duration(nowMs - Date.parse(iso));

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
export function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || Math.abs(value) >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const count = (many: number, one: string, more = `${one}s`): string =>
  `${many} ${many === 1 ? one : more}`;

export const milliseconds = (ms: number | null | undefined): string =>
  ms === null || ms === undefined ? "–" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** A part of a whole as ten signs. */
export function bar(share: number, signs = 10): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * signs);
  return "█".repeat(full) + "░".repeat(signs - full);
}

const steps = "▁▂▃▄▅▆▇█";
/** How a share (0 to 1) went, oldest first; the newest `signs` of as many means. */
export function sparkline(shares: readonly number[], signs: number): string {
  const per = Math.max(1, Math.ceil(shares.length / signs));
  const means: number[] = [];
  for (let end = shares.length; end > 0; end -= per) {
    const group = shares.slice(Math.max(0, end - per), end);
    means.unshift(group.reduce((sum, one) => sum + one, 0) / group.length);
  }
  return means.map((one) => steps[Math.min(7, Math.max(0, Math.floor(one * 8)))]).join("");
}

export const labelsText = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
