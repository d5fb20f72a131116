/// <reference lib="dom" />
/** What admins and owners do by hand, and what the control plane says no to: each seen in the page, and true behind it. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import { confirm, drawsLines, isLive } from "./looking.ts";
import type { Stage } from "./stage.ts";

export function describeManaging(the: () => Stage): void {
  describe("managing", () => {
    afterEach(() => the().tidy());

    it("makes a user, gives another role and shuts out, each in sight and for real", async () => {
      const { api, stack } = the();
      const { page } = await the().open("admin", "/access?tab=users");
      await page.getByRole("button", { name: "New user" }).click();
      await page.getByRole("dialog").getByLabel("Name").fill("ottilie");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      // A first key is offered, and not wanted.
      await page.getByRole("dialog", { name: /key/i }).getByRole("button", { name: "Cancel" }).click();
      const row = page.locator("tbody tr[data-index]", { hasText: "ottilie" });
      await row.getByText("User", { exact: true }).waitFor();
      const find = async () => (await api.listUsers({ query: { name: "ottilie" } })).body[0];
      const user_id = (await find())?.id ?? "";
      const { body: key } = await api.createApiKey({ body: { name: "x", user_id } });
      await row.getByRole("button", { name: "Change ottilie" }).click();
      await page.getByRole("menuitem", { name: /Role and limits/ }).click();
      await page
        .getByRole("dialog")
        .getByRole("radio", { name: /^Viewer/ })
        .check();
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await row.getByText("Viewer", { exact: true }).waitFor();
      expect(await find()).toMatchObject({ role: "viewer", disabled: false });
      await row.getByRole("button", { name: "Change ottilie" }).click();
      await page.getByRole("menuitem", { name: /Disable/ }).click();
      await confirm(page, "Disable");
      await row.getByText("Disabled").waitFor();
      await expect(stack.client(key.key).getMe()).rejects.toMatchObject({ status: 401 });
    });

    it("approves a host's key that waits", async () => {
      const { prisma } = the();
      // Of its own: a key that is approved shuts out the agent whose key it replaces.
      const wolf_instance_id = newId("wlf");
      const id = newId("agk");
      await prisma.wolfInstance.create({ data: { id: wolf_instance_id, name: "waits-for-a-key" } });
      try {
        const at = new Date();
        const times = { created_at: at, expires_at: new Date(at.getTime() + 3_600_000) };
        const key = {
          wolf_instance_id,
          public_key: Uint8Array.from(randomBytes(32)),
          enrolled_by: "runner-token",
        };
        await prisma.agentKey.create({ data: { id, ...key, status: "pending", ...times } });
        const { page } = await the().open("admin", "/access?tab=agents&status=pending");
        const approve = page.getByRole("button", { name: "Approve the key of waits-for-a-key" });
        await approve.click();
        await confirm(page, "Approve");
        // Behind an open question the list has no roles: only after this is it really gone.
        await page.getByText("The key of waits-for-a-key is active", { exact: true }).waitFor();
        await page.getByRole("alertdialog").waitFor({ state: "detached" });
        await approve.waitFor({ state: "detached" });
        const row = await prisma.agentKey.findUniqueOrThrow({ where: { id } });
        expect(row.status).toBe("active");
      } finally {
        await prisma.wolfInstance.delete({ where: { id: wolf_instance_id } });
        // What is told of it, and that it was removed, leads to its page, which is no more.
        await prisma.fleetEvent.deleteMany({ where: { wolf_instance_id } });
      }
    });

    it("takes the audit log along as one object a line, of what was filtered", async () => {
      const viewer = the().stack.client(the().keys.viewer);
      await expect(viewer.listUsers({})).rejects.toMatchObject({ code: "forbidden" });
      const { page } = await the().open("admin", "/audit?result=denied");
      await page.locator("tbody tr[data-index]").first().waitFor();
      const downloading = page.waitForEvent("download");
      await page.getByRole("link", { name: "Export" }).click();
      const download = await downloading;
      expect(download.suggestedFilename()).toBe("wolfpack-audit.ndjson");
      const lines = readFileSync(await download.path(), "utf8")
        .trimEnd()
        .split("\n");
      const results = lines.map((line) => (JSON.parse(line) as { result: string }).result);
      expect(new Set(results)).toEqual(new Set(["denied"]));
    });

    it("is refused in the page where the control plane says no: what was filled in stays", async () => {
      const { api, userIds } = the();
      const params = { id: userIds.user ?? "" };
      await api.updateUser({ params, body: { sessions_max: 0 } });
      try {
        const { page, faults } = await the().open("user", "/sessions/new");
        await page.getByLabel("Name", { exact: true }).fill("one too many");
        await page.getByRole("button", { name: "Create session" }).click();
        await page
          .getByRole("alert")
          .getByText(/may have 0/)
          .waitFor();
        expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("one too many");
        expect(faults.splice(0)).toEqual(["403 POST /api/v1/sessions"]);
      } finally {
        await api.updateUser({ params, body: { sessions_max: null } });
      }
    });

    it("ends by force what its wolf cannot be asked to stop, and the session's timeline tells it step by step", async () => {
      const { api, stack } = the();
      const body = { name: "out of reach", gpu_type: "amd", wait_seconds: 20 } as const;
      const { body: session } = await api.createSession({ body });
      const { page, faults } = await the().open("admin", `/sessions/${session.id}`);
      await page.locator(".page-head").getByText("Running").waitFor();
      await isLive(page);
      await stack.killAgent("ams-amd-1");
      try {
        await page.getByRole("button", { name: "Stop", exact: true }).click();
        await confirm(page, "Stop");
        await page.locator(".page-head").getByText("Stopping").waitFor();
        await page.getByRole("button", { name: "Stop by force" }).click();
        await confirm(page, "Stop by force");
        await page.locator(".page-head").getByText("Stopped").waitFor();
      } finally {
        await stack.startAgent("ams-amd-1");
      }
      const steps = page.locator(".session-step:not(.session-step-minor) strong");
      const wanted = ["Placed", "Starts", "Runs", "Is being stopped", "Has ended"];
      await stack.until("the timeline tells the end", async () =>
        (await steps.allTextContents()).includes("Has ended"),
      );
      expect(await steps.allTextContents()).toEqual(wanted);
      await stack.until(
        "its wolf is back",
        async () => (await api.getWolf({ params: { id: "ams-amd-1" } })).body.connectivity === "connected",
      );
      // The page asked for its picture while nobody could give it.
      const missed = `503 GET /api/v1/sessions/${session.id}/screenshot`;
      expect(faults.splice(0).filter((fault) => fault !== missed)).toEqual([]);
    }, 60_000);

    it("draws a tunnel's round trips over time, in more than one point", async () => {
      const params = { id: await the().wolfId("fra-nvidia-1") };
      await the().stack.until(
        "two round trips are measured",
        async () => (await the().api.getWolfTunnel({ params })).body.rtt_history.length >= 2,
      );
      const { page } = await the().open("admin", "/wolves/fra-nvidia-1?tab=tunnel");
      await drawsLines(page, /^Round trip time/, 1);
    });
  });
}
