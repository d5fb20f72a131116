/** Kinds and causes of events: the contract's table, what the triggers and the program write, and the document are the same. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { fleetEventCauses, fleetEventKinds, SessionStatus } from "@wolfpack/api-contract";
import { type TestDatabase, testDatabase } from "./database.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const document = readFileSync(path.join(root, "docs/operations/events.md"), "utf8");
const folder = path.join(root, "apps/control-plane/src");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
  (name) => name.endsWith(".ts") && !name.includes(".test.") && !name.startsWith("generated"),
);
const textOf = (names: readonly string[]) =>
  names.map((name) => readFileSync(path.join(folder, name), "utf8")).join("\n");
const sources = textOf(files);
/** Of whoever calls events/author.ts, without comments: those have words with apostrophes. */
const calling = textOf(files.filter((name) => name !== path.join("events", "author.ts"))).replace(
  /^\s*(\/\*[\s\S]*?\*\/|\/\/.*)$/gm,
  "",
);

/** Which argument of each call of events/author.ts is the cause. */
const causeAt: Record<string, number> = { because: 0, thereby: 0, becauseAgent: 1, onBehalfOf: 2 };
/** What the call gives where the argument is left out. */
const fallbacks: Record<string, string> = { onBehalfOf: '"requested"' };

/** The arguments of each call of a function, as they are written. */
function callsOf(name: string, text = calling): string[][] {
  return [...text.matchAll(new RegExp(`(?<![\\w.])${name}\\(`, "g"))].map(({ index, 0: { length } }) => {
    const found: string[] = [];
    let [depth, word, quote] = [0, "", ""];
    for (const sign of text.slice(index + length)) {
      if (quote === "" && depth === 0 && (sign === "," || sign === ")")) {
        if (word.trim() !== "") found.push(word.trim());
        word = "";
        if (sign === ")") break;
        continue;
      }
      if (quote !== "") quote = sign === quote ? "" : quote;
      else if (/["'`]/.test(sign)) quote = sign;
      else if (/[([{]/.test(sign)) depth += 1;
      else if (/[)\]}]/.test(sign)) depth -= 1;
      word += sign;
    }
    return found;
  });
}

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

/** Rows of a table of the document: first column, second column. */
function rowsOf(heading: string): [string, string][] {
  const section = document.split(`## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  return [...section.matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)].map(([, name = "", text = ""]) => [name, text]);
}

describe("kinds of events", () => {
  it("are those of the document, in its words", () => {
    expect(rowsOf("Kinds")).toEqual(Object.entries(fleetEventKinds));
  });

  it("are all that triggers write, and what the program announces", async () => {
    const functions = await database.prisma.$queryRaw<{ prosrc: string }[]>`
      SELECT prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace WHERE nspname = 'public'`;
    const text = functions.map(({ prosrc }) => prosrc).join("\n");
    const named = [...text.matchAll(/'([a-z-]+\.[a-z-]+)'/g)].map(([, kind = ""]) => kind);
    const statuses = text.includes("'session.' || NEW.\"status\"") ? SessionStatus.options : [];
    const announced = [...sources.matchAll(/record\(\{ kind: "([a-z-]+\.[a-z-]+)"/g)].map(
      ([, kind = ""]) => kind,
    );
    const written = [...named, ...statuses.map((status) => `session.${status}`), ...announced];
    expect([...new Set(written)].sort()).toEqual(Object.keys(fleetEventKinds).sort());
  });
});

describe("causes of events", () => {
  it("are those of the document, in its words", () => {
    expect(rowsOf("Causes")).toEqual(Object.entries(fleetEventCauses));
  });

  it("are those that the program gives where it says why it makes a change, and each of them", () => {
    const given = Object.entries(causeAt).flatMap(([name, place]) =>
      callsOf(name).map((words) => words[place] ?? fallbacks[name]),
    );
    // Anything but a word written out could not be checked here.
    expect([...new Set(given)].sort()).toEqual(
      Object.keys(fleetEventCauses)
        .map((cause) => `"${cause}"`)
        .sort(),
    );
  });

  it("are looked for in calls: not in words that happen to be the same, and in one that goes over lines", () => {
    const text =
      'const x = "drain"; because(\n  "queue",\n  () => f("a, b", [1, 2]),\n); notbecause("restart");';
    expect(callsOf("because", text)).toEqual([['"queue"', '() => f("a, b", [1, 2])']]);
  });
});
