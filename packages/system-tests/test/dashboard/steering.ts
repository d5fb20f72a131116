/** The fleet and its wolves: finding, steering, and seeing what others do as it happens. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { confirm, isLive, mark, rowOf, shows } from "./looking.ts";
import type { Stage } from "./stage.ts";

export function describeSteering(the: () => Stage): void {
  describe("steering", () => {
    afterEach(() => the().tidy());
    describe("the fleet", () => {
      it("is sorted, searched and filtered, and the address keeps what is shown", async () => {
        const names = (await the().api.listWolves({})).body.map(({ name }) => name).sort();
        const { page } = await the().open("admin", "/");
        await shows(page, names);
        await page.getByRole("button", { name: "Name", exact: true }).click();
        await shows(page, names.toReversed());
        await page.getByLabel("Search wolves").fill("zone=eu-west-a");
        await shows(page, ["ams-nvidia-1", "ams-amd-1"]);
        await page.getByLabel("GPU", { exact: true }).selectOption("amd");
        await shows(page, ["ams-amd-1"]);
        await page.waitForURL(/q=.*gpu=amd|gpu=amd.*q=/);
        await page.reload();
        await shows(page, ["ams-amd-1"]);
        await page.getByLabel("Search wolves").fill("no such wolf");
        await page.getByText("No wolf fits").waitFor();
        await page.getByRole("button", { name: "Show all" }).first().click();
        await shows(page, names.toReversed());
        expect(await rowOf(page, "fra-nvidia-1").textContent()).toMatch(
          /Online[\s\S]*RTX 4090[\s\S]*eu-central/,
        );
      });

      it("shows what somebody else did to a wolf, without being loaded anew", async () => {
        const { page } = await the().open("viewer", "/");
        const row = rowOf(page, "ams-amd-1");
        await row.getByText("Online").waitFor();
        await isLive(page);
        const isSame = await mark(page);
        const params = { id: await the().wolfId("ams-amd-1") };
        await the().api.cordonWolf({ params, body: { reason: "a new driver" } });
        await row.getByText("Cordoned").waitFor();
        await row.getByText("a new driver").waitFor();
        await the().api.uncordonWolf({ params, body: {} });
        await row.getByText("Online").waitFor();
        expect(await isSame()).toBe(true);
      });
    });

    describe("a wolf", () => {
      it("is cordoned after a question, and taken back", async () => {
        const { page } = await the().open("operator", "/");
        await page.getByRole("link", { name: "ams-amd-1" }).click();
        await page.getByRole("heading", { name: "ams-amd-1" }).waitFor();
        await page.getByRole("button", { name: "Cordon" }).click();
        const question = page.getByRole("alertdialog");
        await question.getByText("It gets no new sessions; what runs goes on.").waitFor();
        await question.getByLabel("Reason").fill("its fan is loud");
        await confirm(page, "Cordon");
        await page.locator(".page-head").getByText("Cordoned").waitFor();
        await page.locator(".page-head").getByText("its fan is loud").waitFor();
        const { body } = await the().api.getWolf({ params: { id: "ams-amd-1" } });
        expect(body).toMatchObject({ intent: "cordoned", intent_reason: "its fan is loud" });
        await page.getByRole("button", { name: "Take back" }).click();
        await confirm(page, "Take back");
        await page.locator(".page-head").getByText("Online").waitFor();
      });

      it("is left alone when the question is answered by Cancel, and retired once its sessions have ended, in sight", async () => {
        const { body: session } = await the().api.createSession({
          body: { gpu_type: "amd", name: "keeps it busy" },
        });
        const { page } = await the().open("operator", "/wolves/ams-amd-1");
        await isLive(page);
        await page.getByRole("button", { name: "Cordon" }).click();
        await page.getByRole("button", { name: "Cancel" }).click();
        await page.getByRole("button", { name: "Retire" }).click();
        expect(await page.getByRole("alertdialog").getByRole("button", { name: "Retire" }).isDisabled()).toBe(
          true,
        );
        await page.getByRole("alertdialog").getByLabel(/^Type/).fill("ams-amd-1");
        await confirm(page, "Retire");
        const progress = page.getByRole("region", { name: "Drain" });
        await progress.getByText("1 session left").waitFor();
        await progress.getByText("then retired").waitFor();
        const { body } = await the().api.getWolf({ params: { id: "ams-amd-1" } });
        expect([body.intent, body.drain?.then, body.drain?.sessions_left]).toEqual([
          "draining",
          "retired",
          1,
        ]);
        await the().api.stopSession({ params: { id: session.id } });
        await page.getByRole("region", { name: "Retirement" }).getByText("Nothing is left on it").waitFor();
      });

      it("is drained in sight: what is left, and that it is done", async () => {
        const { body: session } = await the().api.createSession({
          body: { gpu_type: "amd", name: "to be drained" },
        });
        const { page } = await the().open("operator", "/wolves/ams-amd-1");
        await isLive(page);
        await page.getByRole("button", { name: "Drain" }).click();
        await page.getByLabel("Sessions have until then").selectOption({ label: "4 hours" });
        await confirm(page, "Drain");
        const progress = page.getByRole("region", { name: "Drain" });
        await progress.getByText("1 session left").waitFor();
        await progress.getByText("0 of 1 gone").waitFor();
        const isSame = await mark(page);
        await the().api.stopSession({ params: { id: session.id } });
        await page.locator(".page-head").getByText("Cordoned").waitFor();
        expect(await progress.count()).toBe(0);
        expect(await isSame()).toBe(true);
        await the().api.uncordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
        await page.locator(".page-head").getByText("Online").waitFor();
      });

      it("warns of a clock that is far off, and says of any other how far it is off", async () => {
        const id = await the().wolfId("ams-nvidia-1");
        const sets = (offsetMs: number) => the().prisma.$executeRaw`
          UPDATE wolf_instance SET tunnel_clock_offset_ms = ${offsetMs}::int, tunnel_clock_epoch = epoch WHERE id = ${id}`;
        try {
          for (const [offsetMs, words, warnings] of [
            [125_000, "2 min ahead", 1],
            [-12_000, "12 s behind", 0],
          ] as const) {
            await sets(offsetMs);
            const { page } = await the().open("viewer", "/wolves/ams-nvidia-1?tab=tunnel");
            await page.getByRole("tabpanel").getByText(words, { exact: true }).waitFor();
            const warning = page.getByRole("region", { name: "Clock" });
            expect(await warning.getByText(`Clock ${words}`).count()).toBe(warnings);
          }
        } finally {
          await sets(0);
        }
      });

      it("tells of its tunnel, sessions, events, abilities and policy, each by its own address", async () => {
        const { page } = await the().open("admin", "/wolves/fra-nvidia-1?tab=tunnel");
        await page.getByText("Epoch").waitFor();
        for (const [tab, sign] of [
          ["Sessions", "Lobbies of this wolf"],
          ["Events", "Show all"],
          ["Capabilities", "Description"],
          ["Policy", "Limits"],
          ["Overview", "Connectivity"],
        ] as const) {
          await page.getByRole("tab", { name: tab }).click();
          await page
            .getByRole("tabpanel")
            .getByText(sign, { exact: false })
            .or(page.getByRole("tabpanel").getByLabel(sign))
            .first()
            .waitFor();
        }
        expect(await page.getByRole("alert").count()).toBe(0);
        await page.getByText("NVIDIA GeForce RTX 4090").first().waitFor();
      });
    });
  });
}
