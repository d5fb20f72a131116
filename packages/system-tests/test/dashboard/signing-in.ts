/** Coming in, going out, and what each role is offered and refused. */
import { afterAll, describe, expect, it } from "@jest/globals";
import type { Page } from "playwright-core";
import { isLive, mark, shows } from "./looking.ts";
import type { RoleName, Stage } from "./stage.ts";
import { signIn } from "./stage.ts";

export function describeSigningIn(the: () => Stage): void {
  describe("signing in", () => {
    it("leads to the page that was asked for, and out again, after which the cookie opens nothing", async () => {
      const { page, faults } = await the().open("admin", "/events?kind=wolf.*", { fresh: true });
      await page.getByRole("heading", { name: "Sign in to Wolfpack" }).waitFor();
      await signIn(page, the().keys.admin);
      await page.getByRole("heading", { name: "Events", exact: true }).waitFor();
      expect(new URL(page.url()).search).toContain("wolf.");
      const [cookie] = await page.context().cookies();
      expect(cookie).toMatchObject({ httpOnly: true, secure: true, sameSite: "Strict" });
      const gone = page.waitForResponse((response) => response.request().method() === "DELETE");
      await page.getByRole("button", { name: "Sign out" }).click();
      await gone;
      await page.getByRole("heading", { name: "Sign in to Wolfpack" }).waitFor();
      expect(await page.context().cookies()).toEqual([]);
      await page.goto(`${the().url}/access`);
      await page.getByLabel("API key").waitFor();
      expect(faults.splice(0)).toEqual(["401 GET /api/v1/me", "401 GET /api/v1/me"]);
    });

    it("is heard by the other tabs of the browser, which show nothing on of whoever was there before", async () => {
      const { page, faults } = await the().open("viewer", "/wolves/ams-amd-1", { fresh: true });
      await signIn(page, the().keys.admin);
      await page.getByRole("button", { name: "Cordon" }).waitFor();
      const other = await page.context().newPage();
      await other.goto(`${the().url}/login`);
      await signIn(other, the().keys.viewer);
      await page.locator(".sidebar").getByText("vera").waitFor();
      await page.getByRole("heading", { name: "ams-amd-1" }).waitFor();
      expect(await page.getByRole("button", { name: "Cordon" }).count()).toBe(0);
      await other.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in to Wolfpack" }).waitFor();
      await other.close();
      expect(faults.splice(0).filter((fault) => !fault.startsWith("401 GET /api/v1/"))).toEqual([]);
    });

    it("is over as well where it was over already, without a complaint", async () => {
      const { page, faults } = await the().open("viewer", "/queue", { fresh: true });
      await signIn(page, the().keys.viewer);
      await page.getByRole("heading", { name: "Queue" }).waitFor();
      await page.route("**/api/v1/web-session", (route) =>
        route.fulfill({ status: 401, json: { code: "unauthenticated", title: "Unauthenticated" } }),
      );
      const answered = page.waitForResponse((response) => response.request().method() === "DELETE");
      await page.getByRole("button", { name: "Sign out" }).click();
      await answered;
      await page.getByRole("heading", { name: "Sign in to Wolfpack" }).waitFor();
      expect(await page.getByText("Not signed out").count()).toBe(0);
      expect(new URL(page.url()).search).toBe("");
      expect(faults.splice(0)).toEqual(["401 GET /api/v1/me", "401 DELETE /api/v1/web-session"]);
    });

    it("is refused with what is no key, and says so", async () => {
      const { page, faults } = await the().open("viewer", "/", { fresh: true });
      await page.getByLabel("API key").fill("wpk_never-was-one");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("This is no valid API key.").waitFor();
      expect(await page.context().cookies()).toEqual([]);
      expect(faults.splice(0)).toEqual(["401 GET /api/v1/me", "401 POST /api/v1/web-session"]);
    });

    it("is over at once where its key is revoked, and leads back to where it was", async () => {
      const { api } = the();
      const { body: key } = await api.createApiKey({
        body: { name: "short", user_id: the().userIds.viewer ?? "" },
      });
      const { page, faults } = await the().open("viewer", "/topology", { fresh: true });
      await signIn(page, key.key);
      await page.getByRole("heading", { name: "Topology" }).waitFor();
      await isLive(page);
      await api.revokeApiKey({ params: { id: key.id } });
      await page.getByText("Your session here is over.").waitFor();
      await signIn(page, the().keys.viewer);
      await page.getByRole("heading", { name: "Topology" }).waitFor();
      expect(faults.splice(0).filter((fault) => !fault.startsWith("401 GET /api/v1/"))).toEqual([]);
    });
  });

  describe("roles", () => {
    afterAll(() => the().tidy());

    const pages = (page: Page) =>
      page.getByRole("navigation", { name: "Pages" }).getByRole("link").allTextContents();
    const steps = ["Cordon", "Drain", "Retire"];

    it.each<[RoleName, string[], string[]]>([
      ["viewer", ["Fleet", "Topology", "Sessions", "Queue", "Events", "Access"], []],
      ["user", ["Fleet", "Topology", "Sessions", "Queue", "Events", "Access"], []],
      ["operator", ["Fleet", "Topology", "Sessions", "Queue", "Events", "Access", "Health"], steps],
      ["admin", ["Fleet", "Topology", "Sessions", "Queue", "Events", "Audit", "Access", "Health"], steps],
    ])("offer to a %s what the role may do, and nothing else", async (role, shown, steering) => {
      const { page } = await the().open(role, "/wolves/ams-amd-1");
      await page.getByRole("heading", { name: "ams-amd-1" }).waitFor();
      expect(await pages(page)).toEqual(shown);
      const buttons = await page.locator(".page-head button").allTextContents();
      expect(buttons.filter((text) => text !== "")).toEqual(steering);
      expect(await page.getByRole("tab", { name: "Policy" }).count()).toBe(role === "user" ? 0 : 1);
      await page.goto(`${the().url}/audit`);
      await page
        .getByText(role === "admin" ? "Every change, and every call" : "Not for you to see")
        .first()
        .waitFor();
      await page.goto(`${the().url}/access`);
      await page.getByRole("tab").first().waitFor();
      expect(await page.getByRole("tab", { name: "Users" }).count()).toBe(role === "admin" ? 1 : 0);
      await page.goto(`${the().url}/sessions/new`);
      await page
        .getByText(role === "viewer" ? "You may look at sessions, not make them" : "What would happen now")
        .waitFor();
    });

    it("let users see their own sessions and nobody else's, not even by a link", async () => {
      const { api } = the();
      const user = the().stack.client(the().keys.user);
      const [{ body: own }, { body: foreign }] = await Promise.all([
        user.createSession({ body: { name: "mine", gpu_type: "nvidia" } }),
        api.createSession({ body: { name: "not mine", gpu_type: "nvidia" } }),
      ]);
      const { page, faults } = await the().open("user", "/sessions");
      await shows(page, ["mine"]);
      await page.goto(`${the().url}/sessions/${foreign.id}`);
      await page.getByRole("alert").waitFor();
      expect(await page.getByText("not mine").count()).toBe(0);
      expect(new Set(faults.splice(0))).toEqual(new Set([`404 GET /api/v1/sessions/${foreign.id}`]));
      const viewer = await the().open("viewer", `/sessions/${own.id}`);
      await viewer.page.getByText("Not yours to see").waitFor();
      expect(await viewer.page.getByRole("button", { name: "Stop" }).count()).toBe(0);
    });

    it("are looked at anew while a page is open: what is no longer allowed is no longer offered", async () => {
      const { api } = the();
      const { body: user } = await api.createUser({ body: { name: "otto", role: "operator" } });
      const { body: key } = await api.createApiKey({ body: { name: "browser", user_id: user.id } });
      const { page, faults } = await the().open("operator", "/wolves/ams-amd-1", { fresh: true });
      await signIn(page, key.key);
      await isLive(page);
      const isSame = await mark(page);
      await page.getByRole("button", { name: "Cordon" }).waitFor();
      await api.updateUser({ params: { id: user.id }, body: { role: "viewer" } });
      await page.getByRole("button", { name: "Cordon" }).waitFor({ state: "detached" });
      await page.locator(".sidebar").getByText("viewer").waitFor();
      expect(await isSame()).toBe(true);
      expect(faults.splice(0)).toEqual(["401 GET /api/v1/me"]);
    });
  });
}
