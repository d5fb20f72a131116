/** Ten thousand wolves: the page draws what is in sight, finds one at once, and shows what happens to one. */
import { beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import { isLive, mark, rowOf } from "./looking.ts";
import { picture, type Stage } from "./stage.ts";

const WOLVES = 10_000;
const CHUNK = 2000;
const ROWS_MAX = 80;
const regions = ["eu-central", "eu-west", "us-east", "us-west", "ap-south"];
const models = ["NVIDIA GeForce RTX 4090", "NVIDIA L40S", "NVIDIA RTX A6000"];

const nameOf = (at: number) => `farm-${String(at).padStart(5, "0")}`;

export function describeMany(the: () => Stage): void {
  describe("a large fleet", () => {
    const ids: string[] = [];

    beforeAll(async () => {
      const heartbeat = new Date();
      for (let from = 0; from < WOLVES; from += CHUNK) {
        const data = Array.from({ length: CHUNK }, (_unused, offset) => {
          const at = from + offset;
          const id = newId("wlf");
          ids.push(id);
          return {
            id,
            name: nameOf(at),
            connectivity: "connected",
            last_heartbeat: heartbeat,
            tunnel_since: heartbeat,
            gpu_type: "nvidia",
            gpu_model: models[at % models.length] ?? null,
            region: regions[at % regions.length] ?? null,
            max_sandboxes: 8,
            connected_sandboxes: (at * 7) % 9,
            labels: { rack: `r${at % 100}` },
            agent_version: "0.1.0",
          };
        });
        await the().prisma.wolfInstance.createMany({ data });
      }
    }, 60_000);

    describe(`${WOLVES} wolves`, () => {
      it("are one table of which only the rows in sight exist, that finds, sorts and scrolls", async () => {
        const begun = performance.now();
        const { page } = await the().open("viewer", "/?sort=-name");
        await rowOf(page, nameOf(WOLVES - 1))
          .or(page.getByText("fra-nvidia-1"))
          .first()
          .waitFor();
        const first = performance.now() - begun;
        await page
          .locator(".page-head")
          .getByText(/^10,00\d wolves$/)
          .waitFor();
        const all = performance.now() - begun;
        const rows = () => page.locator("tbody tr[data-index]").count();
        expect(await rows()).toBeLessThan(ROWS_MAX);
        await picture(page, "fleet-10000");
        await page.waitForFunction(() => {
          const table = document.querySelector(".table-scroll");
          table?.scrollTo(0, table.scrollHeight);
          return table?.textContent?.includes("ams-amd-1");
        });
        expect(await rows()).toBeLessThan(ROWS_MAX);
        const typed = performance.now();
        await page.getByLabel("Search wolves").fill(nameOf(4321));
        await page.getByText(/^1 of 10,00\d/).waitFor();
        const found = performance.now() - typed;
        expect(await rows()).toBe(1);
        console.info(
          `10,000 wolves: first rows after ${Math.round(first)} ms, all after ${Math.round(all)} ms, one found after ${Math.round(found)} ms`,
        );
      }, 60_000);

      it("keep the place of the keyboard, however far somebody scrolls", async () => {
        const { page } = await the().open("viewer", "/?q=farm&sort=name");
        await page.getByText(/^10,000 of 10,00\d/).waitFor();
        await rowOf(page, nameOf(0)).locator(".row-link").focus();
        await page.waitForFunction(
          (last) => {
            const table = document.querySelector(".table-scroll");
            table?.scrollTo(0, table.scrollHeight);
            return table?.textContent?.includes(last);
          },
          nameOf(WOLVES - 1),
        );
        await page.locator(":focus", { hasText: nameOf(0) }).waitFor();
        await page.keyboard.press("ArrowDown");
        await page.locator(":focus", { hasText: nameOf(1) }).waitFor();
      }, 60_000);

      it("change in sight one by one", async () => {
        const { page } = await the().open("viewer", "/?q=farm-0000");
        const row = rowOf(page, nameOf(7));
        await row.waitFor();
        await page
          .locator(".page-head")
          .getByText(/^10,00\d wolves$/)
          .waitFor();
        await isLive(page);
        const isSame = await mark(page);
        const changed = performance.now();
        await the().api.cordonWolf({ params: { id: ids[7] ?? "" }, body: { reason: "one of many" } });
        await row.getByText("one of many").waitFor();
        console.info(
          `10,000 wolves: a change was seen ${Math.round(performance.now() - changed)} ms after it was asked for`,
        );
        expect(await isSame()).toBe(true);
      }, 60_000);

      it("are painted, not built of elements, in the topology, which says until it has them all", async () => {
        const { page } = await the().open("viewer", "/login");
        const release = Promise.withResolvers<void>();
        await page.route(/\/wolf-instances\?.*cursor=/, async (route) => {
          await release.promise;
          await route.continue();
        });
        await page.goto(`${the().url}/topology`);
        const head = page.locator(".page-head");
        await head.getByText("1,000 wolves so far …").waitFor();
        release.resolve();
        await head.getByText(/^1 replica, 10,00\d wolves in 5 regions$/).waitFor();
        expect(await page.locator("canvas").count()).toBe(regions.length);
        expect(await page.locator("#main *").count()).toBeLessThan(500);
        await picture(page, "topology-10000");
      }, 60_000);
    });
  });
}
