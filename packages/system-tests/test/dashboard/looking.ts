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
