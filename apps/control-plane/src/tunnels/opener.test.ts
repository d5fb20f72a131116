import { describe, expect, it } from "@jest/globals";
import { anOpener } from "../../test/an-opener.ts";
import type { Principal } from "../identity/principal.ts";
import { clockOffsetOf } from "./opener.ts";

const agent = (clockOffsetMs?: number): Principal => ({
  kind: "agent",
  wolfId: "wlf_a",
  credentialId: "agk_a",
  clockOffsetMs,
});

describe("the clock of whoever opens a tunnel", () => {
  it.each([-300_000, 0, 45_000])("is what its agent has signed (%d ms)", (ms) => {
    expect(clockOffsetOf(anOpener(agent(ms)))).toBe(ms);
  });

  it("is not known of the RUNNER_TOKEN, of a user, of an agent of Helix, nor where no time was shown", () => {
    const user: Principal = {
      kind: "user",
      userId: "usr_a",
      role: "user",
      scopes: null,
      credentialId: "key_a",
    };
    for (const opener of [
      anOpener({ kind: "runner" }),
      anOpener(user),
      anOpener({ kind: "runner" }, 0, "helix"),
      anOpener(agent(45_000), 0, "helix"),
      anOpener(agent()),
    ])
      expect(clockOffsetOf(opener)).toBeUndefined();
  });
});
