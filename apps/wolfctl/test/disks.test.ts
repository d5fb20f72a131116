/** How full a disk is: the same figure as `df` and the dashboard show. */
import { describe, expect, it } from "@jest/globals";
import { diskView } from "../src/views/disk-view.ts";
import { share } from "../src/views/wolf-view.ts";

describe("the fill of a disk", () => {
  it("is of what may be used: what a file system keeps for root is not free", () => {
    expect(share({ used_bytes: 31, available_bytes: 69 })).toBe(0.31);
    const used = diskView([]).columns.find(({ title }) => title === "USED");
    const disk = { mount: "/", total_bytes: 240, used_bytes: 31, available_bytes: 69, level: "ok" as const };
    expect(used?.of(disk)).toMatch(/ 31 %$/);
  });

  it("of one that is empty, or of no size, is nothing", () => {
    expect(share({ used_bytes: 0, available_bytes: 5 })).toBe(0);
    expect(share({ used_bytes: 0, available_bytes: 0 })).toBe(0);
  });
});
