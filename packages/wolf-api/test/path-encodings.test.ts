/** Every way to write a path that proxies, browsers and attackers have been seen to use, as data beside this file. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { checkWolfRequest } from "../src/check.ts";

const corpus = JSON.parse(readFileSync(new URL("./path-encodings.json", import.meta.url), "utf8")) as {
  allowed: string[];
  refused: string[];
};
const check = (path: string) => checkWolfRequest({ method: "GET", path, bodyText: "" });

describe("the corpus of path encodings", () => {
  it("has at least 200, each once", () => {
    const all = [...corpus.allowed, ...corpus.refused];
    expect(all.length).toBeGreaterThanOrEqual(200);
    expect(new Set(all).size).toBe(all.length);
  });

  it.each(corpus.allowed)("takes %j as the one route that it is, and sends the route's own path", (path) => {
    expect(check(path)).toMatchObject({ ok: true, target: "/api/v1/lobbies", bodyText: "" });
  });

  it.each(corpus.refused)("refuses %j", (path) => {
    const result = check(path);
    expect(result.ok ? result.target : result.refusal.code).toMatch(
      /^(path-invalid|query-invalid|route-unknown)$/,
    );
  });
});
