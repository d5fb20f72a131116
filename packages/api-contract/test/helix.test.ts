/** Bodies of Helix's daemons and scripts, beside our own. */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  DiskHistoryQuery,
  HeartbeatRequest,
  isOfHelix,
  NewWolfName,
  operations,
  RegisterWolfRequest,
  WolfIdOrName,
} from "../src/index.ts";

const accepts = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown) =>
  schema.safeParse(value).success;
const disk = {
  mount_point: "/var",
  total_bytes: 100,
  used_bytes: 81,
  avail_bytes: 19,
  used_percent: 81,
  alert_level: "warning",
};
/** All that any version of its daemon has said. */
const whole = {
  desktop_versions: { sway: "a1b2c3", ubuntu: "d4e5f6" },
  sway_version: "a1b2c3",
  disk_usage: [disk, { ...disk, mount_point: "/" }],
  container_usage: [{ container_id: "c", container_name: "n", size_bytes: 1, rw_size_bytes: 0 }],
  privileged_mode_enabled: false,
  gpu_vendor: "nvidia",
  render_node: "/dev/dri/renderD128",
  instance_type: "g5.xlarge",
  helix_version: "2.5.0",
  gpus: [{ index: 0 }],
  profile_status: "ready",
  profile_error: "",
  service_health: { hydra: "ok" },
  profile_progress: { percent: 100 },
};

describe("a heartbeat of Helix's daemon", () => {
  it("is taken with the fields of all its versions, and with those of versions to come", () => {
    expect(accepts(HeartbeatRequest, whole)).toBe(true);
    expect(accepts(HeartbeatRequest, { ...whole, something_new: { x: [1] } })).toBe(true);
    for (const [field, value] of Object.entries(whole))
      expect(accepts(HeartbeatRequest, { [field]: value, something_new: 1 })).toBe(true);
    expect(isOfHelix(whole)).toBe(true);
  });

  it("may say null where Go has made no list or text", () => {
    const nulls = Object.fromEntries(Object.keys(whole).map((field) => [field, null]));
    expect(accepts(HeartbeatRequest, nulls)).toBe(true);
  });

  it.each([
    ["nvidia", "nvidia"],
    ["AMD", "amd"],
    ["intel", "intel"],
    ["neuron", "none"],
    ["none", "none"],
    ["constructor", "none"],
    ["", undefined],
    [null, null],
  ])("of GPU vendor %j is read as %j", (said, read) => {
    expect(HeartbeatRequest.parse({ gpu_vendor: said }).gpu_vendor).toBe(read);
  });

  it.each([
    ["a vendor that is a number", { gpu_vendor: 1 }],
    ["a vendor with a control character", { gpu_vendor: "nvidia\u0000" }],
    ["a vendor of 64 characters", { gpu_vendor: "x".repeat(64) }],
    ["a render node that is an object", { render_node: {} }],
    ["a render node of 256 characters", { render_node: `/${"x".repeat(255)}` }],
    ["disks that are an object", { disk_usage: {} }],
    ["33 disks", { disk_usage: Array.from({ length: 33 }, (_, i) => ({ ...disk, mount_point: `/${i}` })) }],
    ["one disk twice", { disk_usage: [disk, disk] }],
    ["a disk that is null", { disk_usage: [null] }],
    ["a disk without a mount point", { disk_usage: [{ ...disk, mount_point: undefined }] }],
    ["a relative mount point", { disk_usage: [{ ...disk, mount_point: "var" }] }],
    ["a mount point with NUL", { disk_usage: [{ ...disk, mount_point: "/\u0000" }] }],
    ["a mount point with half a character", { disk_usage: [{ ...disk, mount_point: "/\ud800" }] }],
    ["bytes as text", { disk_usage: [{ ...disk, used_bytes: "81" }] }],
    ["half a byte", { disk_usage: [{ ...disk, used_bytes: 0.5 }] }],
    ["fewer than no bytes", { disk_usage: [{ ...disk, avail_bytes: -1 }] }],
    ["more bytes than a number holds", { disk_usage: [{ ...disk, total_bytes: 2 ** 53 }] }],
    ["a level that is a list", { disk_usage: [{ ...disk, alert_level: ["ok"] }] }],
    ["no slots in our field", { gpu_vendor: "nvidia", max_sandboxes: 0 }],
    ["a foreign GPU in our field", { gpu_vendor: "nvidia", gpu_type: "voodoo" }],
  ])("with %s is refused", (_what, body) => {
    expect(accepts(HeartbeatRequest, body)).toBe(false);
  });

  it("makes a body of none of its fields no less strict", () => {
    expect(isOfHelix({ gpu_type: "amd", max_sandboxes: 1 })).toBe(false);
    for (const body of [
      { something_new: 1 },
      { max_sandboxes: 3, x: 1 },
      { toString: 1 },
      { hasOwnProperty: 1 },
    ])
      expect(HeartbeatRequest.safeParse(body).error?.issues).toMatchObject([{ code: "unrecognized_keys" }]);
  });

  it("has a verdict for any JSON, and never another prototype", () => {
    const odd: unknown = JSON.parse('{"gpus":1,"__proto__":{"admin":true}}');
    expect(HeartbeatRequest.parse(odd)).not.toHaveProperty("admin");
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(typeof accepts(HeartbeatRequest, value)).toBe("boolean");
        expect(typeof accepts(HeartbeatRequest, { disk_usage: value, gpu_vendor: value })).toBe("boolean");
      }),
    );
  });
});

