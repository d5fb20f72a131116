import { describe, expect, it } from "@jest/globals";
import type { QueueEntry } from "@wolfpack/api-contract";
import { rowsOf } from "./rows.ts";

const entry = (id: string, position: number, name?: string): QueueEntry => ({
  session_id: `ses_01KB0000000000000000000${id}`,
  ...(name === undefined ? {} : { name }),
  owner_id: "usr_01KB0000000000000000000001",
  position,
  priority: 4,
  queued_at: "2026-11-27T12:00:00.000Z",
  deadline: "2026-11-27T12:30:00.000Z",
  text: "None of 3 wolves fits: 3 full.",
});

describe("the queue in pages", () => {
  it("is one list, whose rows have a name that may be pressed", () => {
    const rows = rowsOf([entry("0A1", 1, "desk"), entry("0A2", 2), entry("0A3", 3, "")]);
    expect(rows.map(({ position }) => position)).toEqual([1, 2, 3]);
    expect(rows[0]?.name).toBe("desk");
    for (const { name } of rows) expect(name).not.toBe("");
  });

  it("has nobody twice who moved while it was read: the later page is right", () => {
    const rows = rowsOf([entry("0A1", 1), entry("0A2", 2), entry("0A2", 1), entry("0A3", 2)]);
    expect(rows.map(({ session_id, position }) => [session_id.slice(-3), position])).toEqual([
      ["0A1", 1],
      ["0A2", 1],
      ["0A3", 2],
    ]);
  });

  it("is empty where nobody waits", () => {
    expect(rowsOf([])).toEqual([]);
  });
});
