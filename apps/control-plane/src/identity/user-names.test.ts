import { describe, expect, it } from "@jest/globals";
import { createUserNames } from "./user-names.ts";

function setUp(keptMax?: number) {
  const users = new Map([
    ["usr_a", "anna"],
    ["usr_b", "bert"],
    ["usr_c", "carl"],
  ]);
  const asked: (readonly string[])[] = [];
  const state = { broken: false };
  const store = {
    async userNames(ids: readonly string[]) {
      asked.push(ids);
      if (state.broken) throw new Error("ECONNREFUSED");
      return ids.flatMap((id) => {
        const name = users.get(id);
        return name === undefined ? [] : [{ id, name }];
      });
    },
  };
  const names = createUserNames(store, keptMax === undefined ? {} : { keptMax });
  const of = async (...ids: string[]) => ids.map(await names.of(ids));
  return { of, users, asked, state };
}

describe("names of users", () => {
  it("are asked for together, each once, and not again", async () => {
    const { of, asked } = setUp();
    expect(await of("usr_a", "usr_b", "usr_a")).toEqual(["anna", "bert", "anna"]);
    expect(await of("usr_b", "usr_c")).toEqual(["bert", "carl"]);
    expect(await of("usr_a", "usr_c")).toEqual(["anna", "carl"]);
    expect(asked).toEqual([["usr_a", "usr_b"], ["usr_c"]]);
  });

  it("are null of whom there is not, who is asked for again: they may be there by then", async () => {
    const { of, users, asked } = setUp();
    expect(await of("usr_d")).toEqual([null]);
    users.set("usr_d", "dora");
    expect(await of("usr_d")).toEqual(["dora"]);
    expect(asked).toHaveLength(2);
  });

  it("that nobody asks for are no statement", async () => {
    const { of, asked } = setUp();
    expect(await of()).toEqual([]);
    expect(asked).toEqual([]);
  });

  it("are all said also where more are asked for than are kept; the oldest make room", async () => {
    const { of, asked } = setUp(2);
    expect(await of("usr_a", "usr_b", "usr_c")).toEqual(["anna", "bert", "carl"]);
    expect(await of("usr_b", "usr_c")).toEqual(["bert", "carl"]);
    expect(await of("usr_a")).toEqual(["anna"]);
    expect(asked.slice(1)).toEqual([["usr_a"]]);
  });

  it("that are known need no database; one that is not, rejects and is kept by nobody", async () => {
    const { of, state } = setUp();
    await of("usr_a");
    state.broken = true;
    expect(await of("usr_a")).toEqual(["anna"]);
    await expect(of("usr_a", "usr_b")).rejects.toThrow("ECONNREFUSED");
    state.broken = false;
    expect(await of("usr_b")).toEqual(["bert"]);
  });
});
