/** SPEC.md and README.md against the code: numbers, codes, states and the example cannot drift apart. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "@jest/globals";
import { type ChannelEvent, type ChannelState, channelTransitions } from "../src/channel.ts";
import { revdialErrorCodes, wireCodes } from "../src/errors.ts";
import { frameTypes } from "../src/frame.ts";
import { defaultLimits } from "../src/limits.ts";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const spec = read("SPEC.md");

const cells = (line: string) =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

/** Rows of the table whose head begins with these words. */
function table(...head: string[]): string[][] {
  const lines = spec.split("\n");
  const at = lines.findIndex((line) => cells(line).slice(0, head.length).join("|") === head.join("|"));
  expect(at).toBeGreaterThan(-1);
  const rows: string[][] = [];
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith("|")) break;
    rows.push(cells(line));
  }
  return rows;
}

describe("SPEC.md", () => {
  it("lists every limit with its default", () => {
    const listed = table("limit", "default").map(([name, value]) => [
      name,
      Number(value?.replaceAll(",", "")),
    ]);
    expect(Object.fromEntries(listed)).toEqual(defaultLimits);
  });

  it("lists every code with its number", () => {
    const listed = table("number", "name").map(([number, name]) => [name, Number(number)]);
    expect(Object.fromEntries(listed)).toEqual(wireCodes);
  });

  it("names every code a program can meet", () => {
    for (const code of revdialErrorCodes) expect(spec).toMatch(new RegExp(`\\b${code}\\b`));
  });

  it("lists every frame type with its number", () => {
    const listed = table("type", "name").map(([number, name]) => [name?.toLowerCase(), Number(number)]);
    expect(Object.fromEntries(listed)).toEqual(frameTypes);
  });

  it("draws the channel states as the code has them, empty cells too", () => {
    const events = [
      "localHead",
      "remoteHead",
      "localData",
      "remoteData",
      "localEnd",
      "remoteEnd",
      "reset",
    ] as const;
    const listed = table("state", ...events).map(([state, ...targets]) => {
      const row: [ChannelEvent, string][] = [];
      for (const [index, cell] of targets.entries())
        if (cell !== "") row.push([events[index] as ChannelEvent, cell]);
      return [state as ChannelState, Object.fromEntries(row)];
    });
    expect(Object.fromEntries(listed)).toEqual(channelTransitions);
  });
});

describe("the sources", () => {
  const files = readdirSync(new URL("../src", import.meta.url)).filter((name) => /^[a-z-]+\.ts$/.test(name));
  const importsOf = (file: string) =>
    [...read(`src/${file}`).matchAll(/^(?:import|\} from|export .* from).*"(.+)";$/gm)].map(
      ([, name]) => name,
    );

  it("import ws in one file", () => {
    expect(files.filter((file) => importsOf(file).includes("ws"))).toEqual(["websocket.ts"]);
  });

  it("keep sockets, timers, clocks and dice out of the core, and out of all it imports", () => {
    const core = new Set<string>(["core.ts"]);
    for (const file of core) {
      for (const name of importsOf(file)) {
        expect([file, name]).toEqual([file, expect.stringMatching(/^\.\/[a-z-]+\.ts$/)]);
        core.add((name as string).slice(2));
      }
      const code = read(`src/${file}`);
      expect([
        file,
        code.match(
          /setTimeout|setImmediate|queueMicrotask|Date\.|performance|Math\.random|process\.|Promise|await/,
        ),
      ]).toEqual([file, null]);
    }
    expect([...core]).toEqual(
      expect.arrayContaining(["scheduler.ts", "windows.ts", "frame.ts", "liveness.ts"]),
    );
  });
});

describe("README.md", () => {
  it("shows the example that is compiled and run below", () => {
    const example = /```ts\n([\s\S]*?)```/.exec(read("README.md"))?.[1];
    expect(read("test/readme-example.ts")).toBe(example?.replace('from "revdial"', 'from "../src/index.ts"'));
  });

  it("has an example that does what it says", async () => {
    const file = fileURLToPath(new URL("./readme-example.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--disable-warning=ExperimentalWarning",
      file,
    ]);
    expect(stdout).toContain("200 you asked hello for /greeting");
    expect(stdout).toContain("reason: 'example over'");
  });
});
