/** How pages look and are used: two themes, a phone, the keyboard, and those who do not see them. Pictures for the documents, if wanted. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import type { Page } from "playwright-core";
import { isLive, jumps, noteShifts, rowOf } from "./looking.ts";
import {
  desktop,
  isWriting,
  phone,
  picture,
  type Stage,
  seriousFindings,
  signIn,
  toBeDrained,
  toBeLost,
  toBeUnwell,
} from "./stage.ts";

interface Shown {
  name: string;
  address: string;
  /** It is there when this is. */
  sign: (page: Page) => Promise<void>;
}

/** Colours fade from one theme to the other. */
const atRest = (page: Page) =>
  page.waitForFunction(() => document.getAnimations().every(({ playState }) => playState !== "running"));

const sees = (selector: string) => (page: Page) => page.locator(selector).first().waitFor();

export function describeLooks(the: () => Stage): void {
  let pages: readonly Shown[] = [];

  async function furnish(): Promise<void> {
    const { api } = the();
    if (isWriting) await bringTrouble(the());
    const names = ["design review", "cad-desk", "render-preview", "qa-run-81", "notebook"];
    const sessions = await Promise.all(
      names.map(async (name) => (await api.createSession({ body: { name, gpu_type: "nvidia" } })).body),
    );
    const amd = ["training-1", "training-2", "training-3", "waits for amd", "waits as well"];
    for (const name of amd) await api.createSession({ body: { name, gpu_type: "amd", wait_seconds: 0 } });
    await api.createJoinToken({ body: { wolf_name: "lyon-2" } });
    const { body: ended } = await api.createSession({ body: { name: "old-desktop", gpu_type: "nvidia" } });
    await api.stopSession({ params: { id: ended.id } });
    if (isWriting) await drainOne(the());
    const wolf = await the().wolfId("fra-nvidia-1");
    if (isWriting) await fillDisks(the(), wolf);
    const session = sessions.find(({ wolf_instance_id }) => wolf_instance_id === wolf) ?? sessions[0];
    pages = [
      { name: "fleet", address: "/", sign: sees("tbody tr[data-index]") },
      { name: "topology", address: "/topology", sign: sees("[data-region]") },
      { name: "wolf", address: `/wolves/${wolf}`, sign: sees(".wolf-gpus") },
      { name: "wolf-tunnel", address: `/wolves/${wolf}?tab=tunnel`, sign: sees(".wolf-figures") },
      { name: "wolf-sessions", address: `/wolves/${wolf}?tab=sessions`, sign: sees(".wolf-tab table") },
      { name: "wolf-events", address: `/wolves/${wolf}?tab=events`, sign: sees(".wolf-event") },
      { name: "wolf-capabilities", address: `/wolves/${wolf}?tab=capabilities`, sign: sees(".wolf-tab dl") },
      { name: "wolf-policy", address: `/wolves/${wolf}?tab=policy`, sign: sees(".wolf-policy") },
      { name: "sessions", address: "/sessions", sign: sees("tbody tr[data-index]") },
      { name: "session", address: `/sessions/${session?.id}`, sign: sees(".session-picture") },
      { name: "session-ended", address: `/sessions/${ended.id}`, sign: sees(".session-step") },
      { name: "create-session", address: "/sessions/new?gpu=nvidia", sign: sees(".create-why") },
      { name: "create-again", address: `/sessions/new?from=${ended.id}`, sign: sees(".create-from") },
      { name: "queue", address: "/queue", sign: sees("tbody tr[data-index]") },
      { name: "events", address: "/events", sign: sees("tbody tr[data-index]") },
      { name: "audit", address: "/audit", sign: sees("tbody tr[data-index]") },
      { name: "access", address: "/access", sign: sees("tbody tr[data-index]") },
      { name: "access-keys", address: "/access?tab=keys", sign: sees("tbody tr[data-index]") },
      { name: "access-agents", address: "/access?tab=agents", sign: sees("tbody tr[data-index]") },
      { name: "access-tokens", address: "/access?tab=tokens", sign: sees("tbody tr[data-index]") },
      { name: "health", address: "/health", sign: sees(".health-status") },
    ];
  }

  async function show(page: Page, { address, sign }: Shown): Promise<void> {
    await page.goto(`${the().url}${address}`);
    await sign(page);
    await page.locator(".skeleton").first().waitFor({ state: "detached" });
  }

  const withDark = new Set(["fleet", "topology", "session"]);
  const withPhone = new Set(["fleet", "session", "events", "audit"]);
  /** Of which the first screen is not all that matters. */
  const withWhole = new Set(["wolf", "session", "create-session", "health"]);
  const withoutPicture = new Set([
    "create-again",
    "wolf-sessions",
    "wolf-events",
    "wolf-capabilities",
    "session-ended",
  ]);

  async function portray(page: Page, name: string, form = ""): Promise<void> {
    if (!isWriting || withoutPicture.has(name)) return;
    await isLive(page);
    await picture(page, `${name}${form}`, form !== "-phone" && withWhole.has(name));
  }

  describe("every page", () => {
    beforeAll(furnish, isWriting ? 600_000 : 60_000);
    afterAll(() => the().tidy());

    it("comes without a jump, has nothing that axe finds serious, in light and in dark, and fits a phone of 360 pixels", async () => {
      const { page } = await the().open("admin", "/");
      await noteShifts(page);
      const found: object[] = [];
      for (const shown of pages) {
        await show(page, shown);
        const jumped = await jumps(page);
        await portray(page, shown.name);
        const light = await seriousFindings(page);
        await page.setViewportSize(phone);
        await page.locator(".topbar").waitFor();
        const small = await seriousFindings(page);
        if (withPhone.has(shown.name)) await portray(page, shown.name, "-phone");
        const pushed = await page.evaluate(() => {
          const { scrollWidth, clientWidth } = document.documentElement;
          return Math.max(0, scrollWidth - clientWidth);
        });
        await page.setViewportSize(desktop);
        await page.emulateMedia({ colorScheme: "dark" });
        await page.locator("html[data-theme=dark]").waitFor();
        await atRest(page);
        const dark = await seriousFindings(page);
        if (withDark.has(shown.name)) await portray(page, shown.name, "-dark");
        await page.emulateMedia({ colorScheme: "light" });
        if (jumped.length + light.length + dark.length + small.length + pushed > 0)
          found.push({ page: shown.name, jumped, light, dark, small, pushed });
      }
      expect(found).toEqual([]);
    }, 300_000);

    it("has nothing that axe finds serious either before anybody signed in, or in a dialog", async () => {
      const { page: login } = await the().open("viewer", "/login", { fresh: true });
      await login.getByLabel("API key").waitFor();
      await atRest(login);
      await picture(login, "login");
      const { page } = await the().open("admin", "/access?tab=keys");
      await page.getByRole("button", { name: "New API key" }).click();
      await page.getByRole("dialog").getByLabel("Name").waitFor();
      const { page: drain } = await the().open("admin", "/wolves/fra-nvidia-1");
      await drain.getByRole("button", { name: "Drain", exact: true }).click();
      await drain.getByRole("alertdialog").getByLabel("Reason").waitFor();
      for (const shown of [login, page, drain]) {
        await atRest(shown);
        expect(await seriousFindings(shown)).toEqual([]);
      }
    });

    it("is reached on a phone by the navigation, which comes when it is asked for", async () => {
      const { page } = await the().open("admin", "/", { size: phone });
      await page.getByRole("button", { name: "Open the navigation" }).click();
      await page.getByRole("dialog").getByRole("link", { name: "Sessions" }).click();
      await page.getByRole("heading", { name: "Sessions", exact: true }).waitFor();
      await page.getByRole("dialog").waitFor({ state: "detached" });
    });
  });

  describe("the theme", () => {
    const colours = (page: Page) =>
      page.evaluate(() => {
        const light = (colour: string) => {
          const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
          return 0.3 * red + 0.6 * green + 0.1 * blue;
        };
        const { backgroundColor, color } = getComputedStyle(document.body);
        return { ground: light(backgroundColor), text: light(color) };
      });

    it("is the system's until somebody chooses, and then theirs, also after a reload", async () => {
      const { page, faults } = await the().open("viewer", "/login", { fresh: true, theme: "dark" });
      await page.locator("html[data-theme=dark]").waitFor();
      const dark = await colours(page);
      expect([dark.ground < 60, dark.text > 180]).toEqual([true, true]);
      await signIn(page, the().keys.viewer);
      await page.getByRole("button", { name: "Light theme" }).click();
      await page.locator("html[data-theme=light]").waitFor();
      await atRest(page);
      const light = await colours(page);
      expect([light.ground > 200, light.text < 80]).toEqual([true, true]);
      await page.reload();
      await page.getByRole("button", { name: "Dark theme" }).waitFor();
      expect(await page.locator("html").getAttribute("data-theme")).toBe("light");
      expect(faults.splice(0)).toEqual([]);
    });
  });

  describe("the keyboard", () => {
    /** What has the focus, after so many presses of Tab at most, is this. */
    async function tabTo(page: Page, name: string, presses = 40): Promise<void> {
      const seen: string[] = [];
      for (let press = 0; press < presses; press += 1) {
        await page.keyboard.press("Tab");
        const label = await page.evaluate(() => {
          const focused = document.activeElement;
          return (focused?.getAttribute("aria-label") ?? focused?.textContent ?? "").trim();
        });
        if (label === name) return;
        seen.push(label.slice(0, 40));
      }
      throw new Error(`Tab never came to ${name}, but to ${seen.join(", ")}`);
    }

    it("skips to the page, finds a wolf, walks its rows, opens it, and cordons it", async () => {
      const { page } = await the().open("operator", "/");
      await rowOf(page, "ams-amd-1").waitFor();
      await page.keyboard.press("Tab");
      expect(await page.locator(":focus").textContent()).toBe("Skip to the page");
      await page.keyboard.press("Enter");
      expect(await page.locator(":focus").getAttribute("id")).toBe("main");
      await page.keyboard.press("/");
      await page.keyboard.type("ams");
      await rowOf(page, "fra-nvidia-1").waitFor({ state: "detached" });
      await tabTo(page, "ams-amd-1");
      await page.keyboard.press("ArrowDown");
      await page.locator(":focus", { hasText: "ams-nvidia-1" }).waitFor();
      await page.keyboard.press("ArrowUp");
      await page.locator(":focus", { hasText: "ams-amd-1" }).waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "ams-amd-1" }).waitFor();
      await tabTo(page, "Cordon");
      await page.keyboard.press("Enter");
      await page.getByRole("alertdialog").waitFor();
      await page.locator("[role=alertdialog] :focus").waitFor();
      await page.keyboard.press("Escape");
      await page.locator(":focus", { hasText: "Cordon" }).waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("alertdialog").waitFor();
      await tabTo(page, "Cordon");
      await page.keyboard.press("Enter");
      await page.locator(".page-head").getByText("Cordoned").waitFor();
      await the().api.uncordonWolf({ params: { id: await the().wolfId("ams-amd-1") }, body: {} });
    });
  });
}

