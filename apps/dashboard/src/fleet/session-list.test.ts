import { describe, expect, it } from "@jest/globals";
import { aSession } from "../../test/a-session.ts";
import { fits, merged, withSession } from "./session-list.ts";

const at = (second: number) => `2026-11-26T12:00:0${second}.000Z`;
const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id);

describe("a list of sessions", () => {
  const live = { status: "live" } as const;
  const rows = [aSession({ id: "ses_4" }), aSession({ id: "ses_2" })];

  it("takes a new session in at its place, the newest first", () => {
    expect(ids(withSession(rows, aSession({ id: "ses_5" }), live))).toEqual(["ses_5", "ses_4", "ses_2"]);
    expect(ids(withSession(rows, aSession({ id: "ses_3" }), live))).toEqual(["ses_4", "ses_3", "ses_2"]);
    expect(ids(withSession(rows, aSession({ id: "ses_1" }), live))).toEqual(["ses_4", "ses_2", "ses_1"]);
  });

  it("gives a changed session a new object and leaves the others as they are", () => {
    const changed = aSession({ id: "ses_2", status: "stopping", updated_at: at(1) });
    const after = withSession(rows, changed, live);
    expect(after[0]).toBe(rows[0]);
    expect(after[1]).toBe(changed);
  });

  it("drops a session that has ended from those that live, and keeps it among all", () => {
    const ended = aSession({ id: "ses_2", status: "stopped", updated_at: at(1) });
    expect(ids(withSession(rows, ended, live))).toEqual(["ses_4"]);
    expect(ids(withSession(rows, ended, { status: "any" }))).toEqual(["ses_4", "ses_2"]);
  });

  it("does not change for news that are older than what it shows, nor for what does not belong to it", () => {
    const shown = [aSession({ id: "ses_2", updated_at: at(5) })];
    expect(withSession(shown, aSession({ id: "ses_2", status: "lost", updated_at: at(4) }), live)).toBe(
      shown,
    );
    expect(withSession(shown, aSession({ id: "ses_9", status: "failed" }), live)).toBe(shown);
  });

  it("holds only what its filter says", () => {
    const session = aSession({ status: "queued", wolf_instance_id: null });
    expect(fits(session, { status: "queued" })).toBe(true);
    expect(fits(session, { status: "running" })).toBe(false);
    expect(fits(session, { status: "live", owner: "usr_2" })).toBe(false);
    expect(fits(session, { status: "live", wolf: "wlf_1" })).toBe(false);
  });

  it("made of several reads has each session once, as it was last", () => {
    const older = aSession({ id: "ses_2", status: "starting", updated_at: at(1) });
    const newer = aSession({ id: "ses_2", status: "running", updated_at: at(2) });
    expect(merged([newer, aSession({ id: "ses_3" }), older])).toEqual([aSession({ id: "ses_3" }), newer]);
    expect(merged([])).toEqual([]);
  });
});
