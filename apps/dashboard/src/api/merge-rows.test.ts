import { describe, expect, it } from "@jest/globals";
import { keepNewer, mergeFound, mergeKnown } from "./merge-rows.ts";

const at = (id: string, second: number) => ({ id, updated_at: `2026-11-26T12:00:0${second}.000Z` });

describe("a list that is read while its rows change", () => {
  it("keeps a row that was read anew since, and is otherwise as it was read", () => {
    const list = keepNewer([at("a", 1), at("b", 2)], [at("a", 3), at("b", 1), at("gone", 9)]);
    expect(list).toEqual([at("a", 3), at("b", 2)]);
    expect(keepNewer([at("a", 1)])).toEqual([at("a", 1)]);
  });

  it("gets back no row that was removed since a page was read", () => {
    expect(mergeKnown([at("a", 1)], [at("a", 2), at("removed", 9)])).toEqual([at("a", 2)]);
  });

  it("loses what is gone, gets what is new, and takes no older answer", () => {
    const found = new Map([
      ["a", undefined],
      ["b", at("b", 1)],
      ["c", at("c", 1)],
      ["never", undefined],
    ]);
    expect(mergeFound([at("a", 5), at("b", 2)], found)).toEqual([at("b", 2), at("c", 1)]);
  });
});
