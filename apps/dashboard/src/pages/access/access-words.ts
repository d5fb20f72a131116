/** What is said of users, keys and tokens, as functions of values. */
import type { AgentKey, ApiKey, JoinToken, Role, Scope } from "@wolfpack/api-contract";
import type { Tone } from "../../ui/badge.tsx";

export interface State {
  word: string;
  tone: Tone;
  /** Whether it still opens something, so that it can be taken back. */
  alive: boolean;
}

const revoked: State = { word: "Revoked", tone: "neutral", alive: false };
const expired: State = { word: "Expired", tone: "neutral", alive: false };
const isOver = (at: string | null, nowMs: number) => at !== null && Date.parse(at) <= nowMs;

export function apiKeyState(
  { revoked_at, expires_at }: Pick<ApiKey, "revoked_at" | "expires_at">,
  nowMs: number,
): State {
  if (revoked_at !== null) return revoked;
  return isOver(expires_at, nowMs) ? expired : { word: "Valid", tone: "ok", alive: true };
}

export function joinTokenState(
  token: Pick<JoinToken, "revoked_at" | "expires_at" | "uses" | "uses_max">,
  nowMs: number,
): State {
  if (token.revoked_at !== null) return revoked;
  if (token.uses >= token.uses_max) return { word: "Used up", tone: "neutral", alive: false };
  return isOver(token.expires_at, nowMs) ? expired : { word: "Open", tone: "ok", alive: true };
}

export function agentKeyState(
  { status, expires_at }: Pick<AgentKey, "status" | "expires_at">,
  nowMs: number,
): State {
  if (status === "revoked") return revoked;
  if (status === "pending") return { word: "Waits", tone: "warning", alive: true };
  return isOver(expires_at, nowMs) ? expired : { word: "Active", tone: "ok", alive: true };
}

export const roleWords: Readonly<Record<Role, string>> = {
  admin: "Everything, with users, all keys and the audit log",
  operator: "The fleet: sees and stops every session, but does not look at the screens of others",
  user: "Sessions of their own",
  viewer: "Looks at the fleet and at the list of sessions, changes nothing",
};
export const roleNames = Object.keys(roleWords) as Role[];

export const scopeWords: Readonly<Record<Scope, string>> = {
  read: "Look",
  sessions: "Use and change sessions",
  fleet: "Change wolves",
  identity: "Users, keys, tokens and the audit log",
};
export const scopeNames = Object.keys(scopeWords) as Scope[];

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Pairs of seconds and words. */
export const keyLives = [
  ["", "Never"],
  [String(DAY), "In a day"],
  [String(30 * DAY), "In 30 days"],
  [String(90 * DAY), "In 90 days"],
  [String(365 * DAY), "In a year"],
] as const;
export const tokenLives = [
  [String(15 * MINUTE), "In 15 minutes"],
  [String(HOUR), "In an hour"],
  [String(DAY), "In a day"],
  [String(7 * DAY), "In a week"],
  [String(30 * DAY), "In 30 days"],
] as const;

const wolfName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** Undefined where a wolf may be called so. */
export function wolfNameError(name: string): string | undefined {
  if (!wolfName.test(name)) return "1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit";
  return /^wlf_[0-9A-HJKMNP-TV-Z]{26}$/.test(name) ? "This looks like a wolf's id" : undefined;
}

export const LABELS_MAX = 32;
const labelName = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/;
const LABEL_CHARACTERS_MAX = 255;

/** `zone=eu-1a, tier=gold`, also on lines of their own. */
export function parseLabels(text: string): { labels: Record<string, string> } | { error: string } {
  const labels: Record<string, string> = {};
  const parts = text.split(/[\n,]/).map((part) => part.trim());
  for (const part of parts.filter(Boolean)) {
    const equals = part.indexOf("=");
    const name = part.slice(0, equals).trim();
    if (equals < 1 || !labelName.test(name)) return { error: `“${part.slice(0, 40)}” is not name=value` };
    if (Object.hasOwn(labels, name)) return { error: `“${name}” is named twice` };
    const value = part.slice(equals + 1).trim();
    if (value.length > LABEL_CHARACTERS_MAX) return { error: `“${name}” has more than 255 characters` };
    labels[name] = value;
  }
  if (Object.keys(labels).length > LABELS_MAX) return { error: `More than ${LABELS_MAX} labels` };
  return { labels };
}

/** A whole number of a field; undefined where it is none of the range. */
export function wholeNumber(text: string, min: number, max: number): number | undefined {
  if (!/^[0-9]{1,9}$/.test(text.trim())) return undefined;
  const number = Number(text);
  return number >= min && number <= max ? number : undefined;
}