describe("a registration by HTTP", () => {
  const { body } = operations.registerWolf;

  it("reads a GPU in free text, and no slots as Helix's default", () => {
    const said = { name: "gpu-1", address: "10.0.0.1:1234", max_sandboxes: 0, gpu_type: "NVIDIA" };
    expect(body.parse(said)).toMatchObject({ max_sandboxes: 10, gpu_type: "nvidia" });
    expect(body.parse({ name: "gpu-1", gpu_type: "" })).toMatchObject({
      max_sandboxes: 12,
      gpu_type: "none",
    });
    expect(body.parse({ name: "gpu-1", gpu_type: "Matrox" }).gpu_type).toBe("none");
  });

  it("is as strict as an agent's otherwise, which may not be inexact at all", () => {
    for (const wrong of [
      {},
      { name: "a", x: 1 },
      { name: "a", gpu_type: null },
      { name: "a", max_sandboxes: 1001 },
    ])
      expect(accepts(body, wrong)).toBe(false);
    expect(accepts(RegisterWolfRequest, { name: "a", max_sandboxes: 0 })).toBe(false);
    expect(accepts(RegisterWolfRequest, { name: "a", gpu_type: "NVIDIA" })).toBe(false);
  });
});

describe("the name of a new wolf", () => {
  const id = "wlf_01ARZ3NDEKTSV4RRFFQ69G5FAV";

  it("never looks like an id, so that a path may have either", () => {
    expect(accepts(NewWolfName, id)).toBe(false);
    expect(accepts(RegisterWolfRequest, { name: id })).toBe(false);
    for (const name of [id.toLowerCase(), `${id}V`, id.slice(0, -1), "wlf_1", "wlf"])
      expect(accepts(NewWolfName, name)).toBe(true);
    for (const either of [id, "gpu-1"]) expect(accepts(WolfIdOrName, either)).toBe(true);
    for (const neither of ["", "-a", "a/b", "a b", "a\n", "x".repeat(64), "ü"])
      expect(accepts(WolfIdOrName, neither)).toBe(false);
  });
});

describe("a disk history's number of hours", () => {
  it.each([
    ["1", 1],
    ["24", 24],
    ["168", 168],
    ["169", 24],
    ["0", 24],
    ["-1", 24],
    ["", 24],
    ["a day", 24],
    ["1e2", 24],
    ["0x10", 24],
    ["1.5", 24],
    [" 5", 24],
    ["9".repeat(60), 24],
    [12, 12],
  ])("given as %j is read as %j", (said, hours) => {
    expect(DiskHistoryQuery.parse({ hours: said }).hours).toBe(hours);
  });

  it("is one, of at most 63 characters, and takes the place of a range and of pages", () => {
    const cursor = "dsk_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    const at = "2026-11-23T12:00:00.000Z";
    for (const more of [
      { cursor },
      { since: at },
      { until: at },
      { hours: ["1", "2"] },
      { hours: "9".repeat(64) },
    ])
      expect(accepts(DiskHistoryQuery, { hours: "24", ...more })).toBe(false);
    expect(accepts(DiskHistoryQuery, { hours: "24", mount: "/" })).toBe(true);
  });
});
