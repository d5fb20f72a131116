import { describe, expect, it } from "@jest/globals";
import { titleOf } from "./title.ts";

describe("the title of a page", () => {
  it.each([
    ["/", "Fleet – Wolfpack"],
    ["/login", "Sign in – Wolfpack"],
    ["/sessions", "Sessions – Wolfpack"],
    ["/sessions/", "Sessions – Wolfpack"],
    ["/sessions/new", "New session – Wolfpack"],
    ["/sessions/ses_1", "Session – Wolfpack"],
    ["/wolves/wlf_1", "Wolf – Wolfpack"],
    ["/health", "Health – Wolfpack"],
  ])("says where one is: %s", (path, title) => {
    expect(titleOf(path)).toBe(title);
  });

  it("begins with the object's name", () => {
    expect(titleOf("/wolves/wlf_1", "gpu-1")).toBe("gpu-1 – Wolf – Wolfpack");
  });

  it.each([undefined, null, ""])("does without a name that is not there: %j", (name) => {
    expect(titleOf("/sessions/ses_1", name)).toBe("Session – Wolfpack");
  });

  it("says so where there is no page", () => {
    expect(titleOf("/no/such")).toBe("No such page – Wolfpack");
    expect(titleOf("/healthy")).toBe("No such page – Wolfpack");
  });

  it("makes visible what deceives the eye, and cuts what is too long", () => {
    expect(titleOf("/wolves/wlf_1", "a\u202eb\u001b")).toBe("a\\u202eb\u241b – Wolf – Wolfpack");
    expect(titleOf("/wolves/wlf_1", "x".repeat(500))).toBe(`${"x".repeat(80)}… – Wolf – Wolfpack`);
  });
});
