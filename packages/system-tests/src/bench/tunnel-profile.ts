/** `npm run bench -- tunnel-profile`: who spends the CPU of gateway and agent, and of the gateway without a tunnel. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { Fleet, type Lane } from "./lanes.ts";
import type { BenchProcess } from "./process.ts";
import { type Profile, sharesOf } from "./profile-shares.ts";

interface Profiled {
  lane: string;
  process: string;
  load: "small requests" | "downloads";
  shares: [name: string, share: number][];
}
export interface TunnelProfile {
  profiles: Profiled[];
}

const CONNECTIONS = 64;
const SECONDS = 4;
const MIB = 256;
const DOWNLOADS = 8;

/** Leaves nothing behind, also when `stopped` rejects. */
export async function benchTunnelProfile(
  { quick }: { quick: boolean },
  stopped: Promise<never>,
): Promise<TunnelProfile> {
  stopped.catch(() => undefined);
  const fleet = await Fleet.start();
  const folder = await mkdtemp(path.join(os.tmpdir(), "wolfpack-profile-"));
  fleet.onStop(() => rm(folder, { recursive: true, force: true }));
  try {
    return await Promise.race([profiled(fleet, folder, quick), stopped]);
  } finally {
    await fleet.stop();
  }
}

async function profiled(fleet: Fleet, folder: string, quick: boolean): Promise<TunnelProfile> {
  const load = await fleet.process("load", "load");
  const seconds = quick ? 0.3 : SECONDS;
  const small = ({ port }: Lane) => load.call("small", { port, connections: CONNECTIONS, seconds });
  const downloads = async ({ port }: Lane) => {
    for (let n = 0; n < (quick ? 1 : DOWNLOADS); n += 1)
      await load.call("download", { port, mib: quick ? 16 : MIB });
  };
  const loads = [
    ["small requests", small],
    ["downloads", downloads],
  ] as const;
  const profiles: Profiled[] = [];
  for (const lane of [await fleet.direct(), await fleet.tunnelled("tunnel")])
    for (const [name, run] of loads) {
      await run(lane);
      const shares = await during(lane.processes, folder, () => run(lane));
      for (const [at, process] of lane.processes.entries())
        profiles.push({ lane: lane.name, process: process.name, load: name, shares: shares[at] ?? [] });
    }
  return { profiles };
}

async function during(processes: readonly BenchProcess[], folder: string, run: () => Promise<unknown>) {
  await Promise.all(processes.map((process) => process.call("startProfile")));
  await run();
  return Promise.all(
    processes.map(async (process) => {
      const file = path.join(folder, `${process.pid}.cpuprofile`);
      await process.call("writeProfile", file);
      return sharesOf(JSON.parse(await readFile(file, "utf8")) as Profile);
    }),
  );
}

const LEAST_SHOWN = 0.005;

/** Per cent of each process's busy time. */
export function tunnelProfileTable({ profiles }: TunnelProfile): string {
  return profiles
    .map(({ lane, process, load, shares }) => {
      const rows = shares
        .filter(([, share]) => share >= LEAST_SHOWN)
        .map(([name, share]) => `  ${name.padEnd(34)} ${(100 * share).toFixed(1).padStart(5)} %`);
      return [`${lane}: ${process}, ${load}`, ...rows, ""].join("\n");
    })
    .join("\n");
}
