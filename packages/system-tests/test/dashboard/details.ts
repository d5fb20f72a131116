/// <reference lib="dom" />
/** What is easily lost between two designs: nothing jumps, what loads says so, every moment can be read, charts have lines. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import type { Page } from "playwright-core";
import { drawsLines, isLive, jumps, noteShifts, rowOf } from "./looking.ts";
import { phone, type Stage, seriousFindings, signIn } from "./stage.ts";

const MINUTE_MS = 60_000;
const GIB = 2 ** 30;

/** Times of the page whose words on hover are not those of the moment that they stand for, and how many times there are. */
const wrongTimes = (page: Page) =>
  page.evaluate(() => {
    const times = [...document.querySelectorAll("main time")] as HTMLTimeElement[];
    const wrong = times.filter(({ dateTime, title }) => {
      const at = new Date(dateTime);
      const utc = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      const here = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      return title !== `${here} (${utc})`;
    });
    return { times: times.length, wrong: wrong.map(({ outerHTML }) => outerHTML) };
  });

export function describeDetails(the: () => Stage): void {
  describe("details", () => {
    afterEach(() => the().tidy());

    describe("what happens while a page is shown", () => {
      // Not the list of events: new ones come on top of it, as long as nobody pauses it.
      it("moves nothing of it: a wolf that is cordoned, in the table, on the map and on its own page", async () => {
        const { page } = await the().open("admin", "/login");
        await noteShifts(page);
        const params = { id: await the().wolfId("ams-amd-1") };
        for (const [address, sign] of [
          ["/", (name: string) => rowOf(page, "ams-amd-1").getByText(name)],
          ["/topology", () => page.locator(".topology-held")],
          ["/wolves/ams-amd-1", (name: string) => page.locator(".page-head").getByText(name)],
        ] as const) {
          await page.goto(`${the().url}${address}`);
          await page.locator("tbody tr[data-index], [data-region] li, .wolf-cards").first().waitFor();
          await isLive(page);
          await page.locator(".skeleton").first().waitFor({ state: "detached" });
          await jumps(page);
          await the().api.cordonWolf({ params, body: { reason: `seen at ${address}` } });
          await sign(`seen at ${address}`).first().waitFor();
          expect({ address, jumps: await jumps(page) }).toEqual({ address, jumps: [] });
          await the().api.uncordonWolf({ params, body: {} });
        }
      });
    });

    describe("what loads", () => {
      it.each([
        ["/", /\/wolf-instances\?/, "tbody tr[data-index]"],
        ["/topology", /\/wolf-instances\?/, "[data-region]"],
        ["/health", /\/api\/v1\/health$/, ".health-check .badge"],
      ])(
        "is said on %s, keeps its room, and is nothing that axe finds serious",
        async (address, reads, sign) => {
          const { page } = await the().open("admin", "/login");
          await noteShifts(page);
          const release = Promise.withResolvers<void>();
          await page.route(reads, async (route) => {
            await release.promise;
            await route.continue();
          });
          await page.goto(`${the().url}${address}`);
          await page.locator("#main").getByRole("status", { name: "Loading" }).first().waitFor();
          expect(await page.locator(sign).count()).toBe(0);
          expect(await seriousFindings(page)).toEqual([]);
          release.resolve();
          await page.locator(sign).first().waitFor();
          await page.locator("#main .skeleton").first().waitFor({ state: "detached" });
          expect(await jumps(page)).toEqual([]);
        },
      );
    });

    describe("a moment", () => {
      it("says exactly when, on hover, wherever it is said how long ago", async () => {
        const { page } = await the().open("admin", "/login");
        for (const [address, sign] of [
          ["/", "tbody time"],
          ["/events", "tbody time"],
          ["/wolves/fra-nvidia-1", ".wolf-cards time"],
          ["/access", "tbody time"],
        ] as const) {
          await page.goto(`${the().url}${address}`);
          await page.locator(sign).first().waitFor();
          const { times, wrong } = await wrongTimes(page);
          expect({ address, any: times > 0, wrong }).toEqual({ address, any: true, wrong: [] });
        }
      });

      it("is shown exactly to those who have no pointer, by one switch that stays, on a phone as well", async () => {
        const { page } = await the().open("viewer", "/login", { size: phone, fresh: true });
        await page.getByLabel("API key").fill(the().keys.viewer);
        await page.keyboard.press("Enter");
        await page.getByRole("button", { name: "Open the navigation" }).click();
        await page.getByRole("button", { name: "Exact times" }).press("Enter");
        await page.getByRole("button", { name: "Exact times", pressed: true }).waitFor();
        await page.getByRole("dialog").getByRole("link", { name: "Events" }).click();
        const shown = page.locator("tbody time").first();
        await shown.getByText(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/).waitFor();
        await page.reload();
        await shown.getByText(/^\d{4}-/).waitFor();
        const cut = await shown.evaluate(({ parentElement: cell }) =>
          cell ? cell.scrollWidth - cell.clientWidth : Number.NaN,
        );
        expect(cut).toBe(0);
      });

      it("is shown exactly also where something is still to end", async () => {
        const { body } = await the().api.createSession({
          body: { name: "ends", gpu_type: "amd", ttl_seconds: 7200 },
        });
        const { page } = await the().open("admin", "/login", { fresh: true });
        await signIn(page, the().keys.admin);
        await page.goto(`${the().url}/sessions/${body.id}`);
        const ends = page.locator("section", { hasText: "Time to live" }).locator("time").first();
        await ends.getByText(/^in 1 h 5\d min$/).waitFor();
        await page.getByRole("button", { name: "Exact times" }).press("Enter");
        await ends.getByText(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/).waitFor();
      });
    });

    describe("a chart", () => {
      it("of graphics cards and of disks has a line for each of them", async () => {
        const id = await the().wolfId("fra-nvidia-1");
        const { body: wolf } = await the().api.getWolf({ params: { id } });
        const ago = (minutes: number) => new Date(Date.now() - minutes * MINUTE_MS);
        // Figures come once a minute: these are what a few minutes would have brought.
        const samples = [4, 3, 2, 1].map((minutes) => ({
          at: ago(minutes).toISOString(),
          cpu_load: 1,
          memory_available_bytes: GIB,
          gpus: (wolf.host?.gpus ?? []).map((gpu, card) => ({
            id: gpu.id,
            utilisation_percent: 20 + 30 * card + 5 * minutes,
            vram_used_bytes: (4 + 8 * card + minutes) * GIB,
            encoder_sessions: 0,
          })),
        }));
        const mount = wolf.usage?.disks[0]?.mount ?? "/";
        await the().prisma.diskSample.createMany({
          data: [3, 2, 1].map((minutes, slot) => ({
            id: newId("dsk"),
            wolf_instance_id: id,
            mount,
            slot,
            at: ago(minutes),
            total_bytes: 100 * GIB,
            used_bytes: (20 + 10 * minutes) * GIB,
            available_bytes: (80 - 10 * minutes) * GIB,
            level: "ok",
          })),
        });
        const { page } = await the().open("admin", "/login");
        await page.route(/\/usage-history/, (route) => route.fulfill({ json: samples }));
        await page.goto(`${the().url}/wolves/${id}`);
        await drawsLines(page, /^GPU utilisation over/, 2);
        await drawsLines(page, /^Video memory in use over/, 2);
        await drawsLines(page, /^Disks in use over/, 1);
      });
    });
  });
}
