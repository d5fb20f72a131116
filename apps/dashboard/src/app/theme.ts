/** Dark or light: as chosen here, else as the system says. public/theme.js does the same before the first paint. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

const KEY = "wolfpack-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

function stored(): Theme {
  try {
    const text = localStorage.getItem(KEY);
    return text === "dark" || text === "light" ? text : "system";
  } catch {
    return "system";
  }
}

const isDark = (theme: Theme): boolean => theme === "dark" || (theme === "system" && system.matches);
const apply = () => {
  document.documentElement.dataset.theme = isDark(stored()) ? "dark" : "light";
  for (const listener of listeners) listener();
};
system.addEventListener("change", apply);

export function choose(theme: Theme): void {
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // It cannot be kept; it holds for this page.
    document.documentElement.dataset.theme = isDark(theme) ? "dark" : "light";
    return;
  }
  apply();
}

/** What is shown now. */
export function useDark(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => document.documentElement.dataset.theme === "dark",
  );
}
