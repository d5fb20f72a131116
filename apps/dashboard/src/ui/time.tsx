/** A moment, as how long ago it was; hovering says when exactly, and so does each of them once that is chosen. All share one clock. */
import { useSyncExternalStore } from "react";
import { serverNow } from "../api/client.ts";
import { absolute, clockTime, duration, relative } from "./text.ts";
import { useExact } from "./time-form.ts";

const TICK_MS = 1000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    for (const one of listeners) one();
  }, TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** A text that is made of now, and drawn again only when it differs. */
export function useTicking(textOf: (nowMs: number) => string): string {
  return useSyncExternalStore(subscribe, () => textOf(serverNow()));
}

interface TimeProps {
  /** ISO 8601, or null for never. */
  at: string | null | undefined;
  /** Instead of how long ago. */
  never?: string;
}

export function Time({ at, never = "never" }: TimeProps) {
  const atMs = at ? Date.parse(at) : Number.NaN;
  const exact = useExact();
  const text = useTicking((nowMs) => {
    if (Number.isNaN(atMs)) return "";
    return exact ? clockTime(atMs) : relative(atMs, nowMs);
  });
  if (Number.isNaN(atMs)) return <span className="muted">{never}</span>;
  return (
    <time
      className={exact ? "figures time-exact" : "figures"}
      dateTime={new Date(atMs).toISOString()}
      title={absolute(atMs)}
    >
      {text}
    </time>
  );
}

/** How long something has lasted: `since` → `12 min`. */
export function Lasting({ since }: { since: string }) {
  const sinceMs = Date.parse(since);
  const text = useTicking((nowMs) => duration(nowMs - sinceMs));
  return (
    <time className="figures" dateTime={since} title={absolute(sinceMs)}>
      {text}
    </time>
  );
}
