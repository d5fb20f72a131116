import { describe, expect, it } from "@jest/globals";
import { homesOnce } from "./homes.ts";

describe("homes", () => {
  it("are given out once, unless no sandbox got them; the oldest of very many are forgotten", () => {
    const homes = homesOnce(2);
    expect([homes.take("a"), homes.take("a"), homes.take("b")]).toEqual([true, false, true]);
    homes.giveBack("a");
    expect([homes.take("a"), homes.take("c"), homes.take("a"), homes.take("b")]).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });
});
