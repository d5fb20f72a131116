/** Kinds and causes of events: the contract's table, what the triggers and the program write, and the document are the same. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { fleetEventCauses, fleetEventKinds, SessionStatus } from "@wolfpack/api-contract";
import { type TestDatabase, testDatabase } from "./database.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const document = readFileSync(path.join(root, "docs/operations/events.md"), "utf8");
const sources = readdirSync(path.join(root, "apps/control-plane/src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.includes(".test.") && !name.startsWith("generated"))
  .map((name) => readFileSync(path.join(root, "apps/control-plane/src", name), "utf8"))
  .join("\n");

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

  it("are each given by some place of the program", () => {
    const given = Object.keys(fleetEventCauses).filter((cause) => sources.includes(`"${cause}"`));
    expect(given).toEqual(Object.keys(fleetEventCauses));
  });
});
