/** Values of flags, read once and strictly. Each throws UsageError with the flag's name. */
import { UsageError } from "./errors.ts";

const unitSeconds = { s: 1, m: 60, min: 60, h: 3600, d: 86_400 } as const;

/** `90`, `90s`, `30m`, `8h`, `2d`: in seconds. */
export function seconds(flag: string, text: string): number {
  const [, digits, unit] = /^([0-9]{1,9})(s|m|min|h|d)?$/.exec(text.trim()) ?? [];
  if (digits === undefined) throw new UsageError(`${flag} is a time such as 90s, 30m, 8h or 2d.`);
  return Number(digits) * unitSeconds[(unit ?? "s") as keyof typeof unitSeconds];
}

export function whole(flag: string, text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new UsageError(`${flag} is a whole number.`);
  return Number(text);
}

/** `1920x1080`, or `1920x1080@60`. */
export function resolution(flag: string, text: string) {
  const [, width, height, rate] = /^([0-9]{3,5})x([0-9]{3,5})(?:@([0-9]{1,3}))?$/.exec(text) ?? [];
  if (width === undefined) throw new UsageError(`${flag} is a size such as 1920x1080 or 1920x1080@60.`);
  return { width: Number(width), height: Number(height), refresh_rate: Number(rate ?? 60) };
}

/** `name=value` of several flags. */
export function pairs(flag: string, texts: readonly string[]): Record<string, string> {
  const found = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf("=");
    const name = text.slice(0, at);
    if (at < 1) throw new UsageError(`${flag} is name=value.`);
    if (found.has(name)) throw new UsageError(`${flag} names ${name} twice.`);
    found.set(name, text.slice(at + 1));
  }
  return Object.fromEntries(found);
}

/** An instant, or how long ago: `2026-11-26T12:00:00Z`, `24h`. */
export function since(flag: string, text: string, nowMs: number): string {
  if (/^[0-9]+(s|m|min|h|d)$/.test(text)) return new Date(nowMs - seconds(flag, text) * 1000).toISOString();
  const at = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (Number.isNaN(at))
    throw new UsageError(
      `${flag} is a moment such as 2026-11-26T12:00:00Z or 2026-11-26, or an age such as 24h.`,
    );
  return new Date(at).toISOString();
}

/** For flags that may be given several times. */
export const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
