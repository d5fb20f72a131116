/** A command's edges in memory: what it prints, what it is typed, and time that passes only when somebody waits for it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Edges } from "../src/edges.ts";
import { main } from "../src/main.ts";

export const KEY = "wpk_0123456789abcdefghijklmnopqrstuvwxyz";

export interface Ran {
  code: number;
  out: string;
  err: string;
}

export interface TestEdges extends Edges {
  out: () => string;
  err: () => string;
  /** Waits so far, in milliseconds. */
  pauses: number[];
  /** Time limits so far: none is over unless a test says so. */
  limits: { ms: number; over: AbortController }[];
  questions: string[];
  stop: AbortController;
}

export interface Options {
  env?: Record<string, string>;
  home: string;
  isTTY?: boolean;
  columns?: number;
  stdin?: string;
  answers?: string[];
  nowMs?: number;
  /** Hears everything that is printed. */
  onOutput?: (all: string, edges: TestEdges) => void;
  /** Hears each wait; it ends at once otherwise. */
  onPause?: (edges: TestEdges) => void;
  /** Hears each time limit that begins. */
  onLimit?: (edges: TestEdges) => void;
  /** Whoever holds it presses Ctrl-C. */
  stop?: AbortController;
}

export const NOW_MS = Date.parse("2026-11-26T21:30:00.000Z");

export function testEdges(options: Options): TestEdges {
  const { env = {}, home, isTTY = false, columns = 80, stdin = "", answers = [], nowMs = NOW_MS } = options;
  let out = "";
  let err = "";
  const stop = options.stop ?? new AbortController();
  const terminal = (take: (text: string) => void) => ({
    isTTY,
    columns: isTTY ? columns : undefined,
    async write(data: string | Uint8Array) {
      take(typeof data === "string" ? data : Buffer.from(data).toString("latin1"));
      options.onOutput?.(out + err, edges);
    },
  });
  const edges: TestEdges = {
    version: "0.1.0",
    env,
    home,
    stdin: {
      isTTY,
      async *[Symbol.asyncIterator]() {
        yield Buffer.from(stdin);
      },
    },
    stdout: terminal((text) => {
      out += text;
    }),
    stderr: terminal((text) => {
      err += text;
    }),
    fetch,
    now: () => nowMs + edges.pauses.reduce((sum, ms) => sum + ms, 0),
    random: () => 0.5,
    pauses: [],
    limits: [],
    limit(ms) {
      const over = new AbortController();
      edges.limits.push({ ms, over });
      options.onLimit?.(edges);
      return over.signal;
    },
    questions: [],
    async pause(ms) {
      edges.pauses.push(ms);
      options.onPause?.(edges);
      await new Promise((resolve) => setImmediate(resolve));
    },
    async ask(question) {
      edges.questions.push(question);
      return answers.shift() ?? "";
    },
    newId: () => "4d1b2f3e-0000-4000-8000-000000000001",
    signal: stop.signal,
    stop,
    out: () => out,
    err: () => err,
  };
  return edges;
}

/** A folder of its own with a profile for `url`; `run` is one command line. */
export function machine(url: string) {
  const home = mkdtempSync(path.join(os.tmpdir(), "wolfctl-"));
  const keyFile = path.join(home, "key");
  writeFileSync(keyFile, `${KEY}\n`, { mode: 0o600 });
  return {
    home,
    keyFile,
    env: { WOLFPACK_URL: url, WOLFPACK_API_KEY_FILE: keyFile } as Record<string, string>,
    async run(words: readonly string[], options: Partial<Options> = {}): Promise<Ran & { edges: TestEdges }> {
      const edges = testEdges({
        home,
        env: { WOLFPACK_URL: url, WOLFPACK_API_KEY_FILE: keyFile },
        ...options,
      });
      const code = await main(words, edges);
      return { code, out: edges.out(), err: edges.err(), edges };
    },
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
}
