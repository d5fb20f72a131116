/** Where the tests of the dashboard get their browser from, and what becomes of them where there is none. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { findBrowser, withoutBrowser } from "../src/browser.ts";

describe("without a browser", () => {
  it.each([
    [{}],
    [{ CI: "" }],
    [{ CI: "false" }],
    [{ CI: "0" }],
    [{ CI: "true", BROWSER_TESTS: "optional" }],
    [{ BROWSER_TESTS: "optional" }],
  ])("tests are skipped with %j", (env) => expect(withoutBrowser(env)).toBe("skip"));

  it.each([
    [{ CI: "true" }],
    [{ CI: "1" }],
    [{ CI: "woodpecker" }],
    [{ CI: "true", BROWSER_TESTS: "" }],
    [{ CI: "true", BROWSER_TESTS: "yes" }],
    [{ CI: "true", CHROME_PATH: "/nonexistent" }],
  ])("tests fail with %j: nobody would see that they did not run", (env) =>
    expect(withoutBrowser(env)).toBe("fail"),
  );
});

describe("the browser that is found", () => {
  let folder: string;
  let program: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "wolfpack-browser-"));
    program = path.join(folder, "google-chrome");
    writeFileSync(program, "#!/bin/sh\n");
    chmodSync(program, 0o755);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is the one that CHROME_PATH names, and no other where that is none", () => {
    expect(findBrowser({ CHROME_PATH: program, PATH: "" })).toBe(program);
    for (const none of ["/nonexistent", path.join(folder, "none")])
      expect(findBrowser({ CHROME_PATH: none, PATH: folder })).toBeUndefined();
  });

  it("is what can be run: a file that is no program is passed over", () => {
    chmodSync(program, 0o644);
    expect(findBrowser({ CHROME_PATH: program })).toBeUndefined();
    chmodSync(program, 0o755);
    expect(findBrowser({ PATH: folder })).toMatch(/chrom/);
  });
});
