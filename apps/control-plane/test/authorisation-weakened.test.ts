/** Control planes that are weakened on purpose: the matrix has to see it, or its being green says nothing. */
import { afterAll, beforeAll, describe, expect, it, jest } from "@jest/globals";
import type { AuditEntry } from "../src/identity/audit.ts";
import type { Principal } from "../src/identity/principal.ts";
import type { Report } from "./authorisation-matrix.ts";
import type { TestControlPlane } from "./control-plane.ts";

const policy = await import("../src/identity/policy.ts");
const auditing = await import("../src/identity/audit.ts");
const { ApiError } = await import("../src/http/problem.ts");

/** What stands in the place of the real functions, as far as it is set. */
let weak: Partial<typeof policy> = {};
let record: (entry: AuditEntry, real: (entry: AuditEntry) => Promise<void>) => Promise<void>;
const honest: typeof record = (entry, real) => real(entry);

jest.unstable_mockModule("../src/identity/policy.ts", () => ({
  ...policy,
  decide: (...given: Parameters<typeof policy.decide>) => (weak.decide ?? policy.decide)(...given),
  requireMay: (...given: Parameters<typeof policy.requireMay>) =>
    (weak.requireMay ?? policy.requireMay)(...given),
  reachOf: (...given: Parameters<typeof policy.reachOf>) => (weak.reachOf ?? policy.reachOf)(...given),
}));
jest.unstable_mockModule("../src/identity/audit.ts", () => ({
  createAuditLog: (...given: Parameters<typeof auditing.createAuditLog>) => {
    const log = auditing.createAuditLog(...given);
    return { record: (entry: AuditEntry) => record(entry, log.record) };
  },
}));
// Only now: what is imported before keeps what is real.
const { startControlPlane } = await import("./control-plane.ts");
const { committedRoutes, runMatrix } = await import("./authorisation-matrix.ts");

const operations = ["getWolf", "getSession", "listSessions", "stopSession", "updateUser", "createApiKey"];

describe("the authorisation matrix", () => {
  let api: TestControlPlane;
  beforeAll(async () => {
    [weak, record] = [{}, honest];
    api = await startControlPlane({ logLevel: "silent" });
  });
  afterAll(() => api.stop());

  async function weakened(by: Partial<typeof policy>, write = honest): Promise<Report> {
    [weak, record] = [by, write];
    try {
      return await runMatrix(api, operations);
    } finally {
      [weak, record] = [{}, honest];
    }
  }
  const unscoped = (principal: Principal): Principal =>
    principal.kind === "user" ? { ...principal, scopes: null } : principal;

  it("finds nothing where nothing is weakened", async () => {
    expect(committedRoutes().map(({ id }) => id)).toEqual(expect.arrayContaining(operations));
    expect((await weakened({})).findings).toEqual([]);
  });

  it("finds, where everything is allowed, each route that does what it must not", async () => {
    const { findings } = await weakened({
      decide: () => "allowed",
      requireMay: () => undefined,
      reachOf: () => "any",
    });
    expect(findings).toEqual(
      expect.arrayContaining([
        "stopSession as a viewer, own: 202, not 403 forbidden",
        "stopSession as a viewer, own: was denied and has changed something",
        "stopSession as a viewer, own: events: session.stop allowed, not session.stop denied",
        "getSession as a user, foreign: 200, not 404 session-not-found",
        "listSessions as another user, foreign: is in the list",
        "updateUser as an operator, foreign: 200, not 403 forbidden",
        "createApiKey as a user, foreign: 201, not 404 user-not-found",
        "getWolf as a user's key of scope sessions, foreign: 200, not 403 forbidden",
      ]),
    );
  });

  it("finds owners that nobody looks at", async () => {
    const { findings } = await weakened({ requireMay: () => undefined });
    expect(findings).toContain("getSession as a user, foreign: 200, not 404 session-not-found");
    expect(findings).toContain("stopSession as another user, foreign: 202, not 404 session-not-found");
    expect(findings.filter((line) => line.includes("own: "))).toEqual([]);
  });

  it("finds scopes that nobody looks at", async () => {
    const { findings } = await weakened({
      decide: (principal, ...more) => policy.decide(unscoped(principal), ...more),
    });
    expect(findings).toContain("updateUser as an admin's key of scope read, own: 200, not 403 forbidden");
    expect(findings.filter((line) => !line.includes(" key of scope "))).toEqual([]);
  });

  it("finds an answer that tells what belongs to others from what does not exist", async () => {
    const { findings } = await weakened({
      requireMay(principal, action, owner, missing) {
        const decision = policy.decide(principal, action, owner);
        if (decision !== "allowed")
          throw new ApiError(decision === "hidden" ? missing().code : "forbidden", "Not yours.").asDenied();
      },
    });
    expect(findings).toContainEqual(
      expect.stringMatching(/^getSession as a user, foreign: reads unlike one that does not exist/),
    );
  });

  it("finds a denial that is not in the audit log, and a change that is there twice", async () => {
    const silent = await weakened({}, async (entry, real) => {
      if (entry.result !== "denied") await real(entry);
    });
    expect(silent.findings).toContain("getWolf as nobody, foreign: events: none, not wolf.read denied");
    expect(silent.findings).toContain("getSession as a user, foreign: events: none, not session.read denied");
    const twice = await weakened({}, async (entry, real) => {
      await real(entry);
      if (entry.result === "allowed") await real(entry);
    });
    expect(twice.findings).toContain(
      "stopSession as a user, own: events: session.stop allowed, session.stop allowed, not session.stop allowed",
    );
  });
});
