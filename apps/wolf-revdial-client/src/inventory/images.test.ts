/** The watch of images beside an emulated Wolf, and beside one that this test plays: what is asked of it, when, and what is made of it. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { WolfImage } from "@wolfpack/api-contract";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { ManualClock } from "revdial/testing";
import { lobby } from "../../test/lobby.ts";
import { createLogger } from "../logger.ts";
import { type WolfLine, wolfLine } from "../wolf-line.ts";
import { type ImageWatch, watchImages } from "./images.ts";

const FIREFOX = "ghcr.io/games-on-whales/firefox:master";
const XFCE = "ghcr.io/games-on-whales/xfce:edge";
const INSPECT = "/api/v1/docker/images/inspect";
const HOUR_MS = 3_600_000;

let clock: ManualClock;
let stop: AbortController;
let watching: Promise<void> | undefined;
let line: WolfLine;
let watch: ImageWatch;
let told: (WolfImage[] | null)[];

beforeEach(() => {
  [clock, stop, watching, told] = [new ManualClock(), new AbortController(), undefined, []];
});

afterEach(async () => {
  stop.abort();
  await watching;
});

function start(port: number): void {
  line = wolfLine({ host: "127.0.0.1", port });
  watch = watchImages({
    line,
    clock,
    log: createLogger("silent"),
    tell: ({ images }) => void told.push(images),
  });
  watching = watch.watch(stop.signal);
}

const until = (holds: () => boolean) =>
  new Promise<void>((resolve) => {
    const look = () => (holds() ? resolve() : void setImmediate(look));
    look();
  });
const shows = (states: Record<string, string>) =>
  until(() => {
    const now = Object.fromEntries((told.at(-1) ?? []).map(({ name, state }) => [name, state]));
    return JSON.stringify(now) === JSON.stringify(states);
  });
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const listOf = (images: unknown[]) => images.map((image) => ({ runner: { type: "docker", image } }));

describe("the images of a Wolf", () => {
  let wolf: WolfEmulator;
  const asked = (path: string) => wolf.requests.filter((request) => request.path.startsWith(path)).length;
  const post = (path: string, body: unknown) =>
    line.ask({ method: "POST", path: `/api/v1${path}`, body: JSON.stringify(body), timeoutMs: 5000 });
  async function sawLobbies(): Promise<void> {
    watch.saw((await line.ask({ method: "GET", path: "/api/v1/lobbies", timeoutMs: 5000 })).body);
  }

  beforeEach(async () => {
    wolf = await startWolfEmulator({ listen: { port: 0 }, containerStartDelayMs: 0, stallMs: 100 });
    start(Number(wolf.address.split(":")[1]));
  });
  afterEach(() => wolf.close());

  it("are those of its apps and lobbies, present or absent, each asked for once", async () => {
    await shows({ [FIREFOX]: "absent" });
    await post("/lobbies/create", { ...lobby, runner: { ...lobby.runner, image: XFCE } });
    await sawLobbies();
    await shows({ [FIREFOX]: "absent", [XFCE]: "present" });
    expect(told.at(-1)?.[1]).toEqual({
      name: XFCE,
      state: "present",
      id: "sha256:abc",
      digest: null,
      size_bytes: 123,
      created_at: null,
    });
    await sawLobbies();
    watch.announce();
    expect(told.at(-1)).toHaveLength(2);
    expect(asked(INSPECT)).toBe(2);
  });

  it("are asked for again when one was pulled, with what identifies it", async () => {
    await shows({ [FIREFOX]: "absent" });
    await post("/docker/images/pull", { image_name: FIREFOX });
    watch.heard("DockerPullImageEndEvent", { image_name: FIREFOX, success: true });
    await shows({ [FIREFOX]: "present" });
    expect(told.at(-1)).toEqual([
      {
        name: FIREFOX,
        state: "present",
        id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        size_bytes: 1_234_567_890,
        created_at: "2026-06-01T10:00:00.123Z",
      },
    ]);
  });

  it("of a lobby that were absent are asked for again when a container was created, those of apps are not", async () => {
    await shows({ [FIREFOX]: "absent" });
    watch.heard("wolf::core::events::DockerContainerCreated", {});
    watch.heard("wolf::core::events::CreateLobbyEvent", { runner: { type: "docker", image: FIREFOX } });
    await post("/lobbies/create", { ...lobby, runner: { ...lobby.runner, image: FIREFOX } });
    await until(() => wolf.lobbies()[0]?.state === "running");
    expect(asked(INSPECT)).toBe(1);
    watch.heard("wolf::core::events::DockerContainerCreated", {});
    await shows({ [FIREFOX]: "present" });
    expect(asked(INSPECT)).toBe(2);
  });

  it("are met when a lobby is created, before it is listed", async () => {
    await shows({ [FIREFOX]: "absent" });
    watch.heard("wolf::core::events::CreateLobbyEvent", { runner: { type: "docker", image: XFCE } });
    await shows({ [FIREFOX]: "absent", [XFCE]: "present" });
  });

  it("are all asked for again every hour, since images are removed without an event", async () => {
    await shows({ [FIREFOX]: "absent" });
    await until(() => clock.pending === 1);
    await clock.advance(HOUR_MS - 1);
    expect(asked("/api/v1/apps")).toBe(1);
    await clock.advance(1);
    await until(() => asked(INSPECT) === 2);
    expect(asked("/api/v1/apps")).toBe(2);
    expect(told).toHaveLength(1);
  });

  it("are not asked for while a lobby is being created", async () => {
    await shows({ [FIREFOX]: "absent" });
    wolf.fail({ on: "POST /api/v1/lobbies/create", mode: "stall", times: 1 });
    const creation = post("/lobbies/create", lobby);
    await until(() => asked("/api/v1/lobbies/create") === 1);
    watch.heard("DockerPullImageEndEvent", { image_name: "late:1", success: true });
    await line.ask({ method: "GET", path: "/api/v1/lobbies", timeoutMs: 5000 });
    expect(asked(INSPECT)).toBe(1);
    await creation;
    await shows({ [FIREFOX]: "absent", "late:1": "absent" });
  });
});

describe("a Wolf that answers otherwise", () => {
  let server: Server;
  let apps: unknown;
  let inspected: (response: ServerResponse, request: IncomingMessage) => void;
  let urls: string[];
  let openMax: number;

  beforeEach(async () => {
    let open = 0;
    [apps, urls, openMax] = [{ apps: listOf(["a:1"]) }, [], 0];
    inspected = (response) => void response.end(json({ Id: "sha256:1" }));
    server = createServer((request, response) => {
      urls.push(request.url ?? "");
      open += 1;
      openMax = Math.max(openMax, open);
      response.on("close", () => {
        open -= 1;
      });
      if (request.url?.startsWith(INSPECT)) return inspected(response, request);
      response.end(json(apps));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const begin = () => start((server.address() as AddressInfo).port);

  it.each<[string, number, unknown]>([
    ["an id that is none", 200, { Id: "abc" }],
    ["no id", 200, { RepoTags: [] }],
    ["a list", 200, []],
    ["another refusal", 400, { success: false, error: "Invalid request format" }],
    ["a fault", 500, { success: false, error: "docker is gone" }],
    ["another 404", 404, { error: "no such page" }],
  ])("with %s says nothing of the image", async (_what, status, body) => {
    inspected = (response) => void response.writeHead(status).end(json(body));
    begin();
    await shows({ "a:1": "unknown" });
  });

  it("with odd figures says what is left of them", async () => {
    const odd = { Id: "sha256:12", RepoDigests: ["a@md5:1", "b"], Size: -1, Created: "yesterday" };
    inspected = (response) => void response.end(json(odd));
    begin();
    await shows({ "a:1": "present" });
    expect(told[0]).toMatchObject([{ id: "sha256:12", digest: null, size_bytes: null, created_at: null }]);
  });

  it("with several digests says that of the repository it was asked for", async () => {
    apps = { apps: listOf(["host:5000/b/a:1"]) };
    const RepoDigests = ["other/a@sha256:aa", "host:5000/b/a@sha256:bb"];
    inspected = (response) => void response.end(json({ Id: "sha256:1", RepoDigests }));
    begin();
    await shows({ "host:5000/b/a:1": "present" });
    expect(told[0]).toMatchObject([{ digest: "sha256:bb" }]);
  });

  it("with a broken reply is asked again", async () => {
    let broken = 0;
    inspected = (response, { socket }) => {
      broken += 1;
      if (broken > 3) return void response.end(json({ Id: "sha256:1" }));
      socket.end("HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{");
    };
    begin();
    await shows({ "a:1": "present" });
    expect(broken).toBe(4);
  });

  it("without the route, or with no list that can be read, has no images that are known", async () => {
    inspected = (response) => void response.writeHead(404, { "content-length": 0 }).end();
    apps = { apps: listOf(["a:1", "b:1"]) };
    begin();
    await until(() => told.length === 1);
    watch.saw(json({ lobbies: listOf(["c:1"]) }));
    watch.heard("wolf::core::events::DockerContainerCreated", {});
    expect(told).toEqual([null]);
    expect(urls.filter((url) => url.startsWith(INSPECT))).toHaveLength(1);
    stop.abort();
    await watching;
    stop = new AbortController();
    [apps, told] = [{ success: false, error: "Moonlight profile not found" }, []];
    begin();
    await until(() => told.length === 1);
    expect(told).toEqual([null]);
  });

  it("with very many images is asked for 24 of them, one at a time, those of lobbies first", async () => {
    apps = { apps: listOf(Array.from({ length: 100 }, (_, i) => `app:${i}`)) };
    begin();
    watch.saw(json({ lobbies: listOf(["lobby:1", "lobby:2", "lobby:1"]) }));
    await until(() => told.at(-1)?.length === 24);
    expect(told.at(-1)?.map(({ name }) => name)).toEqual(expect.arrayContaining(["lobby:1", "lobby:2"]));
    expect(urls.filter((url) => url.startsWith(INSPECT))).toHaveLength(24);
    expect(openMax).toBe(1);
  });

  it("with names that are no images, or lists that are none, is not asked for them", async () => {
    apps = {
      apps: [
        ...listOf(["a b", "a/../b", "x\r\ny", "", 1, null, "x".repeat(256), "a:1"]),
        null,
        { runner: 1 },
      ],
    };
    begin();
    for (const list of ["{", "[]", "null", '{"lobbies":{}}', '{"lobbies":[{"runner":{"image":"?x=y"}}]}'])
      watch.saw(Buffer.from(list));
    for (const image_name of ["a b", "a=b", 1, undefined])
      watch.heard("DockerPullImageEndEvent", { image_name, success: true });
    for (const runner of [null, { image: "a b" }, { type: "process", run_cmd: "x" }])
      watch.heard("wolf::core::events::CreateLobbyEvent", { runner });
    await shows({ "a:1": "present" });
    expect(urls).toEqual(["/api/v1/apps", `${INSPECT}?image_name=a:1`]);
  });

  it("that is gone says nothing, and is not in the way of the end", async () => {
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    start(port);
    await until(() => told.length === 1);
    expect(told).toEqual([null]);
    await once(server.listen(0, "127.0.0.1"), "listening");
  });
});
