/** SPEC.md and README.md against the code: numbers, codes, states and the example cannot drift apart. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "@jest/globals";
import { type ChannelEvent, type ChannelState, channelTransitions } from "../src/channel.ts";
import { decodeMessage } from "../src/decode.ts";
import { goawayCodeName, resetCodeName, revdialErrorCodes, wireCodes } from "../src/errors.ts";
import { type Frame, frameTypes } from "../src/frame.ts";
import * as face from "../src/index.ts";
import { defaultLimits, limitBounds } from "../src/limits.ts";
import { defaults, fixed } from "../src/numbers.ts";
import { acceptorBounds, closeBounds, dialBounds, moveBackBounds, tunnelBounds } from "../src/options.ts";
import { spec, table } from "./spec-table.ts";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

describe("SPEC.md", () => {
  it("lists every limit with its default and its bounds", () => {
    const number = (cell = "") =>
      cell === "2⁵³ − 1" ? Number.MAX_SAFE_INTEGER : Number(cell.replaceAll(",", ""));
    const rows = table("limit", "default", "from", "to");
    const defaults = rows.map(([name, value]) => [name, number(value)]);
    const bounds = rows.map(([name, , from, to]) => [name, [number(from), number(to)]]);
    expect(Object.fromEntries(defaults)).toEqual(defaultLimits);
    expect(Object.fromEntries(bounds)).toEqual(limitBounds);
  });

  it("lists every other number, with the bounds of those that a program may set", () => {
    const { tunnel, close, dial, acceptor, moveBack } = defaults;
    const { drainMs, ...back } = moveBack;
    const { drainMs: oldDrainMs, ...backBounds } = moveBackBounds;
    const rows = table("number", "default", "from", "to", "for all");
    const number = (cell = "") => Number(cell.replaceAll(",", ""));
    expect(Object.fromEntries(rows.map(([name, value]) => [name, number(value)]))).toEqual({
      ...{ ...tunnel, ...close, ...dial, ...acceptor, ...back, oldDrainMs: drainMs },
      ...fixed,
    });
    const settable = rows.filter(([, , from]) => from !== "");
    expect(
      Object.fromEntries(settable.map(([name, , from, to]) => [name, [number(from), number(to)]])),
    ).toEqual({
      ...{ ...tunnelBounds, ...closeBounds, ...dialBounds, ...acceptorBounds, ...backBounds, oldDrainMs },
    });
  });

  it("says of other numbers in their sections what the table says", () => {
    const rows = table("number", "default", "from", "to", "for all");
    const sections = new Map(
      [...spec.matchAll(/^#{2,3} ([\d.]+?)\.? .*\n([\s\S]*?)(?=^#{2,3} |(?![\s\S]))/gm)].map(
        ([, number = "", text = ""]) => [number, text],
      ),
    );
    const said = (name: string, ms: string) => {
      const seconds = Number(ms.replaceAll(",", "")) / 1000;
      return name.endsWith("Ms") ? new RegExp(`\\b${seconds} s\\b`) : new RegExp(`\\b${ms}\\b`);
    };
    const words = { pingsUnansweredMax: /\bthree PINGs/ } as Partial<Record<string, RegExp>>;
    // The table alone says these.
    const elsewhere = [
      "retryAfterMs",
      "tunnelsMax",
      "fullRetryAfterMs",
      "ownPostBytesMax",
      "postRetryPauseMs",
    ];
    elsewhere.push("handshakeTimeoutMs", "oldDrainMs");
    for (const [name = "", value = "", , , , , section = ""] of rows) {
      if (elsewhere.includes(name)) continue;
      expect([name, sections.get(section)]).toEqual([
        name,
        expect.stringMatching(words[name] ?? said(name, value)),
      ]);
    }
  });

  it("lists every code with its number", () => {
    const listed = table("number", "name").map(([number, name]) => [name, Number(number)]);
    expect(Object.fromEntries(listed)).toEqual(wireCodes);
  });

  it("says of every code where it stands: anywhere else its number reads as an unknown one", () => {
    for (const [number, name, places = ""] of table("number", "name", "in")) {
      const reset = resetCodeName(Number(number));
      const goaway = goawayCodeName(Number(number));
      expect([name, reset]).toEqual([name, places.includes("RESET") ? name : "CHANNEL_RESET"]);
      const inGoaway = name === "NONE" ? "CLOSED" : name;
      expect([name, goaway]).toEqual([name, places.includes("GOAWAY") ? inGoaway : "CLOSED"]);
    }
    for (const unknown of [9, 31, 35, 63, 80, 86, 0xffff])
      expect([resetCodeName(unknown), goawayCodeName(unknown)]).toEqual(["CHANNEL_RESET", "CLOSED"]);
  });

  it("names every code a program can meet", () => {
    for (const code of revdialErrorCodes) expect(spec).toMatch(new RegExp(`\\b${code}\\b`));
  });

  it("says in how many fragments a message may come, and how many pongs may wait, as our WebSockets are told", () => {
    const { maxFragments, maxBufferedChunks, maxPendingAutoPongs } = face.webSocketServerOptions;
    const [fragments, pieces] = [maxFragments, maxBufferedChunks].map((number) =>
      number.toLocaleString("en"),
    );
    expect(spec).toContain(`takes at least ${fragments} fragments of one\n`);
    expect(spec).toContain(`more than ${pieces} pieces`);
    expect(spec).toContain(`lets at least ${maxPendingAutoPongs} answers wait`);
  });

  it("lists every close code, ours and those of the WebSocket implementation", () => {
    const ours = read("src/core-tunnel.ts").match(/(?<!= )\b10\d\d\b/g) ?? [];
    const listed = table("close code", "when").map(([code]) => code);
    expect(listed).toEqual([...[...new Set([...ours, "1007", "1008", "1009"])].toSorted(), "none"]);
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

describe("the examples of SPEC.md", () => {
  const examples = [
    ...spec.matchAll(/\*\*([A-Z]+)[^*]*\*\*\n\n```text\n\+[\s\S]*?```\n\n```text\n([\s\S]*?)```/g),
  ];
  const typeOf = (name: string) => name.toLowerCase() as Frame["type"];

  it("show every frame type", () => {
    expect(new Set(examples.map(([, name]) => typeOf(name ?? "")))).toEqual(new Set(Object.keys(frameTypes)));
  });

  it.each(examples.map(([, name = "", lines = ""], index) => [index + 1, name, lines] as const))(
    "are frames that say what stands beside their bytes (%i: %s)",
    (_index, name, lines) => {
      const fields = lines
        .trim()
        .split("\n")
        .map((line) => /^([0-9a-f]+) +(.+?) (\S+)$/.exec(line)?.slice(1) as [string, string, string]);
      const bytes = Buffer.from(fields.map(([hex]) => hex).join(""), "hex");
      const [frame, ...more] = decodeMessage(bytes, defaultLimits);
      expect(more).toEqual([]);
      expect(frame?.type).toBe(typeOf(name));
      const said = Object.entries(frame ?? {}).filter(
        ([key, value]) => key !== "type" && typeof value !== "object",
      );
      const beside = new Map(fields.map(([, field, value]) => [field, value]));
      for (const [key, value] of said) {
        if (key === "end") expect([key, Number(beside.get("flags")) & 1]).toEqual([key, value ? 1 : 0]);
        else if (value !== "" && value !== undefined)
          expect([key, beside.get(key)]).toEqual([key, String(value)]);
      }
      for (const [hex, , value] of fields)
        if (!/^\d+$/.test(value)) expect([hex, Buffer.from(hex, "hex").toString()]).toEqual([hex, value]);
        else if (Buffer.from(hex, "hex").toString() !== value)
          expect([hex, BigInt(`0x${hex}`)]).toEqual([hex, BigInt(value)]);
    },
  );
});

describe("the main entry", () => {
  it("has a baker's dozen of names that are more than types", () => {
    expect(Object.keys(face).length).toBeLessThanOrEqual(13);
  });
});

describe("the documentation of TunnelLimits", () => {
  it("says the default of every limit", () => {
    const fields = read("src/limits.ts").matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\n {2}(\w+): number;/gs);
    const said = [...fields].map(([, comment = "", name]) => [
      name,
      Number(/ Default ([\d,]+)\.\s*$/.exec(comment)?.[1]?.replaceAll(",", "")),
    ]);
    expect(Object.fromEntries(said)).toEqual(defaultLimits);
  });
});

describe("the sources", () => {
  const files = readdirSync(new URL("../src", import.meta.url), { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  const importsOf = (file: string) =>
    [...read(`src/${file}`).matchAll(/^(?:import|\} from|export .* from).*"(.+)";$/gm)].map(
      ([, name]) => name,
    );

  it("import ws in one file, and in one more for the protocol of Helix, whose frames are its own", () => {
    expect(files).toContain("http/front.ts");
    const users = files.filter((file) => importsOf(file).some((name) => /^ws(\/|$)/.test(name ?? "")));
    expect(users.toSorted()).toEqual(["helix/web-socket-stream.ts", "websocket.ts"]);
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
  it("says of every file what it hides", () => {
    const inside = read("README.md").split("## Inside")[1] ?? "";
    const named = [...inside.matchAll(/`([a-z-]+(?:\.ts|\/))`/g)].map(([, name]) => name);
    const there = readdirSync(new URL("../src", import.meta.url), { withFileTypes: true })
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .filter((name) => !name.endsWith(".test.ts"));
    expect(named.toSorted()).toEqual(there.toSorted());
  });

  it("shows the example that is compiled and run below", () => {
    const example = /```ts\n([\s\S]*?)```/.exec(read("README.md"))?.[1];
    expect(read("test/readme-example.ts")).toBe(example?.replace('from "revdial"', 'from "../src/index.ts"'));
    const code = example?.split("\n").filter((line) => line !== "" && !line.startsWith("//"));
    expect(code?.length).toBeLessThanOrEqual(20);
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
