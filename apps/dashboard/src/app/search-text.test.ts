import { describe, expect, it } from "@jest/globals";
import { parseSearch, stringifySearch } from "./search-text.ts";

describe("the query of an address", () => {
  it("brings whatever a session may ask for, whole", () => {
    const search = {
      image: "i".repeat(255),
      labels: Array.from({ length: 32 }, (_unused, at) => `l${at}=${"v".repeat(255)}`).join(", "),
    };
    expect(parseSearch(stringifySearch(search))).toEqual(search);
  });

  it("leaves out what is too long, instead of cutting it: half an image is another image", () => {
    expect(parseSearch(`?image=${"i".repeat(12_001)}&gpu=nvidia`)).toEqual({ gpu: "nvidia" });
  });

  it("has twenty fields at most, none of them empty", () => {
    const many = Object.fromEntries(Array.from({ length: 30 }, (_unused, at) => [`f${at}`, "x"]));
    expect(Object.keys(parseSearch(stringifySearch(many)))).toHaveLength(20);
    expect(stringifySearch({ a: "", b: undefined, c: 7 })).toBe("");
  });
});
