import { describe, expect, it } from "@jest/globals";
import { type AuditFilter, auditErrors, auditQuery, exportPath, instantOf, localOf } from "./audit-filter.ts";

const none: AuditFilter = { actor: "", action: "", object: "", result: "", since: "", until: "" };
const NOON = "2026-11-26T12:00:00.000Z";
const LATER = "2026-11-26T13:00:00.000Z";

describe("the filter of the audit log", () => {
  it("asks the API for what is set, in the API's words", () => {
    expect(auditQuery(none)).toEqual({});
    expect(auditQuery({ ...none, actor: "usr_1", result: "denied", since: NOON })).toEqual({
      actor_id: "usr_1",
      result: "denied",
      since: NOON,
    });
  });

  it("exports the same, and stays on its own path whatever the filter holds", () => {
    const path = "/api/v1/audit-events/export";
    expect(exportPath(path, none)).toBe(path);
    const hostile = exportPath(path, { ...none, object: "//evil.example/?x=1#&result=allowed\n" });
    const { origin, pathname, searchParams } = new URL(hostile, "https://wolfpack.example.com");
    expect([origin, pathname]).toEqual(["https://wolfpack.example.com", path]);
    expect([...searchParams.keys()]).toEqual(["object"]);
  });

  it("takes local times of a field and gives them back", () => {
    expect(localOf(instantOf("2026-11-26T22:05"))).toBe("2026-11-26T22:05");
    expect(instantOf(localOf(NOON))).toBe(NOON);
  });

  it("makes nothing of a time that is none", () => {
    for (const text of ["", "soon", "2026-13-45T99:99"]) {
      expect(instantOf(text)).toBe("");
      expect(localOf(text)).toBe("");
    }
  });

  it("says what is wrong with times of a link", () => {
    expect(auditErrors({ ...none, since: "yesterday" })).toHaveProperty("since");
    expect(auditErrors({ ...none, until: "2026-11-26" })).toHaveProperty("until");
    expect(auditErrors({ ...none, since: LATER, until: NOON })).toHaveProperty("until");
    expect(auditErrors({ ...none, since: NOON, until: NOON })).toHaveProperty("until");
    expect(auditErrors({ ...none, since: NOON, until: LATER })).toEqual({});
  });
});
