import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { DiskSample, HostUsage } from "@wolfpack/api-contract";
import request from "supertest";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import { startControlPlane, type TestControlPlane } from "../../test/control-plane.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "./wolf-store.prisma.ts";
import type { Wolf, WolfStore } from "./wolf-store.ts";

let api: TestControlPlane;
let store: WolfStore;
let wolf: Wolf;

/** The start of five minutes. */
const T0 = Date.UTC(2026, 10, 23, 12, 0, 0);
const at = (seconds: number) => new Date(T0 + seconds * 1000);

beforeAll(async () => {
  api = await startControlPlane();
  store = prismaWolfStore(api.database.prisma);
});
beforeEach(async () => {
  await api.database.prisma.wolfInstance.deleteMany();
  wolf = await connected("wolf-1");
});
afterAll(() => api.stop());

async function connected(name: string): Promise<Wolf> {
  const report = { gpuType: "none" as const, maxSandboxes: 1, labels: {}, region: null, costPerHour: null };
  const { id } = await store.register(
    { id: newId("wlf"), name, address: "", agentVersion: null, encoderSessionsMax: null, ...report },
    at(0),
  );
  return (await store.openTunnel(id, at(0))) as Wolf;
}
function use(disks: HostUsage["disks"], seconds: number, of = wolf): Promise<boolean> {
  const sampleIds = disks.map(() => newId("dsk"));
  return store.changeUsage(
    of.id,
    of.epoch,
    { usage: aUsage({ disks }), wolfRestarts: 0, sampleIds },
    at(seconds),
  );
}
const get = (query = "", id = wolf.id) =>
  request(api.url)
    .get(`/api/v1/wolf-instances/${id}/disk-history${query}`)
    .set({ authorization: `Bearer ${api.adminKey}` });
const samples = async (query = ""): Promise<DiskSample[]> => (await get(query).expect(200)).body;
const seen = async (query = "") =>
  (await samples(query)).map((s) => [s.mount, (Date.parse(s.at) - T0) / 1000]);

describe("disk samples", () => {
  it("are one per mount and five minutes, the first one, and show what the agent said", async () => {
    await use([aDisk("/", { level: "warning" }), aDisk("/data")], 10);
    await use([aDisk("/"), aDisk("/data"), aDisk("/new")], 299);
    await use([aDisk("/")], 300);
    expect(await seen()).toEqual([
      ["/", 10],
      ["/data", 10],
      ["/new", 299],
      ["/", 300],
    ]);
    const [first] = await samples();
    expect(first).toEqual({
      id: expect.stringMatching(/^dsk_/),
      at: at(10).toISOString(),
      ...aDisk("/", { level: "warning" }),
    });
  });

  it("are one per mount also when eight reports come at once", async () => {
    await Promise.all(Array.from({ length: 8 }, (_, i) => use([aDisk("/"), aDisk("/data")], i)));
    expect(await samples()).toHaveLength(2);
  });

  it("are at most 32 per wolf and five minutes, whatever mounts an agent makes up", async () => {
    const many = (from: number) => Array.from({ length: 32 }, (_, i) => aDisk(`/m${from + i}`));
    await use(many(0).slice(0, 20), 0);
    for (let i = 1; i < 10; i += 1) await use(many(i * 32), i);
    expect(await samples("?limit=200")).toHaveLength(32);
    await use(many(0), 300);
    expect(await samples("?limit=200")).toHaveLength(64);
  });

  it("keep the largest number of bytes exactly", async () => {
    const bytes = { total_bytes: Number.MAX_SAFE_INTEGER, used_bytes: 0, available_bytes: 1 };
    await use([aDisk("/", bytes)], 0);
    expect(await samples()).toMatchObject([bytes]);
  });

  it("of an older tunnel or of an unknown wolf are not written", async () => {
    await store.openTunnel(wolf.id, at(1));
    expect(await use([aDisk("/")], 2)).toBe(false);
    expect(await use([aDisk("/")], 2, { ...wolf, id: newId("wlf") })).toBe(false);
    expect(await samples()).toEqual([]);
  });

  it("go with their wolf", async () => {
    await use([aDisk("/")], 0);
    await store.deregister(wolf.id, false, at(1));
    expect(await api.database.prisma.diskSample.count()).toBe(0);
  });

  it("that break an invariant are refused by the database", async () => {
    await expect(use([aDisk("/", { level: "full" as "ok" })], 0)).rejects.toThrow();
    await expect(use([aDisk("/", { used_bytes: -1 })], 0)).rejects.toThrow();
    expect((await store.get(wolf.id))?.usage).toBeNull();
  });
});

describe("GET /wolf-instances/{id}/disk-history", () => {
  it("goes by pages, oldest first, with a link to the next", async () => {
    for (const slot of [0, 1, 2]) await use([aDisk("/"), aDisk("/data")], slot * 300);
    const first = await get("?limit=4").expect(200);
    expect(first.body).toHaveLength(4);
    const next = /<([^>]+)>; rel="next"/.exec(first.headers.link ?? "")?.[1] ?? "";
    const { body, headers } = await request(api.url)
      .get(next)
      .set({ authorization: `Bearer ${api.adminKey}` })
      .expect(200);
    expect([...first.body, ...body]).toEqual(await samples());
    expect(headers.link).toBeUndefined();
  });

  it("filters by mount, from a moment on and up to another", async () => {
    for (const slot of [0, 1, 2]) await use([aDisk("/"), aDisk("/data")], slot * 300);
    expect(await seen("?mount=/data")).toEqual([0, 300, 600].map((second) => ["/data", second]));
    const range = `since=${at(300).toISOString()}&until=${at(600).toISOString()}`;
    expect(await seen(`?mount=%2F&${range}`)).toEqual([["/", 300]]);
    expect(await seen("?mount=/nowhere")).toEqual([]);
  });

  it("shows no other wolf's", async () => {
    await use([aDisk("/")], 0, await connected("wolf-2"));
    expect(await samples()).toEqual([]);
  });

  it.each([
    "?limit=0",
    "?limit=201",
    "?mount=data",
    "?mount=%2F%00",
    "?since=yesterday",
    "?cursor=%27",
    "?cursor=zzz",
    "?cursor=wlf_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "?x=1",
  ])("refuses %s", async (query) => {
    expect((await get(query).expect(400)).body.code).toBe("invalid-request");
  });

  it("of an unknown wolf is 404, also when its id could not be one", async () => {
    expect((await get("", newId("wlf")).expect(404)).body.code).toBe("wolf-not-found");
    expect((await get("", "x").expect(404)).body.code).toBe("wolf-not-found");
  });

  it("is for users only", async () => {
    await request(api.url).get(`/api/v1/wolf-instances/${wolf.id}/disk-history`).expect(401);
  });
});
