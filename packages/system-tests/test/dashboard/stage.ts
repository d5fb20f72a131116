/** One fleet and one browser for all tests of the dashboard, and a watch over everything that goes wrong in a page. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import type { WolfpackClient } from "@wolfpack/api-contract";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { createPrisma } from "@wolfpack/control-plane/parts";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launchBrowser } from "../../src/browser.ts";
import { type HostPlan, root, Stack } from "../../src/stack.ts";

export type RoleName = "admin" | "operator" | "user" | "viewer";
export const desktop = { width: 1440, height: 900 };
export const phone = { width: 360, height: 740 };
const WAIT_MS = 20_000;

/** Pictures of the pages are written only when somebody asks: they differ a little each time. */
export const isWriting = process.env.WOLFPACK_WRITE_IMAGES === "1";
// The control plane refuses settings that it does not know.
delete process.env.WOLFPACK_WRITE_IMAGES;
const images = path.join(root, "docs", "images");

/** Figures of a graphics card as its tool prints them, other ones each time. */
const smi = (model: string, mib: number, cards: number) => `#!/bin/sh
exec /usr/bin/awk -v t="$(/bin/date +%s)" 'BEGIN { srand(t); for (i = 1; i <= ${cards}; i++)
  printf "00000000:0%d:00.0, ${model}, 565.57, ${mib}, %d, %d, %d, %d\\n", i, ${mib} * (0.2 + 0.4 * rand()), 25 + 45 * rand(), 4 * rand(), 30 * rand() }'
`;

function host(name: string, gpu: "nvidia" | "amd", maxSandboxes: number, region: string): HostPlan {
  return { name, gpu, maxSandboxes, agentFlags: { "--region": region, "--label": `zone=${region}-a` } };
}

function withCards(plan: HostPlan, model: string, mib: number, cards: number): HostPlan {
  const between = async (socket: string) => {
    const tool = path.join(path.dirname(socket), "nvidia-smi");
    writeFileSync(tool, smi(model, mib, cards));
    chmodSync(tool, 0o755);
    return socket;
  };
  return { ...plan, between };
}

const hosts: readonly HostPlan[] = [
  withCards(host("fra-nvidia-1", "nvidia", 4, "eu-central"), "NVIDIA GeForce RTX 4090", 24_564, 2),
  withCards(host("ams-nvidia-1", "nvidia", 2, "eu-west"), "NVIDIA RTX A6000", 49_140, 1),
  host("ams-amd-1", "amd", 3, "eu-west"),
];
/** More to see in a picture; of some of them in trouble, once all are online. */
const moreHosts: readonly HostPlan[] = [
  withCards(host("fra-nvidia-2", "nvidia", 6, "eu-central"), "NVIDIA L40S", 46_068, 2),
  withCards(host("iad-nvidia-1", "nvidia", 4, "us-east"), "NVIDIA GeForce RTX 4090", 24_564, 1),
  withCards(host("sin-nvidia-1", "nvidia", 2, "ap-south"), "NVIDIA L4", 23_034, 1),
];
const iad = host("iad-nvidia-2", "nvidia", 4, "us-east");
/** Every host has taken one percent of its disk: it is degraded as soon as it is there. */
export const toBeUnwell: HostPlan = {
  ...iad,
  agentFlags: { ...iad.agentFlags, "--disk-warning-percent": "1", "--disk-critical-percent": "1" },
};
export const toBeDrained = "fra-nvidia-2";
export const toBeLost = "sin-nvidia-1";
const shownHosts = isWriting ? [...hosts, ...moreHosts] : hosts;

export interface Opened {
  page: Page;
  /** What went wrong in it; whoever expects some of it takes it out. */
  faults: string[];
}

export interface View {
  size?: { width: number; height: number };
  theme?: "light" | "dark";
  /** A browser of its own, signed in as nobody. */
  fresh?: boolean;
}

