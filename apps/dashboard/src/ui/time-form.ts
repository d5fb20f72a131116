/** How moments are shown: as how long ago, or exactly, for those who cannot hover; as chosen here. */
import { useSyncExternalStore } from "react";

const KEY = "wolfpack-times";
const listeners = new Set<() => void>();
let exact = stored();

function stored(): boolean {
  try {
    return localStorage.getItem(KEY) === "exact";
  } catch {
    return false;
  }
}

export function chooseExact(wanted: boolean): void {
  exact = wanted;
  try {
    if (wanted) localStorage.setItem(KEY, "exact");
    else localStorage.removeItem(KEY);
  } catch {
    // It cannot be kept; it holds for this page.
  }
  for (const listener of listeners) listener();
}

export function useExact(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => exact,
  );
}
