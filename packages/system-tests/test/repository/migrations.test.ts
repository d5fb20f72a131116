/** Old and new replicas run beside each other: a migration adds, and takes away a release later. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "@jest/globals";
import { root } from "../../src/stack.ts";
import { baseline, faultsOf } from "./migration-steps.ts";

const folder = path.join(root, "prisma/migrations");
const names = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)
  .toSorted();

describe("migrations", () => {
  it("take away only what an earlier step has made room for", () => {
    const faults = names.flatMap((name, at) =>
      faultsOf(name, readFileSync(path.join(folder, name, "migration.sql"), "utf8"), names.slice(0, at)),
    );
    expect(faults).toEqual([]);
  });

  it("were all there that are excused", () => {
    expect([...baseline].filter((name) => !names.includes(name))).toEqual([]);
  });

  it.each([
    ["a table", 'DROP TABLE "x";'],
    ["a column", 'ALTER TABLE "x" DROP COLUMN "y";'],
    ["a name", 'ALTER TABLE "x" RENAME COLUMN "y" TO "z";'],
    ["nothing in a column", 'ALTER TABLE "x" ALTER COLUMN "y" SET NOT NULL;'],
    ["nothing in a new column", 'ALTER TABLE "x" ADD COLUMN "a" TEXT, ADD COLUMN "y" TEXT NOT NULL;'],
    ["a type", 'ALTER TABLE "x" ALTER COLUMN "y" SET DATA TYPE BIGINT;'],
  ])("that take %s from a program of before are refused, unless they contract", (_, sql) => {
    expect(faultsOf("2_b", `-- expand\n${sql}`, ["1_a"])).toHaveLength(1);
    expect(faultsOf("2_b", sql, ["1_a"])).toHaveLength(1);
    expect(faultsOf("2_b", `-- contract since 1_a\n${sql}`, ["1_a"])).toEqual([]);
    expect(faultsOf("2_b", `-- contract since 3_c\n${sql}`, ["1_a"])).toHaveLength(1);
  });

  it.each([
    ["a new column with a default", 'ALTER TABLE "x" ADD COLUMN "y" TEXT NOT NULL DEFAULT \'DROP TABLE\';'],
    ["a new table", 'CREATE TABLE "x" ("y" TEXT NOT NULL);'],
    ["a comment", "-- DROP TABLE x\nSELECT 1;"],
  ])("may bring %s", (_, sql) => {
    expect(faultsOf("2_b", `-- expand\n${sql}`, ["1_a"])).toEqual([]);
  });
});
