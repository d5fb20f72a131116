/** `npm run bench -- dashboard`: the fleet page of ten thousand wolves in a real browser. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import type { Browser, Page } from "playwright-core";
import { findBrowser, launchBrowser } from "../browser.ts";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

export interface DashboardResult {
  rounds: number;
  dashboard: {
    wolves: number;
    /** From the navigation until the first rows are painted. */
    firstRowsMs: number;
    /** Until every wolf is known, and the page has painted once more and is free. */
    interactiveMs: number;
    /** From before a change's statement until its row is painted; the median, and the slowest of all rounds. */
    paintMs: number;
    paintMsMax: number;
    /** Rows that exist. */
    rows: number;
  };
}

type Figures = DashboardResult["dashboard"];
interface Load {
  wolves: number;
  loads: number;
  changes: number;
}
const whole: Load = { wolves: 10_000, loads: 5, changes: 40 };
const short: Load = { wolves: 1000, loads: 1, changes: 4 };
/** Changes go through rows that are in sight. */
const ROWS_USED = 8;
const BETWEEN_MS = 150;
const INTERACTIVE_MS_MAX = 2000;
const PAINT_MS_MAX = 100;

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchDashboard(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<DashboardResult> {
  const chrome = findBrowser();
  if (chrome === undefined) throw new Error("There is no Chromium here: install it, or set CHROME_PATH.");
  const load = quick ? short : whole;
  const found: Figures[] = [];
  for (let at = 0; at < rounds; at += 1) found.push(await round(chrome, load, stopped));
  const middle = (of: (figures: Figures) => number) => median(found.map(of));
  return {
    rounds,
    dashboard: {
      wolves: load.wolves,
      firstRowsMs: middle(({ firstRowsMs }) => firstRowsMs),
      interactiveMs: middle(({ interactiveMs }) => interactiveMs),
      paintMs: middle(({ paintMs }) => paintMs),
      paintMsMax: Math.max(...found.map(({ paintMsMax }) => paintMsMax)),
      rows: middle(({ rows }) => rows),
    },
  };
}

async function round(chrome: string, load: Load, stopped: Promise<never>): Promise<Figures> {
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  const starting = startEmbeddedPostgres({ dataDir: path.join(folder, "postgres"), durable: true });
  let plane: BenchProcess | undefined;
  let browser: Browser | undefined;
  try {
    const { url } = await Promise.race([starting, stopped]);
    plane = await BenchProcess.start("control plane", "dashboard-plane");
    browser = await launchBrowser(chrome);
    const measured = measure(plane, browser, { url, dataDir: folder }, load);
    return await Promise.race([measured, stopped]);
  } finally {
    await browser?.close();
    await plane?.stop();
    await starting.then(
      (postgres) => postgres.stop(),
      () => undefined,
    );
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  plane: BenchProcess,
  browser: Browser,
  database: { url: string; dataDir: string },
  { wolves, loads, changes }: Load,
): Promise<Figures> {
  const { port, key } = await plane.call<{ port: number; key: string }>("open", { ...database, wolves });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.addInitScript(watching);
  await page.goto(`http://localhost:${port}/login`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  const words = `${wolves.toLocaleString("en-US")} wolves`;
  await page.locator(".page-head").getByText(words, { exact: true }).waitFor();
  const times: { first: number; all: number }[] = [];
  for (let at = 0; at < loads; at += 1) {
    await page.goto(`http://localhost:${port}/`);
    times.push(await page.evaluate<{ first: number; all: number }>("benchLoaded()"));
  }
  await page.locator(".sidebar").getByText("Live", { exact: true }).waitFor();
  const painted: number[] = [];
  for (let at = 0; at < changes; at += 1) painted.push(await paintOf(plane, page, at % ROWS_USED));
  return {
    wolves,
    firstRowsMs: median(times.map(({ first }) => first)),
    interactiveMs: median(times.map(({ all }) => all)),
    paintMs: median(painted),
    paintMsMax: Math.max(...painted),
    rows: await page.locator("tbody tr[data-index]").count(),
  };
}

/** A wolf is cordoned, seen, and taken back. */
async function paintOf(plane: BenchProcess, page: Page, at: number): Promise<number> {
  const seen = page.evaluate<number>("benchPainted()");
  await plane.call("change", { at, to: "cordoned" });
  const ms = await seen;
  await plane.call("change", { at, to: "active" });
  await pause(BETWEEN_MS);
  return ms;
}

/** In the page: text, since this side knows no documents. A frame has been painted when a task runs behind its callback. */
const watching = `
const frame = (then) => requestAnimationFrame(() => setTimeout(then));
const when = (holds) => new Promise((resolve) => {
  const look = () => {
    const found = holds();
    if (!found) return false;
    observer.disconnect();
    frame(() => resolve(found));
    return true;
  };
  const observer = new MutationObserver(look);
  observer.observe(document, { childList: true, subtree: true, characterData: true });
  look();
});
const first = when(() => document.querySelector("tbody tr[data-index]")).then(() => performance.now());
// While more of them are on their way, it says so.
const all = when(() => /^[\\d,]+ wolves$/.test(document.querySelector(".page-head .figures")?.textContent ?? ""))
  .then(() => performance.now());
globalThis.benchLoaded = async () => ({ first: await first, all: await all });
globalThis.benchPainted = () =>
  when(() => /\\d{13}\\.\\d{3}/.exec(document.querySelector("tbody")?.textContent ?? "")?.[0])
    .then((stamp) => performance.timeOrigin + performance.now() - Number(stamp));
`;

export function dashboardTable({ dashboard }: DashboardResult): string {
  const row = (name: string, figure: string, must = "", missed = false) =>
    `${name.padEnd(44)} ${figure.padStart(9)}${must === "" ? "" : `   must be ${must}${missed ? ": MISSED" : ""}`}`;
  const { wolves, firstRowsMs, interactiveMs, paintMs, paintMsMax, rows } = dashboard;
  return [
    row("wolves", wolves.toLocaleString("en")),
    row("rows that exist", String(rows)),
    row("ms until the first rows", firstRowsMs.toFixed(0)),
    row(
      "ms until interactive, all wolves known",
      interactiveMs.toFixed(0),
      "< 2000",
      !(interactiveMs < INTERACTIVE_MS_MAX),
    ),
    row("ms from a change to its paint, median", paintMs.toFixed(1), "< 100", !(paintMs < PAINT_MS_MAX)),
    row(
      "ms from a change to its paint, slowest",
      paintMsMax.toFixed(1),
      "< 100",
      !(paintMsMax < PAINT_MS_MAX),
    ),
    "",
  ].join("\n");
}
