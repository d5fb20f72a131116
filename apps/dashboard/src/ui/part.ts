/** Parts of a page that are loaded when they are first shown. After an upgrade those of the page before are gone. */
import { type ComponentType, lazy } from "react";

/** A part that could not be loaded: only loading the page anew helps. */
export class PartMissing extends Error {
  override readonly name = "PartMissing";
}

const RELOADED = "wolfpack.reloaded-at";
/** A page that still lacks a part after it was loaded anew says so instead of beginning again. */
const RELOAD_MS_MIN = 60_000;

/** What browsers say, by their kind, where a module does not come. */
const missing = /dynamically imported module|importing a module script failed/i;
export const isPartMissing = (error: unknown): boolean =>
  error instanceof PartMissing || (error instanceof Error && missing.test(error.message));

/** Loads the page anew where a part is gone, once; rejects with a PartMissing where that did not help or nothing answers. */
export async function importOrReload<Module>(load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    if ((await answers()) && mayReload()) {
      location.reload();
      // Nothing is shown of what goes away.
      return new Promise<never>(() => undefined);
    }
    throw new PartMissing("A part of this page could not be loaded.", { cause });
  }
}

/** `const Tab = lazyPart(() => import("./tab.tsx"))`, of the module's default export. */
export const lazyPart = <Props>(load: () => Promise<{ default: ComponentType<Props> }>) =>
  lazy(() => importOrReload(load));

/** A page that is reloaded while nothing answers would be lost altogether. */
async function answers(): Promise<boolean> {
  try {
    return (await fetch("/", { method: "GET", cache: "no-store", credentials: "same-origin" })).ok;
  } catch {
    return false;
  }
}

function mayReload(): boolean {
  try {
    const before = Number(sessionStorage.getItem(RELOADED) ?? 0);
    if (Date.now() - before < RELOAD_MS_MIN) return false;
    sessionStorage.setItem(RELOADED, String(Date.now()));
    return true;
  } catch {
    // Without a memory it might never end.
    return false;
  }
}
