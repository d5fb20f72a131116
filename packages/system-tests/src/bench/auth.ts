/** `npm run bench -- auth`: what it costs the control plane to know who calls and who connects. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { median } from "./lanes.ts";
import { BenchProcess } from "./process.ts";

/** CPU of the control plane's process, µs each. */
export interface AuthResult {
  rounds: number;
  apiCall: { remembered: number; lookedUp: number };
  /** An agent's proof: its key looked up, its signature, its challenge spent. */
  connect: { all: number; signature: number };
}

const TIMES = { remembered: 100_000, lookedUp: 2000, connect: 2000, signature: 2000 };
type Measured = keyof typeof TIMES;
const API_CALL_MICROS_MAX = 50;
const CONNECT_MICROS_MAX = 1000;

/** Rejects, with everything cleared away, when `stopped` does. */
export async function benchAuth(
  { rounds, quick }: { rounds: number; quick: boolean },
  stopped: Promise<never>,
): Promise<AuthResult> {
  const folder = mkdtempSync(path.join(tmpdir(), "bench-"));
  let plane: BenchProcess | undefined;
  const starting = startEmbeddedPostgres({ dataDir: folder, durable: false });
  const found: Record<Measured, number[]> = { remembered: [], lookedUp: [], connect: [], signature: [] };
  const round = async (running: BenchProcess, url: string) => {
    await running.call("open", url);
    for (const what of Object.keys(TIMES) as Measured[]) {
      const times = Math.ceil(TIMES[what] / (quick ? 20 : 1));
      // Compiled and connected by then.
      await running.call("measure", { what, times: Math.ceil(times / 2) });
      found[what].push(await running.call<number>("measure", { what, times }));
    }
  };
  try {
    const { url } = await Promise.race([starting, stopped]);
    for (let at = 0; at < rounds; at += 1) {
      plane = await BenchProcess.start("control plane", "auth-plane");
      await Promise.race([round(plane, url), stopped]);
      await plane.stop();
    }
  } finally {
    await plane?.stop();
    await starting.then(
      (postgres) => postgres.stop(),
      () => undefined,
    );
    rmSync(folder, { recursive: true, force: true });
  }
  const { remembered, lookedUp, connect, signature } = found;
  return {
    rounds,
    apiCall: { remembered: median(remembered), lookedUp: median(lookedUp) },
    connect: { all: median(connect), signature: median(signature) },
  };
}

export function authTable({ apiCall, connect }: AuthResult): string {
  const row = (name: string, micros: number, max?: number) => {
    const verdict = max === undefined ? "" : `   must be less than ${max}${micros < max ? "" : ": MISSED"}`;
    return `${name.padEnd(34)} ${micros.toFixed(1).padStart(7)}${verdict}`;
  };
  return [
    "control plane's CPU, µs",
    row("API call, key remembered", apiCall.remembered, API_CALL_MICROS_MAX),
    row("API call, key looked up", apiCall.lookedUp),
    row("connect: proof of an agent's key", connect.all, CONNECT_MICROS_MAX),
    row("  of which its signature", connect.signature),
    "",
  ].join("\n");
}
