/** Names, labels and pictures from hosts and users that want to be more than that: they are shown, and nothing else. */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "@wolfpack/control-plane/parts";
import type { Page } from "playwright-core";
import type { Stage } from "./stage.ts";

const MARKUP = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
const ANSI = "\u001b[31mred\u001b]0;title\u0007";
/** What follows reads backwards where somebody believes it. */
const TURNED = "gpu\u202egnp.exe";

/** A PNG as far as anybody looks: its first chunk says how large the picture is. */
function pngHead(width: number, height: number): Buffer {
  const head = Buffer.from("89504e470d0a1a0a0000000d49484452000000000000000008020000000000000000", "hex");
  head.writeUInt32BE(width, 16);
  head.writeUInt32BE(height, 20);
  return head;
}

interface HostileScreen {
  what: string;
  type: string;
  body: () => Buffer;
  says: string;
  /** The control plane passes it on. */
  arrives?: true;
}

const screens: readonly HostileScreen[] = [
  {
    what: "a page",
    type: "image/png",
    body: () => Buffer.from(`<!doctype html>${MARKUP}`),
    says: "no PNG or JPEG",
  },
  {
    what: "a drawing with a script",
    type: "image/svg+xml",
    body: () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(3)"/>'),
    says: "no PNG or JPEG",
  },
  {
    what: "50 MB",
    type: "image/png",
    body: () => Buffer.concat([pngHead(1920, 1080), Buffer.alloc(50_000_000)]),
    says: "larger than 20 MiB",
  },
  {
    what: "a small file that would be a picture of 10 gigapixels",
    type: "image/png",
    body: () => pngHead(100_000, 100_000),
    says: "It is larger than any screen.",
    arrives: true,
  },
];

const of = { concurrent_max: 1, waiting_max: 1, wait_ms: 1000, timeout_ms: 1000 };
const hostilePolicy = {
  guard: "agent",
  unknown_because: null,
  policy: {
    open: [MARKUP],
    closed: [{ route: ANSI, because: MARKUP }],
    mount_folders: [MARKUP],
    state_folders: [ANSI],
    helix_homes: TURNED,
    image_prefixes: [MARKUP],
    process_runners: true,
    base_create_json: true,
    pipelines: true,
    secrets: true,
    limits: { read: of, change: of, create: of, pull: of },
  },
};