export class Stage {
  readonly stack: Stack;
  readonly api: WolfpackClient;
  readonly prisma: ReturnType<typeof createPrisma>;
  readonly keys: Record<RoleName, string>;
  readonly userIds: Partial<Record<RoleName, string>>;
  private readonly browser: Browser;
  private readonly contexts = new Map<RoleName, Promise<BrowserContext>>();
  private readonly shown: Opened[] = [];
  private readonly ownContexts: BrowserContext[] = [];
  private readonly endings: (() => Promise<unknown>)[];

  private constructor(
    parts: Pick<Stage, "stack" | "prisma" | "keys" | "userIds"> & {
      browser: Browser;
      endings: (() => Promise<unknown>)[];
    },
  ) {
    this.stack = parts.stack;
    this.api = parts.stack.client();
    this.prisma = parts.prisma;
    this.keys = parts.keys;
    this.userIds = parts.userIds;
    this.browser = parts.browser;
    this.endings = parts.endings;
  }

  static async start(chrome: string): Promise<Stage> {
    const folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-dashboard-"));
    const endings: (() => Promise<unknown>)[] = [
      async () => rmSync(folder, { recursive: true, force: true }),
    ];
    try {
      const launching = launchBrowser(chrome);
      endings.unshift(() => launching.then((browser) => browser.close()));
      const postgres = await startEmbeddedPostgres({
        dataDir: path.join(folder, "postgres"),
        durable: false,
      });
      endings.unshift(() => postgres.stop());
      const stack = await Stack.start({
        dataDir: path.join(folder, "data"),
        port: 0,
        hosts: shownHosts,
        env: settings(postgres.url),
        say: () => undefined,
        onCrash: () => undefined,
      });
      endings.unshift(() => stack.stop());
      const prisma = createPrisma(postgres.url);
      endings.unshift(() => prisma.$disconnect());
      const people = await makePeople(stack);
      return new Stage({ stack, prisma, ...people, browser: await launching, endings });
    } catch (error) {
      for (const end of endings) await end().catch(() => undefined);
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const end of this.endings) await end();
  }

  /** A page of the dashboard for somebody who has signed in already. */
  async open(who: RoleName, address: string, view: View = {}): Promise<Opened> {
    const context = view.fresh ? await this.newContext() : await this.contextOf(who);
    if (view.fresh) this.ownContexts.push(context);
    const page = await context.newPage();
    const opened = { page, faults: watch(page) };
    this.shown.push(opened);
    await page.setViewportSize(view.size ?? desktop);
    await page.emulateMedia({ colorScheme: view.theme ?? "light", reducedMotion: "reduce" });
    await page.goto(`${this.url}${address}`);
    return opened;
  }

  /** As browsers trust it without a certificate. */
  get url(): string {
    return this.stack.baseUrl.replace("127.0.0.1", "localhost");
  }

  async wolfId(name: string): Promise<string> {
    return (await this.api.getWolf({ params: { id: name } })).body.id;
  }

  /** No session lives on and every host takes new ones, whatever a test left. */
  async tidy(): Promise<void> {
    const { body } = await this.api.listSessions({ query: { limit: 200 } });
    const live = body.filter(({ status }) => status !== "stopped" && status !== "failed");
    await Promise.all(live.map(({ id }) => this.api.stopSession({ params: { id } })));
    for (const { name } of shownHosts) {
      const { body: wolf } = await this.api.getWolf({ params: { id: name } });
      if (wolf.intent !== "active") await this.api.uncordonWolf({ params: { id: wolf.id }, body: {} });
    }
  }

  /** What went wrong in the pages of a test, which are closed. */
  async clear(): Promise<string[]> {
    const opened = this.shown.splice(0);
    const faults = opened.flatMap((one) => one.faults);
    await Promise.all(opened.map(({ page }) => page.close()));
    await Promise.all(this.ownContexts.splice(0).map((context) => context.close()));
    return faults;
  }

