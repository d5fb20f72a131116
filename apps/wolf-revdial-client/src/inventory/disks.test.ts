/** Mounts, levels and restarts of Wolf: which are watched, when a level changes, and when it does not. */
import { readFileSync, statSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { DiskUsage, type HostUsage } from "@wolfpack/api-contract";
import fc from "fast-check";
import { ManualClock } from "revdial/testing";
import { systemClock } from "../clock.ts";
import {
  DISK_KEPT_MS,
  type DiskReading,
  diskLevel,
  diskWatch,
  figuresOf,
  localMounts,
  readMounts,
  usedPercent,
} from "./disks.ts";
import { fitting } from "./host-watch.ts";
import { RESTART_RECENT_MS, restartWatch } from "./wolf-restarts.ts";

const fixture = (name: string) =>
  readFileSync(new URL(`../../test/inventory/mounts/${name}`, import.meta.url), "utf8");
const GIB = 2 ** 30;
/** What Docker and Kubernetes mount as files. */
const files = [
  "/dev/termination-log",
  "/etc/hostname",
  "/etc/hosts",
  "/etc/resolv.conf",
  "/run/secrets/runner-token",
];
const mountsIn = (mountinfo: string) => localMounts(mountinfo, (mount) => !files.includes(mount));
const thresholds = { warningPercent: 85, criticalPercent: 95, freeBytesMin: 5 * GIB };

describe("the mounts that are watched", () => {
  it("are a host's local disks, each once, without boot loaders, images, layers and network", () => {
    expect(mountsIn(fixture("host.mountinfo"))).toEqual(["/", "/games", "/mnt/My Disk", "/var/lib/docker"]);
  });

  it("are in a container its root, for the disk of its layers, and other disks of which a folder is mounted", () => {
    expect(mountsIn(fixture("container.mountinfo"))).toEqual(["/", "/etc/wolf"]);
    expect(mountsIn(fixture("pod.mountinfo"))).toEqual(["/"]);
  });

  it("are never files, so that a disk goes by a name of which one learns something", () => {
    const [, ...withoutRoot] = fixture("container.mountinfo").split("\n");
    expect(mountsIn(withoutRoot.join("\n"))).toEqual(["/etc/wolf", "/run/wolf"]);
    const onlyFiles = withoutRoot.filter(
      (line) => /resolv|host|token/.test(line) && !line.includes("/run/wolf"),
    );
    expect(mountsIn(onlyFiles.join("\n"))).toEqual([]);
    expect(localMounts("1 1 8:1 / /no/such/mount rw - ext4 /dev/a rw", () => false)).toEqual([]);
  });

  it("are found on this machine to be folders", () => {
    for (const mount of readMounts()) expect(statSync(mount).isDirectory()).toBe(true);
  });

  it("are at most 256, and none where the kernel does not say", () => {
    const many = Array.from({ length: 300 }, (_, i) => `${i} 1 8:${i} / /m${i} rw - ext4 /dev/x rw`).join(
      "\n",
    );
    expect(mountsIn(many)).toHaveLength(256);
    expect(readMounts("/no/such/file")).toEqual([]);
    expect(mountsIn("1 1 8:1 / /a\\012b rw - ext4 /dev/a rw\n\n - \nx")).toEqual([]);
  });

  it("of any text throw nothing", () => {
    fc.assert(fc.property(fc.string(), (text) => void mountsIn(text)));
  });
});

describe("how full a mount is", () => {
  it("is what df says, to the byte and the percent", () => {
    const [, total, used, available, capacity] = (fixture("df.txt").split("\n")[1] ?? "").split(/\s+/);
    const figures = figuresOf({ bsize: 4096n, blocks: 66_053_021n, bfree: 59_753_934n, bavail: 20_298_641n });
    expect(figures).toEqual({
      total_bytes: Number(total),
      used_bytes: Number(used),
      available_bytes: Number(available),
    });
    expect(`${Math.ceil(figures ? usedPercent(figures) : 0)}%`).toBe(capacity);
  });

  it("is not known of what has no blocks or says what cannot be", () => {
    const figures = { bsize: 4096n, blocks: 10n, bfree: 5n, bavail: 4n };
    for (const wrong of [
      { blocks: 0n },
      { bfree: 11n },
      { bavail: 6n },
      { bavail: -1n },
      { bsize: 1n << 62n },
    ])
      expect(figuresOf({ ...figures, ...wrong })).toBeUndefined();
  });
});

describe("a mount's level", () => {
  const of = (percent: number, before: DiskUsage["level"] = "ok", totalGib = 1000) => {
    const total = totalGib * GIB;
    const used = (total / 100) * percent;
    return diskLevel(
      { total_bytes: total, used_bytes: used, available_bytes: total - used },
      before,
      thresholds,
    );
  };

  it("is warning and critical from its thresholds on", () => {
    expect([84.9, 85, 94.9, 95, 100].map((percent) => of(percent))).toEqual([
      "ok",
      "warning",
      "warning",
      "critical",
      "critical",
    ]);
  });

  it("is left two points below its threshold: a value that dances around it does not flap", () => {
    let level: DiskUsage["level"] = "ok";
    const seen = [84, 86, 84, 83.1, 86, 82.9, 84, 96, 94, 93.1, 92.9, 84, 82].map((percent) => {
      level = of(percent, level);
      return level[0];
    });
    expect(seen.join("")).toBe("owwwwoocccwwo");
  });

  it("is critical below the free bytes at any share, and until a tenth more is free", () => {
    expect(of(95 - 0.1, "ok", 90)).toBe("critical");
    expect(of(93.9, "ok", 90)).toBe("warning");
    const free = (gib: number) => ({
      total_bytes: 90 * GIB,
      used_bytes: 40 * GIB,
      available_bytes: gib * GIB,
    });
    expect(diskLevel(free(4.9), "ok", thresholds)).toBe("critical");
    expect(diskLevel(free(5.4), "critical", thresholds)).toBe("critical");
    expect(diskLevel(free(5.6), "critical", thresholds)).toBe("warning");
  });

  it("of a small mount needs a tenth of it instead", () => {
    expect(of(50, "ok", 1)).toBe("ok");
    expect(of(91, "ok", 1)).toBe("critical");
  });

  it("of a mount without any room is critical", () => {
    expect(diskLevel({ total_bytes: 1, used_bytes: 0, available_bytes: 0 }, "ok", thresholds)).toBe(
      "critical",
    );
  });
});

describe("watching disks", () => {
  const { signal } = new AbortController();
  const stats = (available: bigint) => ({
    bsize: BigInt(GIB),
    blocks: 100n,
    bfree: available,
    bavail: available,
  });
  const seen = ({ disks }: DiskReading) => disks.map(({ mount, level }) => [mount, level]);
  const never = new Promise<never>(() => undefined);

  it("remembers levels, and leaves out what cannot be read", async () => {
    let available = 4n;
    const read = diskWatch({
      mounts: ["/a", "/gone"],
      thresholds,
      clock: new ManualClock(),
      signal,
      stat: async (mount) => {
        if (mount === "/gone") throw Object.assign(new Error(), { code: "ENOENT" });
        return stats(available);
      },
    });
    const { disks, unread } = await read();
    expect(seen({ disks, unread })).toEqual([["/a", "critical"]]);
    expect(unread).toEqual([{ mount: "/gone", why: "ENOENT", hangs: false, lost: false }]);
    available = 6n;
    expect((await read()).disks[0]?.level).toBe("critical");
    available = 20n;
    expect((await read()).disks[0]?.level).toBe("ok");
  });

  it("waits 3 s for a disk that does not answer, asks it no second time, and reads the others", async () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    let answer = () => {};
    const read = diskWatch({
      mounts: ["/dead", "/a"],
      thresholds,
      clock,
      signal,
      stat(mount) {
        asked.push(mount);
        if (mount === "/a" || asked.length > 3) return Promise.resolve(stats(50n));
        return new Promise((resolve) => (answer = () => resolve(stats(50n))));
      },
    });
    const first = read();
    await clock.advance(2999);
    expect(asked).toEqual(["/dead"]);
    await clock.advance(1);
    const dead = { mount: "/dead", why: "no answer within 3 s", hangs: true };
    expect(await first).toMatchObject({ disks: [{ mount: "/a" }], unread: [{ ...dead, lost: false }] });
    await clock.advance(DISK_KEPT_MS);
    expect(await read()).toMatchObject({ disks: [{ mount: "/a" }], unread: [{ ...dead, lost: true }] });
    expect(asked).toEqual(["/dead", "/a", "/a"]);
    answer();
    await clock.advance(0);
    expect(seen(await read())).toEqual([
      ["/dead", "ok"],
      ["/a", "ok"],
    ]);
  });

  it("keeps the figures of a disk that fails for 3 minutes, then calls them lost", async () => {
    const clock = new ManualClock();
    let fails = false;
    const read = diskWatch({
      mounts: ["/a"],
      thresholds,
      clock,
      signal,
      stat: async () => {
        if (fails) throw Object.assign(new Error(), { code: "EIO" });
        return stats(2n);
      },
    });
    await read();
    fails = true;
    await clock.advance(DISK_KEPT_MS - 1);
    expect(await read()).toMatchObject({
      disks: [{ mount: "/a", level: "critical" }],
      unread: [{ why: "EIO", lost: false }],
    });
    await clock.advance(1);
    expect(await read()).toEqual({
      disks: [],
      unread: [{ mount: "/a", why: "EIO", hangs: false, lost: true }],
    });
  });

  it("asks no more disks while two do not answer, which would hold all threads", async () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    const mounts = ["/1", "/2", "/3", "/4"];
    const read = diskWatch({
      mounts,
      thresholds,
      clock,
      signal,
      stat(mount) {
        asked.push(mount);
        return never;
      },
    });
    const first = read();
    await clock.advance(10_000);
    expect((await first).unread.map(({ why }) => why.slice(0, 9))).toEqual([
      "no answer",
      "no answer",
      "not asked",
      "not asked",
    ]);
    expect(asked).toEqual(["/1", "/2"]);
  });

  it("ends with its caller, also while a disk does not answer", async () => {
    const ended = new AbortController();
    const clock = new ManualClock();
    const read = diskWatch({ mounts: ["/a"], thresholds, clock, signal: ended.signal, stat: () => never });
    const reading = read();
    ended.abort();
    expect((await reading).disks).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it("of this machine gives what fits the contract", async () => {
    const how = { thresholds, clock: systemClock, signal };
    for (const disk of (await diskWatch({ mounts: ["/"], ...how })()).disks) DiskUsage.parse(disk);
    await diskWatch({ mounts: undefined, ...how })();
  });

  it("cuts the last mounts when their names do not fit into a notice", () => {
    const disks = Array.from({ length: 32 }, (_, i) => ({
      mount: `/${String(i).padStart(2, "0")}${"界".repeat(250)}`,
      total_bytes: 1,
      used_bytes: 1,
      available_bytes: 0,
      level: "ok" as const,
    }));
    const usage: HostUsage = {
      cpu_load: 0,
      memory_available_bytes: 1,
      gpu_state: "ok",
      gpu_detail: null,
      gpus: [],
      disks,
      disk_detail: null,
    };
    const cut = fitting(usage);
    expect(Buffer.byteLength(JSON.stringify(cut))).toBeLessThanOrEqual(14 * 1024);
    expect(cut.disks).toEqual(disks.slice(0, cut.disks.length));
    expect(cut.disks.length).toBeGreaterThan(10);
    expect(cut.disk_detail).toBeNull();
    const last = disks.map((disk, n) =>
      n === disks.length - 1 ? { ...disk, level: "critical" as const } : disk,
    );
    expect(fitting({ ...usage, disks: last }).disks[0]).toEqual(last.at(-1));
  });

  it.each([32, 33, 256])("of %i disks tells the worst 32, by level and then by name", (count) => {
    const levels = ["ok", "warning", "critical"] as const;
    const disks = Array.from({ length: count }, (_, n) => ({
      mount: `/${String(n).padStart(3, "0")}`,
      total_bytes: 1,
      used_bytes: 1,
      available_bytes: 0,
      level: levels[Math.max(0, n - count + 3)] ?? "ok",
    }));
    const noGpus = {
      cpu_load: 0,
      memory_available_bytes: 1,
      gpu_state: "ok" as const,
      gpu_detail: null,
      gpus: [],
    };
    const { disks: told, disk_detail } = fitting({ ...noGpus, disks, disk_detail: "/d (EIO)" });
    expect(told).toHaveLength(32);
    expect(told.slice(0, 3).map(({ mount }) => Number(mount.slice(1)))).toEqual([count - 1, count - 2, 0]);
    expect(disk_detail).toBe("/d (EIO)");
    const full = disks.map((disk) => ({ ...disk, level: "warning" as const }));
    const { disk_detail: detail } = fitting({ ...noGpus, disks: full, disk_detail: "/d (EIO)" });
    expect(detail).toBe(
      count === 32 ? "/d (EIO)" : `no room for ${count - 32} more, at worst warning; /d (EIO)`,
    );
  });
});

describe("a restart of Wolf", () => {
  const seen = (socket: string | undefined, lobbies: string[] | undefined, at = 0, answers = true) => ({
    at,
    answers,
    socket,
    lobbies,
  });
  const silence = seen(undefined, undefined, 0, false);
  const count = (...all: ReturnType<typeof seen>[]) => {
    const watch = restartWatch();
    for (const one of all) watch.see(one);
    return watch.restarts(0).count;
  };

  it("is seen by another socket, when Wolf answers on it", () => {
    expect(count(seen("a", []), seen("a", []), seen("b", []), seen("b", []))).toBe(1);
    expect(count(seen("a", []), { ...silence, socket: "b" })).toBe(0);
    expect(count(seen("a", []), { ...silence, socket: "b" }, seen("c", []))).toBe(1);
  });

  it("over TCP is seen by lobbies that are all gone after a silence", () => {
    expect(count(seen(undefined, ["1", "2"]), silence, seen(undefined, []))).toBe(1);
    expect(count(seen(undefined, ["1", "2"]), silence, seen(undefined, ["3"]))).toBe(1);
  });

  it("is not a silence alone, lobbies that users stop, nor a list that cannot be read", () => {
    expect(count(seen("a", ["1"]), silence, seen("a", []))).toBe(0);
    expect(count(seen(undefined, ["1"]), seen(undefined, []))).toBe(0);
    expect(count(seen(undefined, ["1"]), silence, seen(undefined, ["1"]))).toBe(0);
    expect(count(seen(undefined, ["1"]), silence, seen(undefined, undefined))).toBe(0);
    expect(count(silence, seen("a", []))).toBe(0);
  });

  it("is recent for five minutes", () => {
    const watch = restartWatch();
    expect(watch.restarts(0)).toEqual({ count: 0, recent: false });
    watch.see(seen("a", [], 0));
    watch.see(seen("b", [], 1000));
    expect(watch.restarts(1000 + RESTART_RECENT_MS - 1)).toEqual({ count: 1, recent: true });
    expect(watch.restarts(1000 + RESTART_RECENT_MS)).toEqual({ count: 1, recent: false });
  });
});
