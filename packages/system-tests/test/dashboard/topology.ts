/** The fleet as a map: replicas, regions, wolves and the lines between them, which follow what happens. */
import { afterEach, describe, expect, it } from "@jest/globals";
import type { Page } from "playwright-core";
import { isLive, mark } from "./looking.ts";
import type { Stage } from "./stage.ts";

const tileOf = (page: Page, region: string, wolf: string) =>
  page.locator(`[data-region="${region}"] li`, { hasText: wolf });

/** The tile shows all of these, such as a step of load and a state. */
const coloured = (page: Page, region: string, wolf: string, ...classes: readonly string[]): Promise<void> =>
  tileOf(page, region, wolf)
    .locator(`.topology-key${classes.map((one) => `.topology-${one}`).join("")}`)
    .waitFor();

/** To a region, of this tone, with how thick it is. */
async function lineTo(page: Page, region: string, tone: "ok" | "warning"): Promise<number> {
  const line = page.locator(`[data-to="${region}"] .topology-link-${tone}`);
  await line.waitFor({ state: "attached" });
  return Number(await line.getAttribute("stroke-width"));
}

export function describeTopology(the: () => Stage): void {
  describe("the topology", () => {
    afterEach(() => the().tidy());

    it("is drawn as replicas, regions and wolves, each of which leads to its page", async () => {
      const { page } = await the().open("admin", "/topology");
      await page.locator("[data-replica]").getByText("Serving").waitFor();
      await tileOf(page, "eu-west", "ams-amd-1").getByRole("link").click();
      await page.getByRole("heading", { name: "ams-amd-1" }).waitFor();
    });

    it("shows what becomes of a wolf in its tile, its region and its line, without being loaded anew", async () => {
      const { api, stack } = the();
      const { page } = await the().open("viewer", "/topology");
      const region = page.locator('[data-region="eu-west"]');
      await coloured(page, "eu-west", "ams-amd-1", "load-0", "fine");
      await region.locator(".topology-load").getByText("0 / 5", { exact: true }).waitFor();
      await isLive(page);
      const isSame = await mark(page);

      await api.createSession({ body: { name: "loads it", gpu_type: "amd" } });
      await coloured(page, "eu-west", "ams-amd-1", "load-1", "fine");
      await tileOf(page, "eu-west", "ams-amd-1").getByText("1 / 3", { exact: true }).waitFor();
      await region.locator(".topology-load").getByText("1 / 5", { exact: true }).waitFor();

      const params = { id: await the().wolfId("ams-amd-1") };
      await api.cordonWolf({ params, body: {} });
      await coloured(page, "eu-west", "ams-amd-1", "load-1", "held");

      const whole = await lineTo(page, "eu-west", "ok");
      await stack.killAgent("ams-nvidia-1");
      try {
        await coloured(page, "eu-west", "ams-nvidia-1", "ill");
        await region.getByText("1 suspect").waitFor();
        expect(await lineTo(page, "eu-west", "warning")).toBeLessThan(whole);
      } finally {
        await stack.startAgent("ams-nvidia-1");
      }
      await coloured(page, "eu-west", "ams-nvidia-1", "load-0", "fine");
      expect(await lineTo(page, "eu-west", "ok")).toBe(whole);
      await region.getByText("1 suspect").waitFor({ state: "detached" });
      expect(await isSame()).toBe(true);
    });
  });
}
