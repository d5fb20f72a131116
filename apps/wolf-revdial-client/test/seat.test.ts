/** The seat at Wolf's events between real processes that are killed in the middle of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";

const file = fileURLToPath(new URL("./seat-contender.ts", import.meta.url));
const ROUNDS = 6;
const CONTENDERS = 4;

interface Contender {
  process: ChildProcess;
  said: (what: string) => Promise<void>;
  /** It has the seat, as far as it knows. */
  taken: () => boolean;
  /** Found another that held it, and ran, when it took it. */
  beside: () => boolean;
}

let folder: string;
let contenders: Contender[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "seat-"));
  mkdirSync(path.join(folder, "seat"));
  contenders = [];
});

afterEach(async () => {
  await Promise.all(contenders.map(kill));
  rmSync(folder, { recursive: true, force: true });
});

function contend(): Contender {
  const child = spawn(process.execPath, [file, path.join(folder, "seat"), path.join(folder, "holders")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let words: string[] = [];
  const listeners = new Set<() => void>();
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => {
    text += more;
    words = text.split("\n");
    for (const listener of [...listeners]) listener();
  });
  const contender: Contender = {
    process: child,
    said: (what) =>
      new Promise((resolve) => {
        const look = () => {
          if (!words.includes(what)) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
      }),
    taken: () => words.includes("taken"),
    beside: () => words.some((word) => word.startsWith("beside")),
  };
  contenders.push(contender);
  return contender;
}

async function kill({ process: child }: Contender): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

describe("the seat between processes", () => {
  it(`has one holder at a time, in ${ROUNDS} rounds of ${CONTENDERS} that start at once beside the leftovers of those before and are killed one after the other`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const rivals = Array.from({ length: CONTENDERS }, () => contend());
      await Promise.all(rivals.map(({ said }) => said("in")));
      for (let alive = rivals; alive.length > 0; ) {
        await Promise.race(alive.map(({ said }) => said("taken")));
        const holders = alive.filter(({ taken }) => taken());
        expect(holders).toHaveLength(1);
        await Promise.all(holders.map(kill));
        alive = alive.filter((rival) => !holders.includes(rival));
      }
      expect(rivals.filter(({ beside }) => beside())).toEqual([]);
    }
    // Only the last one, which nobody came after.
    expect(readdirSync(path.join(folder, "seat"))).toHaveLength(1);
  }, 60_000);

  it("stays with a holder that hangs, however many ask", async () => {
    const holder = contend();
    await holder.said("taken");
    holder.process.kill("SIGSTOP");
    const rivals = [contend(), contend()];
    await Promise.all(rivals.map(({ said }) => said("in")));
    expect(rivals.map(({ taken }) => taken())).toEqual([false, false]);
    await kill(holder);
    await Promise.race(rivals.map(({ said }) => said("taken")));
  });
});