/** For pictures: a wolf is unwell, one is lost, and there are figures of some minutes. */
async function bringTrouble({ api, stack }: Stage): Promise<void> {
  await stack.startHost(toBeUnwell);
  await stack.killAgent(toBeLost);
  await stack.until("a wolf is lost", async () => {
    const { body } = await api.getWolf({ params: { id: toBeLost } });
    return body.connectivity === "lost";
  });
  await stack.until("a wolf is unwell", async () => {
    const { body } = await api.getWolf({ params: { id: toBeUnwell.name } });
    return body.status === "degraded";
  });
  const id = (await api.getWolf({ params: { id: "fra-nvidia-1" } })).body.id;
  await stack.until(
    "figures of some minutes",
    async () => (await api.listUsageHistory({ params: { id } })).body.length >= 4,
    500_000,
  );
}

const HOUR_MS = 3_600_000;
const GIB = 2 ** 30;
/** Beyond those that agents fill. */
const SLOT = 1_000_000;

/** For pictures: a sample stands for five minutes, and a day of them is what one wants to see. */
async function fillDisks({ api, prisma }: Stage, wolf: string): Promise<void> {
  const { body } = await api.getWolf({ params: { id: wolf } });
  const disk = body.usage?.disks[0];
  if (!disk) throw new Error("its agent watches no disk");
  const size = disk.used_bytes + disk.available_bytes;
  await prisma.diskSample.createMany({
    data: Array.from({ length: 24 }, (_unused, slot) => {
      // It fills as sessions leave something behind, and is cleaned once.
      const used = Math.round(disk.used_bytes * (0.7 + 0.3 * (((slot + 9) % 24) / 24)));
      return {
        id: newId("dsk"),
        wolf_instance_id: wolf,
        mount: disk.mount,
        slot: SLOT + slot,
        at: new Date(Date.now() - (24 - slot) * HOUR_MS),
        total_bytes: Math.max(disk.total_bytes, GIB),
        used_bytes: used,
        available_bytes: size - used,
        level: "ok",
      };
    }),
  });
}

/** For pictures: a wolf on which something runs is to be empty in some hours. */
async function drainOne({ api, stack }: Stage): Promise<void> {
  const { id } = (await api.getWolf({ params: { id: toBeDrained } })).body;
  await api.drainWolf({ params: { id }, body: { reason: "a new driver", deadline_seconds: 14_400 } });
  await stack.until("it is being drained", async () => {
    const { body } = await api.getWolf({ params: { id } });
    return body.intent === "draining";
  });
}
