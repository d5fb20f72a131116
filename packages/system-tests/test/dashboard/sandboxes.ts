/** Sessions: wished for, seen, used, ended, and waited for. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import { confirm, isLive, mark, rowOf, shows } from "./looking.ts";
import type { Stage } from "./stage.ts";

/** More than a page of a list. */
const NEWER = 201;

export function describeSandboxes(the: () => Stage): void {
  describe("sandboxes", () => {
    afterEach(() => the().tidy());
    const until = (what: string, holds: () => Promise<boolean>) => the().stack.until(what, holds);

    describe("a session", () => {
      it("is wished for, shown where it would go and why, made, looked at, used and stopped", async () => {
        const { page } = await the().open("user", "/sessions");
        await page.getByText("No session lives now").waitFor();
        await page.getByRole("link", { name: "New session" }).click();
        await page.getByLabel("Name", { exact: true }).fill("design review");
        await page.getByLabel("GPU", { exact: true }).selectOption("nvidia");
        await page.getByLabel("Region", { exact: true }).fill("eu-central");
        await page
          .locator(".create-verdict")
          .getByText("It would start on")
          .getByRole("link", { name: "fra-nvidia-1" })
          .waitFor();
        await page.getByRole("button", { name: "Create session" }).click();
        await page.getByRole("heading", { name: "design review" }).waitFor();
        await page.locator(".page-head").getByText("Running").waitFor();

        const screen = page.getByRole("img", { name: "The screen of design review" });
        await screen.waitFor();
        const shown = await screen.evaluate(async (image) => {
          const { decode, naturalWidth, src } = image as unknown as {
            decode: () => Promise<void>;
            naturalWidth: number;
            src: string;
          };
          await decode.call(image);
          return { naturalWidth, scheme: src.split(":")[0] };
        });
        expect(shown).toEqual({ naturalWidth: expect.any(Number), scheme: "blob" });
        expect(shown.naturalWidth).toBeGreaterThan(100);
        await page.getByRole("table").filter({ hasText: "Which wolves could take it" }).waitFor();
        await page.locator(".explain-taken").getByText("fra-nvidia-1").waitFor();

        const text = 'copied <b>here</b> "und" – 狼';
        await page.getByLabel("Text", { exact: true }).fill(text);
        await page.getByRole("button", { name: "Send to session" }).click();
        await page.getByText("The session's clipboard has this text now").first().waitFor();
        await page.getByLabel("Text", { exact: true }).fill("");
        await page.getByRole("button", { name: "Read from session" }).click();
        await page.getByText("The clipboard was read").first().waitFor();
        expect(await page.getByLabel("Text", { exact: true }).inputValue()).toBe(text);

        await page.getByRole("button", { name: "Stop", exact: true }).click();
        await confirm(page, "Stop");
        await page.locator(".page-head").getByText("Stopped").waitFor();
        await page.getByText("It has ended").waitFor();
      });

      it("that no wolf could take is not promised: it is said what would have to change", async () => {
        const { page } = await the().open("user", "/sessions/new?gpu=intel");
        await page.getByLabel("GPU", { exact: true }).selectOption("intel");
        await page.getByText("No wolf could ever take it").waitFor();
        await page.getByRole("region", { name: "What would help" }).waitFor();
        await page.getByLabel("PIN").fill("12");
        await page.getByText("Something is to be put right").waitFor();
        expect(await page.getByRole("button", { name: "Create session" }).isDisabled()).toBe(true);
      });

      it("that has lived for long is on its wolf's page, however many newer ones have ended there", async () => {
        const { api, prisma } = the();
        const { body } = await api.createSession({ body: { name: "runs for long", gpu_type: "amd" } });
        const row = await prisma.session.findUniqueOrThrow({ where: { id: body.id } });
        const { owner_id, wolf_instance_id, created_at, spec, placement } = row;
        const ids = Array.from({ length: NEWER }, () => newId("ses"));
        await prisma.session.createMany({
          data: ids.map((id) => ({
            id,
            owner_id,
            wolf_instance_id,
            name: "has ended",
            status: "stopped",
            slot_held: false,
            spec: spec ?? {},
            placement: placement ?? {},
            created_at,
            updated_at: created_at,
            ended_at: created_at,
          })),
        });
        const { page } = await the().open("admin", `/wolves/${wolf_instance_id}?tab=sessions`);
        await shows(page, ["runs for long"]);
        await api.stopSession({ params: { id: body.id } });
        await page.getByText("No session lives here").waitFor();
        await prisma.session.deleteMany({ where: { id: { in: ids } } });
      });

      it("that somebody else makes and ends comes and goes in the list by itself", async () => {
        const { page } = await the().open("operator", "/sessions");
        await page.getByText("No session lives now").waitFor();
        await isLive(page);
        const isSame = await mark(page);
        const { body } = await the().api.createSession({
          body: { name: "of the admin", gpu_type: "nvidia" },
        });
        await rowOf(page, "of the admin").getByText("Running").waitFor();
        await the().api.stopSession({ params: { id: body.id } });
        await page.getByText("No session lives now").waitFor();
        expect(await isSame()).toBe(true);
      });
    });

    describe("the queue", () => {
      it("fills, moves and empties in sight, and is left by whoever is sent away", async () => {
        const { api } = the();
        const make = async (name: string) =>
          (await api.createSession({ body: { name, gpu_type: "amd", wait_seconds: 0 } })).body.id;
        const running = await Promise.all(["one", "two", "three"].map(make));
        await until("all three run", async () => {
          const { body } = await api.listSessions({ query: { status: "running" } });
          return body.length === 3;
        });
        const { page } = await the().open("operator", "/queue");
        await page.getByText("Nobody waits").waitFor();
        await isLive(page);
        const waiting = [await make("waits first"), await make("waits second")];
        await shows(page, ["waits first", "waits second"]);
        const { page: wishing } = await the().open("operator", "/sessions/new?gpu=amd");
        const verdict = wishing.locator(".create-verdict");
        // Owners take turns; who has a higher priority does not wait for them.
        await verdict.getByText("It would wait at place 2").waitFor();
        await wishing.getByLabel("Priority").selectOption("9");
        await verdict.getByText("It would wait at place 1").waitFor();
        await wishing.getByLabel("Wait in the queue while there is no room").uncheck();
        await verdict.getByText("It would be refused").waitFor();
        await verdict.getByText("it is not to wait").waitFor();
        await page.getByRole("button", { name: "Cancel waits first" }).click();
        await confirm(page, "Cancel session");
        await shows(page, ["waits second"]);
        await api.stopSession({ params: { id: running[0] ?? "" } });
        await page.getByText("Nobody waits").waitFor();
        for (const id of [...running.slice(1), ...waiting.slice(1)])
          await api.stopSession({ params: { id } });
      });
    });
  });
}
