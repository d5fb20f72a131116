/** A state in a word, with a mark whose shape says the same as its colour. */
import type { ReactNode } from "react";
import "./badge.css";

export type Tone = "ok" | "info" | "warning" | "danger" | "neutral";

export function Badge({ tone, children, title }: { tone: Tone; children: ReactNode; title?: string }) {
  return (
    <span className={`badge badge-${tone}`} title={title}>
      <Mark tone={tone} />
      <span className="clip">{children}</span>
    </span>
  );
}

/** The mark alone; whoever uses it says in words what it means. */
export function Mark({ tone }: { tone: Tone }) {
  return (
    <svg aria-hidden="true" className={`mark mark-${tone}`} width="10" height="10" viewBox="0 0 10 10">
      {shapes[tone]}
    </svg>
  );
}

const shapes: Record<Tone, ReactNode> = {
  ok: <circle cx="5" cy="5" r="4" />,
  info: <circle cx="5" cy="5" r="3" fill="none" strokeWidth="2.2" />,
  warning: <path d="M5 1l4.5 8h-9z" />,
  danger: <rect x="1" y="1" width="8" height="8" rx="1" />,
  neutral: <path d="M1.500 5h7" fill="none" strokeWidth="2.2" strokeLinecap="round" />,
};

const tones: Record<string, Tone> = {
  online: "ok",
  connected: "ok",
  ok: "ok",
  active: "ok",
  running: "ok",
  allowed: "ok",
  placed: "info",
  starting: "info",
  queued: "info",
  pending: "info",
  degraded: "warning",
  suspect: "warning",
  warning: "warning",
  cordoned: "warning",
  draining: "warning",
  stopping: "warning",
  maintenance: "neutral",
  retired: "neutral",
  stopped: "neutral",
  skipped: "neutral",
  revoked: "neutral",
  offline: "danger",
  lost: "danger",
  failed: "danger",
  denied: "danger",
};

/** Of a status, an axis or a result of the API, by its word. */
export const toneOf = (word: string): Tone => tones[word] ?? "neutral";
