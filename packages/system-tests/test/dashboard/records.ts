/** What happened, who did it, who may, and how the control plane does. */
import { describe, expect, it } from "@jest/globals";
import { isLive, mark, rowOf } from "./looking.ts";
import type { Stage } from "./stage.ts";

export function describeRecords(the: () => Stage): void {
  describe("events", () => {
    it("appear as they happen, those that were asked for and no others", async () => {
      const { page } = await the().open("admin", "/events?kind=user.*");
      await page.getByRole("heading", { name: "Events", exact: true }).waitFor();
      await isLive(page);
      // People were made before: their rows come all at once, and until then nobody knows how many there are.
      await page.locator("tbody tr[data-index]").first().waitFor();
      const isSame = await mark(page);
      await the().api.cordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
      await the().api.uncordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
      const before = await page.locator("tbody tr[data-index]").count();
      const { body: user } = await the().api.createUser({ body: { name: "eve", role: "viewer" } });
      const first = page.locator("tbody tr[data-index]").first();
      await page.locator("tbody tr[data-index]").nth(before).waitFor();
      expect(await first.textContent()).toContain("user.created");
      expect(await page.locator("tbody").getByText("wolf.intent").count()).toBe(0);
      await first.getByRole("button", { name: /^.+ added eve, a viewer$/ }).click();
      await page.getByRole("dialog").getByText(user.id).first().waitFor();
      expect(await isSame()).toBe(true);
    });

    it("wait while the page is paused", async () => {
      const { page } = await the().open("admin", "/events");
      await isLive(page);
      await page.locator("tbody tr[data-index]").first().waitFor();
      await page.getByRole("button", { name: "Pause" }).click();
      const top = await page.locator("tbody tr[data-index] .row-link").first().textContent();
      await the().api.cordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
      await page.getByText(/new event/).waitFor();
      expect(await page.locator("tbody tr[data-index] .row-link").first().textContent()).toBe(top);
      await page.getByRole("button", { name: "Go on" }).click();
      await page
        .locator("tbody tr[data-index]")
        .first()
        .getByText(/^.+ cordoned ams-amd-1$/)
        .waitFor();
      await the().api.uncordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
    });
  });

  describe("the audit log", () => {
    it("shows who was denied what, and all of one entry", async () => {
      const viewer = the().stack.client(the().keys.viewer);
      await expect(
        viewer.cordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} }),
      ).rejects.toMatchObject({
        code: "forbidden",
      });
      const { page } = await the().open("admin", "/audit?result=denied");
      const row = page.locator("tbody tr[data-index]").first();
      await row.getByText("wolf.steer").waitFor();
      await row.getByRole("button", { name: "vera was not allowed to steer the wolf ams-amd-1" }).click();
      await page.getByRole("dialog").getByText("forbidden").first().waitFor();
    });
  });

  describe("access", () => {
    it("makes a key that works, shows it once and copies it, and takes it away again", async () => {
      const { page } = await the().open("user", "/access");
      await page.getByRole("button", { name: "New API key" }).click();
      await page.getByRole("dialog").getByLabel("Name").fill("for a script");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      const secret = await page.getByRole("textbox", { name: "API key" }).inputValue();
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByRole("button", { name: "Copied" }).waitFor();
      expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(secret);
      const { body: me } = await the().stack.client(secret).getMe();
      expect(me.name).toBe("uma");
      await page.getByRole("button", { name: "Done" }).click();
      const kept = await page.evaluate(() =>
        JSON.stringify([
          document.documentElement.outerHTML,
          { ...localStorage },
          { ...sessionStorage },
          location.href,
          history.state,
        ]),
      );
      expect(kept).not.toContain(secret);
      await page.getByText("for a script").waitFor();
      const row = page.locator("tbody tr[data-index]", { hasText: "for a script" });
      await row.getByRole("button", { name: /Revoke/ }).click();
      await page
        .getByRole("alertdialog")
        .getByRole("button", { name: /^Revoke/ })
        .click();
      await row.waitFor({ state: "detached" });
      await expect(the().stack.client(secret).getMe()).rejects.toMatchObject({ status: 401 });
    });

    it("makes a join token with the commands of each kind of deployment, none of which holds it", async () => {
      const { page } = await the().open("admin", "/access?tab=tokens");
      await page.getByRole("button", { name: "New join token" }).click();
      await page.getByLabel("Name of the wolf").fill("Not a name!");
      expect(await page.getByRole("button", { name: "Create", exact: true }).isDisabled()).toBe(true);
      await page.getByLabel("Name of the wolf").fill("lyon-1");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      const token = await page.getByRole("textbox", { name: "join token" }).inputValue();
      expect(token).toMatch(/^wjt_/);
      for (const [kind, sign] of [
        ["systemd", "systemctl enable --now"],
        ["Docker Compose", "docker compose"],
        ["Kubernetes", "kubectl apply"],
        ["By hand", "--wolf-id lyon-1"],
      ] as const) {
        await page.getByRole("tab", { name: kind }).click();
        const commands = page.locator(".access-command pre");
        await commands.filter({ hasText: sign }).first().waitFor();
        expect((await commands.allTextContents()).join("\n")).not.toContain(token);
      }
      await page.getByRole("button", { name: "Copy step 2" }).click();
      const copied = await page.waitForFunction(async () => {
        const text = await navigator.clipboard.readText();
        return text.includes("enroll") && text;
      });
      expect(await copied.jsonValue()).toBe(
        `wolf-revdial-client enroll --api-url ${the().url} --wolf-id lyon-1 --join-token-file -\n`,
      );
      await page.getByRole("button", { name: "Done" }).click();
      await page.getByRole("button", { name: "Close without copying" }).click();
      await rowOf(page, "lyon-1").or(page.getByText("lyon-1")).first().waitFor();
      const { body } = await the().api.listJoinTokens({});
      expect(body).toContainEqual(expect.objectContaining({ wolf_name: "lyon-1", uses: 0 }));
    });
  });

  describe("health", () => {
    it("shows every numbered check of the control plane, and its replicas", async () => {
      const { page } = await the().open("operator", "/health");
      const checks = page.locator(".health-check");
      await checks.nth(12).getByText(/^C13$/).waitFor();
      const numbers = (await checks.allTextContents()).map((text) => text.slice(0, 3));
      expect(numbers).toEqual(Array.from({ length: 13 }, (_, at) => `C${String(at + 1).padStart(2, "0")}`));
      await checks.first().getByText("PostgreSQL answered").waitFor();
      await page.getByText("Answers you").waitFor();
      const again = page.waitForResponse(/\/api\/v1\/health/);
      await page.getByRole("button", { name: "Check again" }).click();
      expect((await again).status()).toBe(200);
    });
  });
}
