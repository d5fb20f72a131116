/// <reference lib="dom" />
/** What tests of pages look for. */
import type { Locator, Page } from "playwright-core";

/** A row of the table by the name that leads on from it. */
export const rowOf = (page: Page, name: string): Locator =>
  page.locator("tbody tr[data-index]", { has: page.locator(`.row-link:text-is(${JSON.stringify(name)})`) });

/** Resolves once the table shows exactly these rows in this order. */
export async function shows(page: Page, names: readonly string[]): Promise<void> {
  const list = () =>
    page.evaluate(() =>
      [...document.querySelectorAll("tbody tr[data-index] .row-link")].map((link) => link.textContent),
    );
  try {
    await page.waitForFunction(
      (wanted) =>
        JSON.stringify(
          [...document.querySelectorAll("tbody tr[data-index] .row-link")].map((link) => link.textContent),
        ) === wanted,
      JSON.stringify(names),
    );
  } catch (cause) {
    throw new Error(`the table shows ${JSON.stringify(await list())}, not ${JSON.stringify(names)}`, {
      cause,
    });
  }
}

/** Proof that a page was not loaded anew between two looks. */
export async function mark(page: Page): Promise<() => Promise<boolean>> {
  await page.evaluate(() => Object.assign(globalThis, { marked: true }));
  return () => page.evaluate(() => "marked" in globalThis);
}

interface Shift {
  value: number;
  what: string[];
}

/** From the next address on, the browser notes what moves by itself: of an element that is drawn elsewhere than before. */
export async function noteShifts(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const shifts: Shift[] = [];
    Object.assign(globalThis, { shifts });
    interface Entry extends PerformanceEntry {
      value: number;
      hadRecentInput: boolean;
      sources: { node: Node | null }[];
    }
    new PerformanceObserver((list) => {
      for (const { value, hadRecentInput, sources } of list.getEntries() as Entry[]) {
        const what = sources.map(({ node }) => (node instanceof Element ? node.outerHTML.slice(0, 80) : "?"));
        if (!hadRecentInput) shifts.push({ value, what });
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
}

/** More than this is seen as a jump; Chromium itself calls a fifth of a page good up to 0.1. */
const SHIFT_MAX = 0.02;

/** What has jumped since the page was loaded or this was asked before; nothing where it was too little to be seen. */
export function jumps(page: Page): Promise<Shift[]> {
  return page.evaluate(async (max) => {
    const { shifts } = globalThis as unknown as { shifts: Shift[] };
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    // A frame is noted once it has been drawn.
    for (let frames = 0; frames < 3; frames += 1) await frame();
    const found = shifts.splice(0);
    return found.reduce((sum, { value }) => sum + value, 0) < max ? [] : found;
  }, SHIFT_MAX);
}

/** Lines in the colours of this many series are drawn in the chart of this name: no empty sheet, and no axes alone. */
export async function drawsLines(page: Page, chart: RegExp, lines: number): Promise<void> {
  const canvas = page.getByRole("figure", { name: chart }).locator("canvas");
  await canvas.waitFor();
  await page.waitForFunction(
    ([sheet, series]) => {
      const { width, height } = sheet as HTMLCanvasElement;
      if (width * height === 0) return false;
      // A copy: Chromium warns of a sheet that is read again and again.
      const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      if (!pen) return false;
      pen.drawImage(sheet as HTMLCanvasElement, 0, 0);
      const { data } = pen.getImageData(0, 0, width, height);
      const style = getComputedStyle(document.documentElement);
      return Array.from({ length: series as number }, (_unused, at) => {
        const hex = Number.parseInt(
          style
            .getPropertyValue(`--series-${at + 1}`)
            .trim()
            .slice(1),
          16,
        );
        const wanted = [hex >> 16, (hex >> 8) & 255, hex & 255];
        let found = 0;
        for (let pixel = 0; pixel < data.length; pixel += 4)
          if (wanted.every((part, of) => Math.abs(part - (data[pixel + of] ?? 0)) < 24)) found += 1;
        return found;
      }).every((found) => found > 50);
    },
    [await canvas.elementHandle(), lines] as const,
  );
}

/** Its stream of events is open: what happens from now on is shown. */
export const isLive = (page: Page): Promise<void> =>
  page
    .locator(".sidebar, .topbar")
    .getByText("Live", { exact: true })
    .filter({ visible: true })
    .first()
    .waitFor();

/** A command of a dialog that asks first. */
export const confirm = (page: Page, verb: string): Promise<void> =>
  page.getByRole("alertdialog").getByRole("button", { name: verb, exact: true }).click();
