/// <reference lib="dom" />
/** A page whose stream of events breaks: it says so, goes on without it, and comes back by itself. */
import { describe, expect, it } from "@jest/globals";
import type { Page } from "playwright-core";
import { isLive, mark, rowOf } from "./looking.ts";
import type { Stage } from "./stage.ts";

/** Not the pages of events, which are asked for with other parameters. */
const STREAM = /\/api\/v1\/events(\?last_event_id=[^&]*)?$/;

/** As many lists are read for what lives. */
const LIVE_STATUSES = 6;

const says = (page: Page, word: string): Promise<void> =>
  page.locator(".sidebar").getByText(word, { exact: true }).waitFor();

/** From now on no stream of events opens, and the open one has broken; returns how to let them through. */
async function breakStream(page: Page): Promise<() => Promise<void>> {
  await page.route(STREAM, (route) => route.abort("aborted"));
  await page.evaluate(() => {
    const { streams } = globalThis as unknown as { streams: EventSource[] };
    streams.at(-1)?.dispatchEvent(new Event("error"));
  });
  return () => page.unroute(STREAM);
}

async function openWatched(the: Stage): Promise<Page> {
  const { page } = await the.open("admin", "/");
  await page.addInitScript(() => {
    const streams: EventSource[] = [];
    const Real = EventSource;
    class Watched extends Real {
      constructor(address: string | URL) {
        super(address);
        streams.push(this);
      }
    }
    Object.assign(globalThis, { streams, EventSource: Watched });
  });
  await page.reload();
  await isLive(page);
  return page;
}

export function describeReconnecting(the: () => Stage): void {
  describe("a stream of events that breaks", () => {
    it("is said, asked for every five seconds instead, and back with what happened, without loading the page", async () => {
      const page = await openWatched(the());
      await rowOf(page, "ams-amd-1").waitFor();
      const isSame = await mark(page);
      const letThrough = await breakStream(page);
      await says(page, "Every 5 s");
      const id = await the().wolfId("ams-amd-1");
      await the().api.cordonWolf({ params: { id }, body: {} });
      try {
        await letThrough();
        await says(page, "Live");
        await rowOf(page, "ams-amd-1")
          .getByText(/cordoned/i)
          .first()
          .waitFor();
        expect(await isSame()).toBe(true);
      } finally {
        await the().api.uncordonWolf({ params: { id }, body: {} });
      }
      await rowOf(page, "ams-amd-1")
        .getByText(/cordoned/i)
        .waitFor({ state: "detached" });
    });

    it("is offline where nothing answers at all, with a word above the page", async () => {
      const page = await openWatched(the());
      await page.route(/\/api\/v1\/fleet$/, (route) => route.abort("aborted"));
      const letThrough = await breakStream(page);
      await says(page, "Offline");
      await page.getByRole("alert").getByText("does not answer").waitFor();
      await letThrough();
      await says(page, "Live");
      await page.getByRole("alert").waitFor({ state: "detached" });
    });
  });

  describe("a list that is read while it changes", () => {
    it("has what events told before its pages came, though the pages do not", async () => {
      const { page } = await the().open("admin", "/");
      await isLive(page);
      const statuses = new Set<string | null>();
      const allHeld = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      await page.route(/\/api\/v1\/sessions\?/, async (route) => {
        const response = await route.fetch();
        statuses.add(new URL(route.request().url()).searchParams.get("status"));
        if (statuses.size === LIVE_STATUSES) allHeld.resolve();
        await release.promise;
        await route.fulfill({ response });
      });
      await page.getByRole("link", { name: "Sessions", exact: true }).click();
      await allHeld.promise;
      const runs = page.waitForResponse(async (answer) => {
        if (!/\/sessions\/ses_\w+$/.test(answer.url())) return false;
        return ((await answer.json()) as { status: string }).status === "running";
      });
      const { body } = await the().api.createSession({ body: { name: "made meanwhile", gpu_type: "amd" } });
      await runs;
      release.resolve();
      await rowOf(page, "made meanwhile").getByText("Running").waitFor();
      await the().api.stopSession({ params: { id: body.id } });
      await rowOf(page, "made meanwhile").waitFor({ state: "detached" });
    });
  });
}
