import { describe, expect, it } from "@jest/globals";
import { inOrder } from "./in-order.ts";

describe("changes in order", () => {
  it("begin when the one before has ended, also when that one failed, and not after those of other things", async () => {
    const ordered = inOrder();
    const said: string[] = [];
    const first = Promise.withResolvers<void>();
    const failed = ordered("a", async () => {
      await first.promise;
      said.push("a1");
      throw new Error("no database");
    }).catch((error: Error) => error.message);
    const second = ordered("a", async () => said.push("a2"));
    await ordered("b", async () => said.push("b1"));
    first.resolve();
    expect([await failed, await second]).toEqual(["no database", 3]);
    expect(said).toEqual(["b1", "a1", "a2"]);
    expect(await ordered("a", async () => "again")).toBe("again");
  });
});
