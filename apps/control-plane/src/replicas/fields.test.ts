import { describe, expect, it } from "@jest/globals";
import { pairsOf, travelling } from "./fields.ts";

describe("fields between replicas", () => {
  it("are pairs in their order, with names in small letters and repeated ones kept", () => {
    expect(pairsOf(["X-A", "1", "Set-Cookie", "a", "set-cookie", "b"])).toEqual([
      ["x-a", "1"],
      ["set-cookie", "a"],
      ["set-cookie", "b"],
    ]);
  });

  it.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Host",
    "Date",
    "Expect",
  ])("of one hop do not travel: %s", (name) => {
    expect(
      travelling([
        [name, "x"],
        ["x-kept", "1"],
      ]),
    ).toEqual([["x-kept", "1"]]);
  });

  it("that Connection names do not travel, however they are written", () => {
    const headers = [
      ["Connection", "close, X-One"],
      ["x-one", "1"],
      ["X-Two", "2"],
      ["connection", "x-TWO"],
      ["x-three", "3"],
    ] as const;
    expect(travelling(headers)).toEqual([["x-three", "3"]]);
  });

  it("of ours do not travel, so that nobody forges them", () => {
    expect(
      travelling([
        ["Wolfpack-Replica", "v1.x"],
        ["wolfpack-fate", "CLOSED not-sent"],
        ["wolfpackx", "1"],
      ]),
    ).toEqual([["wolfpackx", "1"]]);
  });

  it("keep their values as they are, also those that HTTP will refuse to write", () => {
    expect(
      travelling([
        ["x-a", " a\tb "],
        ["x-b", ""],
      ]),
    ).toEqual([
      ["x-a", " a\tb "],
      ["x-b", ""],
    ]);
  });
});