export function describeHostility(the: () => Stage): void {
  describe("hostility", () => {
    const ids: string[] = [];
    const hostile = () => ids[0] ?? "";

    /** Elements that only foreign markup would have made. */
    const injected = (page: Page) =>
      page.locator('img[src="x"], [onerror], [onload], body script, #main script, #main svg[onload]').count();

    /** What is read, heard, pointed at or chosen from, also outside the page itself. */
    const everyText = (page: Page) =>
      page.evaluate(() => {
        const said = ["title", "aria-label", "alt", "placeholder", "value"];
        const texts: (string | null | undefined)[] = [
          document.title,
          document.getElementById("main")?.textContent,
          document.querySelector("[role=dialog]")?.textContent,
        ];
        for (const element of document.querySelectorAll("*"))
          for (const name of said) texts.push(element.getAttribute(name));
        return texts.join("\n");
      });

    const deceives = async (page: Page) =>
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there
      /[\u001b\u0007\u202e]/.test(await everyText(page)) || (await injected(page)) > 0;

    /** What its host would say, had it an agent; what the control plane says, with something else in it. */
    const answersWith = (page: Page, address: RegExp, json: (said: object) => unknown) =>
      page.route(address, async (route) => {
        const isOurs = route.request().url().includes("/health");
        const said = isOurs ? ((await (await route.fetch()).json()) as object) : {};
        await route.fulfill({ json: json(said) });
      });

    const auditId = newId("aud");

    beforeAll(async () => {
      ids.push(newId("wlf"));
      await the().prisma.wolfInstance.create({
        data: {
          id: hostile(),
          name: MARKUP,
          address: MARKUP,
          connectivity: "connected",
          last_heartbeat: new Date(),
          health: "degraded",
          health_reasons: [{ code: "wolf-restarted", detail: `${ANSI} ${MARKUP}` }],
          intent_reason: MARKUP,
          gpu_type: "nvidia",
          gpu_model: TURNED,
          region: MARKUP,
          agent_version: ANSI,
          labels: { [MARKUP]: ANSI, tier: MARKUP },
          images: [
            { name: MARKUP, id: null, digest: null, state: "present", size_bytes: 1, created_at: null },
          ],
          wolf_capabilities: { schema_hash: ANSI, features: [MARKUP], missing: [MARKUP] },
        },
      });
      await the().prisma.agentKey.create({
        data: {
          id: newId("agk"),
          wolf_instance_id: hostile(),
          public_key: new Uint8Array(32).fill(7),
          status: "pending",
          enrolled_by: TURNED,
          created_at: new Date(),
          expires_at: new Date(Date.now() + 3_600_000),
        },
      });
      await the().prisma.auditEvent.create({
        data: {
          id: auditId,
          at: new Date(),
          actor: "agent",
          actor_id: hostile(),
          action: "wolf.register",
          object: hostile(),
          result: "denied",
          code: ANSI,
          request_id: TURNED,
          replica: MARKUP,
          address: ANSI,
          detail: { [MARKUP]: ANSI, name: MARKUP },
        },
      });
    });

    afterEach(() => the().tidy());

    afterAll(async () => {
      await the().prisma.wolfInstance.deleteMany({ where: { id: { in: ids } } });
    });

    describe("hostile names and labels", () => {
      it("are text wherever a wolf is shown, with what deceives the eye made visible", async () => {
        const { page } = await the().open("admin", "/");
        const seen: string[] = [];
        for (const address of [
          "/",
          "/topology",
          `/wolves/${hostile()}`,
          `/wolves/${hostile()}?tab=capabilities`,
          `/wolves/${hostile()}?tab=events`,
          "/events?kind=wolf.*",
          "/queue",
          "/sessions/new",
        ]) {
          await page.goto(`${the().url}${address}`);
          if (!/queue|new/.test(address))
            await page.locator("#main").getByText(MARKUP).filter({ visible: true }).first().waitFor();
          await page.locator(".skeleton").first().waitFor({ state: "detached" });
          if (await deceives(page)) seen.push(address);
        }
        expect(seen).toEqual([]);
      });

      it("are text in what is asked of its host, in the checks, in the audit log and among agents' keys", async () => {
        const { page } = await the().open("admin", "/login");
        await answersWith(page, /\/lobbies$/, () => [
          { id: ANSI, name: MARKUP, session_id: null, is_live: false, viewers: 1, pin_required: false },
        ]);
        await answersWith(page, /\/policy$/, () => hostilePolicy);
        await answersWith(page, /\/api\/v1\/health$/, (report) => ({
          ...report,
          version: ANSI,
          checks: [{ id: "C01", title: MARKUP, status: "failed", detail: ANSI, advice: TURNED, ms: 1 }],
        }));
        const seen: string[] = [];
        // Not anywhere in the page: its head has the wolf's name before anything else is there.
        for (const [address, place] of [
          [`/wolves/${hostile()}?tab=sessions`, ".wolf-tab"],
          [`/wolves/${hostile()}?tab=policy`, ".wolf-tab"],
          ["/health", ".health-checks"],
          [`/audit?object=${hostile()}&entry=${auditId}`, "[role=dialog]"],
          ["/access?tab=agents", "tbody"],
        ] as const) {
          await page.goto(`${the().url}${address}`);
          await page.locator(".skeleton").first().waitFor({ state: "detached" });
          await page.locator(place).getByText(MARKUP).filter({ visible: true }).first().waitFor();
          if (await deceives(page)) seen.push(address);
        }
        expect(seen).toEqual([]);
      });

      it("of a session are text on its page, in its title and in questions about it", async () => {
        const { body } = await the().api.createSession({
          body: { name: MARKUP.slice(0, 100), gpu_type: "amd" },
        });
        const { page } = await the().open("admin", `/sessions/${body.id}`);
        await page.getByRole("heading", { name: MARKUP }).waitFor();
        await page.getByRole("button", { name: "Stop", exact: true }).click();
        await page.getByRole("alertdialog").getByText(MARKUP).first().waitFor();
        expect(await injected(page)).toBe(0);
        await page.waitForFunction(
          (title) => document.title === title,
          `${MARKUP.slice(0, 80)}${MARKUP.length > 80 ? "…" : ""} – Session – Wolfpack`,
        );
      });

      it("in an address lead nowhere, and to nobody else", async () => {
        const { page, faults } = await the().open("admin", `/wolves/${encodeURIComponent(MARKUP)}x`);
        await page.getByRole("alert").waitFor();
        expect(await injected(page)).toBe(0);
        faults.splice(0);
        await page.goto(
          `${the().url}/?q=${encodeURIComponent(`${MARKUP} zzz`)}&status=${encodeURIComponent(MARKUP)}&sort=-nothing`,
        );
        await page.getByText("No wolf fits").waitFor();
        expect(await injected(page)).toBe(0);
        await page.goto(`${the().url}/no/such/page`);
        await page.getByText("There is no such page").waitFor();
        const own = await the().open("viewer", `/login?next=${encodeURIComponent("https://example.com/")}`, {
          fresh: true,
        });
        await own.page.getByLabel("API key").fill(the().keys.viewer);
        await own.page.getByRole("button", { name: "Sign in" }).click();
        await own.page.getByRole("heading", { name: "Fleet", exact: true }).waitFor();
        expect(new URL(own.page.url()).origin).toBe(the().url);
      });
    });

    describe("a hostile screen", () => {
      let server: Server | undefined;

      afterEach(async () => {
        server?.closeAllConnections();
        await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
        server = undefined;
      });

      it.each(screens)(
        "that sends $what is not shown, and it is said why",
        async ({ type, body, says, arrives }) => {
          const { body: session } = await the().api.createSession({
            body: { name: "screen", gpu_type: "amd" },
          });
          const socket = path.join(the().stack.folderOf("ams-amd-1"), "wolfpack", session.id, "screen.sock");
          rmSync(socket);
          server = createServer((_request, response) => {
            response.writeHead(200, { "content-type": type });
            response.on("error", () => undefined).end(body());
          }).listen(socket);
          await once(server, "listening");
          const { page, faults } = await the().open("admin", `/sessions/${session.id}`);
          await page.locator(".session-screen-note").getByText(says).waitFor();
          expect(await page.locator(".session-picture").count()).toBe(0);
          expect(await injected(page)).toBe(0);
          const refusals = new Set(faults.splice(0));
          expect([...refusals]).toEqual(arrives ? [] : [expect.stringMatching(/^502 GET .*\/screenshot$/)]);
        },
      );
    });
  });
}
