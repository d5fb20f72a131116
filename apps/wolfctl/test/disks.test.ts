/** How full a wolf's disks are: the same figure as `df` and the dashboard show, and how that went. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { DiskUsage } from "@wolfpack/api-contract";
import { diskView } from "../src/views/disk-view.ts";
import { share } from "../src/views/wolf-view.ts";
import { machine } from "./edges.ts";
import { aDiskSample, aWolf, wolfId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

describe("the fill of a disk", () => {
  it("is of what may be used: what a file system keeps for root is not free", () => {
    expect(share({ used_bytes: 31, available_bytes: 69 })).toBe(0.31);
    const used = diskView([]).columns.find(({ title }) => title === "USED");
    const disk = { mount: "/", total_bytes: 240, used_bytes: 31, available_bytes: 69, level: "ok" as const };
    expect(used?.of(disk)).toMatch(/ 31 %$/);
  });

  it("of one that is empty, or of no size, is nothing", () => {
    expect(share({ used_bytes: 0, available_bytes: 5 })).toBe(0);
    expect(share({ used_bytes: 0, available_bytes: 0 })).toBe(0);
  });
});

describe("wolves disk", () => {
  let server: ScriptedServer;
  let here: ReturnType<typeof machine>;
  beforeAll(async () => {
    server = await scriptedServer();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    server.asked.length = 0;
    here = machine(server.url);
  });
  afterEach(() => here.remove());

  const GIB = 1024 ** 3;
  const disk = (mount: string, used: number, level: DiskUsage["level"] = "ok"): DiskUsage => ({
    mount,
    total_bytes: 100 * GIB,
    used_bytes: used * GIB,
    available_bytes: (100 - used) * GIB,
    level,
  });
  const usage = {
    cpu_load: null,
    memory_available_bytes: null,
    gpu_state: null,
    gpu_detail: null,
    gpus: [],
    disk_detail: null,
    received_at: "2026-11-26T21:29:00.000Z",
  };
  const history = `GET /api/v1/wolf-instances/${wolfId(1)}/disk-history`;
  const sample = (number: number, minute: string, one: DiskUsage) =>
    aDiskSample(number, { ...one, at: `2026-11-26T21:${minute}:00.000Z` });

  beforeEach(() => {
    const disks = [disk("/", 50), disk("/var/lib/docker", 95, "critical")];
    server.on("GET /api/v1/wolf-instances/gpu-1", { body: aWolf(1, { usage: { ...usage, disks } }) });
    // Not in the order of time: what grew is counted from the earliest.
    server.on(history, {
      body: [
        sample(3, "20", disk("/", 40)),
        sample(2, "10", disk("/", 10)),
        sample(1, "15", disk("/var/lib/docker", 97)),
      ],
    });
  });

  it("shows each mount with its fill, its level, how much it grew since, and how that went", async () => {
    const { code, out, err } = await here.run(["wolves", "disk", "gpu-1"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out.replace(/ +/g, " ")).toBe(
      [
        "MOUNT USED OF AVAILABLE LEVEL GROWTH TREND",
        "/ ███░░ 50 % 100 GiB 50.0 GiB ok +40.0 GiB ▁▄",
        "/var/lib/docker █████ 95 % 100 GiB 5.0 GiB critical −2.0 GiB █",
        "",
      ].join("\n"),
    );
  });

  it("asks for a day unless --since says otherwise, and for one mount with --mount", async () => {
    await here.run(["wolves", "disk", "gpu-1"]);
    expect(server.asked.at(-1)?.query.get("since")).toBe("2026-11-25T21:30:00.000Z");
    expect(server.asked.at(-1)?.query.get("mount")).toBeNull();
    const { out } = await here.run(["wolves", "disk", "gpu-1", "--mount", "/", "--since", "2026-11-26"]);
    expect(server.asked.at(-1)?.query.get("since")).toBe("2026-11-26T00:00:00.000Z");
    expect(server.asked.at(-1)?.query.get("mount")).toBe("/");
    expect(out.split("\n")).toHaveLength(3);
    expect(out).not.toContain("docker");
  });

  it("is the history itself for programs, of every page", async () => {
    const pages = [[sample(1, "10", disk("/", 1))], [sample(2, "15", disk("/", 2))]];
    server.on(history, ({ query }) =>
      query.has("cursor")
        ? { body: pages[1] }
        : { body: pages[0], headers: { link: '</api/v1/x?cursor=dsk_1>; rel="next"' } },
    );
    const { out } = await here.run(["wolves", "disk", "gpu-1", "-o", "json"]);
    expect(JSON.parse(out)).toEqual(pages.flat());
  });

  it("says so where nothing is known, and what could not be read", async () => {
    const disk_detail = "/mnt/nas does not answer";
    server.on("GET /api/v1/wolf-instances/gpu-1", {
      body: aWolf(1, { usage: { ...usage, disks: [], disk_detail } }),
    });
    server.on(history, { body: [] });
    expect(await here.run(["wolves", "disk", "gpu-1"])).toMatchObject({
      code: 0,
      out: "",
      err: "Nothing is known of its disks.\nUnknown: /mnt/nas does not answer\n",
    });
  });

  it("fails for a wolf that is not there, for a time that is none, and where somebody else's words come back", async () => {
    expect((await here.run(["wolves", "disk", "gpu-1", "--since", "lately"])).err).toContain("--since is a");
    expect(server.asked).toEqual([]);
    server.on(history, { body: { history: [], alerts: [] } });
    expect((await here.run(["wolves", "disk", "gpu-1"])).code).toBe(1);
    server.on("GET /api/v1/wolf-instances/gpu-1", problem(404, "wolf-not-found", "There is none."));
    expect((await here.run(["wolves", "disk", "gpu-1"])).code).toBe(4);
  });
});