  private contextOf(who: RoleName): Promise<BrowserContext> {
    const known = this.contexts.get(who);
    if (known) return known;
    const made = this.signedIn(who);
    this.contexts.set(who, made);
    return made;
  }

  private async newContext(): Promise<BrowserContext> {
    const context = await this.browser.newContext();
    context.setDefaultTimeout(WAIT_MS);
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.url });
    return context;
  }

  private async signedIn(who: RoleName): Promise<BrowserContext> {
    const context = await this.newContext();
    const page = await context.newPage();
    await page.goto(`${this.url}/login`);
    await signIn(page, this.keys[who]);
    await page.close();
    return context;
  }
}

export async function signIn(page: Page, key: string): Promise<void> {
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

const settings = (databaseUrl: string) => ({
  DATABASE_URL: databaseUrl,
  HOST: "127.0.0.1",
  API_KEY_SECRET: "a secret of the tests, which is not one",
  LOG_LEVEL: "info",
  WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
  WOLFPACK_RECONCILE_INTERVAL_SECONDS: "2",
  WOLFPACK_USER_CREATES_PER_MINUTE: "10000",
  // Everything comes from one address.
  WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: "1000000",
  WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: "1000000",
});

async function makePeople(stack: Stack): Promise<Pick<Stage, "keys" | "userIds">> {
  const api = stack.client();
  const keys: Record<RoleName, string> = { admin: stack.adminKey, operator: "", user: "", viewer: "" };
  const userIds: Partial<Record<RoleName, string>> = {};
  for (const [name, role] of [
    ["olga", "operator"],
    ["uma", "user"],
    ["vera", "viewer"],
  ] as const) {
    const { body: user } = await api.createUser({ body: { name, role } });
    const { body: key } = await api.createApiKey({ body: { name: "browser", user_id: user.id } });
    keys[role] = key.key;
    userIds[role] = user.id;
  }
  return { keys, userIds };
}

function watch(page: Page): string[] {
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // Answers that are no success are seen as such.
    if (!/^(error|warning)$/.test(message.type()) || /^Failed to load resource/.test(message.text())) return;
    faults.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText ?? "";
    // Whoever leaves a page gives up what it asked for.
    if (why !== "net::ERR_ABORTED")
      faults.push(`${why} ${request.method()} ${new URL(request.url()).pathname}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400)
      faults.push(`${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`);
  });
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  return faults;
}

/** As a file for the documents, when that is wanted; the `whole` page also where it is longer than the window. */
export async function picture(page: Page, name: string, whole = false): Promise<void> {
  if (!isWriting) return;
  mkdirSync(images, { recursive: true });
  const window = page.viewportSize();
  // A longer window, not Playwright's `fullPage`: the frame beside the page is as high as the window.
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  if (whole && window && height > window.height) await page.setViewportSize({ ...window, height });
  await page.screenshot({ path: path.join(images, `${name}.png`), animations: "disabled", caret: "hide" });
  if (whole && window) await page.setViewportSize(window);
}

const axeFile = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
let axeSource: string | undefined;

/** What axe finds serious or critical in what is shown; by all of its rules, or `only` some. */
export async function seriousFindings(page: Page, only?: readonly string[]): Promise<string[]> {
  axeSource ??= readFileSync(axeFile, "utf8");
  // Not as an element of the page: its policy allows no foreign script.
  if (!(await page.evaluate("typeof axe === 'object'"))) await page.evaluate(axeSource);
  return page.evaluate(async (rules) => {
    const { axe } = globalThis as unknown as {
      axe: {
        run: (options: object) => Promise<{
          violations: {
            id: string;
            impact: string;
            nodes: { target: unknown[]; failureSummary: string }[];
          }[];
        }>;
      };
    };
    const { violations } = await axe.run({
      resultTypes: ["violations"],
      preload: false,
      ...(rules && { runOnly: rules }),
    });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) =>
        nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")} ${failureSummary}`),
      );
  }, only);
}
