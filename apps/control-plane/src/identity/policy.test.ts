import { describe, expect, it } from "@jest/globals";
import { type Action, actions, type Role, roles, scopes } from "@wolfpack/api-contract";
import { ApiError } from "../http/problem.ts";
import { decide, reachOf, requireMay } from "./policy.ts";
import type { Principal, UserPrincipal } from "./principal.ts";

const names = Object.keys(actions) as Action[];
const user = (role: Role, more: Partial<UserPrincipal> = {}): UserPrincipal => ({
  kind: "user",
  userId: "usr_me",
  role,
  scopes: null,
  credentialId: "key_mine",
  ...more,
});
const agent: Principal = { kind: "agent", wolfId: "wlf_mine", credentialId: "agk_mine" };
const joiner: Principal = { kind: "joiner", credentialId: "jtk_1", wolfName: null };
const runner: Principal = { kind: "runner" };
/** What a caller may do to objects of its own or of others. */
const allowed = (principal: Principal, owner: string) =>
  names.filter((action) => decide(principal, action, owner) === "allowed");

/** What concerns nobody but the caller. */
const mine = ["web-session.create", "web-session.end", "me.read"];

describe("what a user may do", () => {
  it("is everything but a machine's business for an admin, whoever owns the object", () => {
    const machines = ["agent.enroll", "agent.connect", "agent.renew", "agent.diagnose"];
    expect(names.filter((name) => !allowed(user("admin"), "usr_me").includes(name))).toEqual(machines);
    expect(names.filter((name) => !allowed(user("admin"), "usr_other").includes(name))).toEqual([
      ...mine,
      ...machines,
    ]);
  });

  it("is for a viewer to look at the fleet, and to keep keys of their own", () => {
    const looking = ["wolf.read", "wolf.inspect", "placement.preview", "event.read", "session.read"];
    expect(allowed(user("viewer"), "usr_other")).toEqual(looking);
    expect(allowed(user("viewer"), "usr_me").sort()).toEqual(
      [...looking, ...mine, "api-key.read", "api-key.create", "api-key.revoke"].sort(),
    );
  });

  it("ends for a user at what belongs to others, which reads as if it did not exist", () => {
    expect(allowed(user("user"), "usr_other")).toEqual(["wolf.read", "placement.preview"]);
    expect(decide(user("user"), "session.stop", "usr_other")).toBe("hidden");
    expect(decide(user("user"), "session.stop", "usr_me")).toBe("allowed");
  });

  it("does not reach the screens of others for an operator, who may stop them", () => {
    expect(decide(user("operator"), "session.look", "usr_other")).toBe("hidden");
    expect(decide(user("operator"), "session.stop", "usr_other")).toBe("allowed");
    expect(decide(user("operator"), "user.create")).toBe("forbidden");
  });

  it.each(scopes)(
    "with a key of scope %s is what has that scope, and nothing that the role may not",
    (scope) => {
      for (const role of roles) {
        const limited = user(role, { scopes: [scope] });
        for (const action of names) {
          const before = decide(user(role), action, "usr_me");
          const expected = actions[action].scope === scope ? before : "forbidden";
          expect([role, action, decide(limited, action, "usr_me")]).toEqual([role, action, expected]);
        }
      }
    },
  );

  it("is nothing with a key of no scope", () => {
    for (const role of roles) expect(allowed(user(role, { scopes: [] }), "usr_me")).toEqual([]);
  });
});

describe("what a machine may do", () => {
  it("is for an agent to serve its own wolf", () => {
    expect(allowed(agent, "wlf_mine")).toEqual(["agent.connect", "agent.renew", "agent.diagnose"]);
    expect(allowed(agent, "wlf_other")).toEqual([]);
  });

  it("is for a join token to enrol", () => {
    expect(allowed(joiner, "wlf_any")).toEqual(["agent.enroll"]);
  });

  it("is for the runner token nothing that concerns users, sessions or keys", () => {
    expect(allowed(runner, "wlf_any").filter((action) => !/^(wolf|agent)\./.test(action))).toEqual([]);
  });
});

describe("an object of somebody else", () => {
  const missing = () => new ApiError("session-not-found", "There is no such session.");

  it("is refused with the problem of one that does not exist, and remembered as denied", () => {
    let thrown: unknown;
    try {
      requireMay(user("user"), "session.read", "usr_other", missing);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "session-not-found", message: missing().message, denied: true });
  });

  it("is forbidden where the role may not do this to any", () => {
    expect(() => requireMay(user("viewer"), "session.stop", "usr_me", missing)).toThrow(
      expect.objectContaining({ code: "forbidden" }),
    );
    expect(() => requireMay(user("user"), "session.read", "usr_me", missing)).not.toThrow();
  });

  it("is in the lists of those only who may act on all", () => {
    expect(roles.map((role) => reachOf(user(role), "session.read"))).toEqual(["any", "any", "own", "any"]);
    expect(roles.map((role) => reachOf(user(role), "api-key.read"))).toEqual(["any", "own", "own", "own"]);
  });
});
