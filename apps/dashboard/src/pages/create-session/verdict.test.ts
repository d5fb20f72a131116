import { describe, expect, it } from "@jest/globals";
import type { PlacementPreview } from "@wolfpack/api-contract";
import { aPreview } from "../../../test/a-session.ts";
import { verdictOf } from "./verdict.ts";

type Refusal = NonNullable<PlacementPreview["refusal"]>;

function refused(code: string, current: number | null, limit: number | null): string {
  const refusal = {
    code: code as Refusal["code"],
    text: "In the words of the control plane.",
    current,
    limit,
  };
  const { tone, title, text } = verdictOf(aPreview({ outcome: "refused", refusal }));
  expect([tone, title]).toEqual(["danger", "It would be refused"]);
  return text;
}

describe("what creating a session would be answered", () => {
  it("is a wolf, a place in the queue, or that no wolf could take it", () => {
    expect(verdictOf(aPreview()).title).toBe("It would start on");
    const waits = aPreview({ outcome: "queued", queue_position: 3 });
    expect(verdictOf(waits)).toMatchObject({ tone: "warning", title: "It would wait at place 3" });
    expect(verdictOf({ ...waits, queue_position: null }).title).toBe("It would wait");
    expect(verdictOf(aPreview({ outcome: "impossible" }))).toMatchObject({
      tone: "danger",
      title: "No wolf could ever take it",
    });
  });

  it("is a refusal, by which limit, and how many of how many there are", () => {
    expect(refused("quota-exceeded", 20, 20)).toBe(
      "You have 20 sessions and may have 20 at once: one has to end first.",
    );
    expect(refused("quota-exceeded", 1, 1)).toContain("You have 1 session and");
    expect(refused("rate-limited", 30, 30)).toBe(
      "You have created 30 sessions within a minute and may create 30: wait a moment.",
    );
    expect(refused("queue-full", 9, 9)).toBe("There is no room, and 9 of 9 places in the queue are taken.");
    expect(refused("no-capacity", null, null)).toBe("There is no room, and it is not to wait.");
  });

  it("is said in the control plane's words where its code or its figures are not known here", () => {
    for (const [code, figure] of [
      ["moon-full", 1],
      ["queue-full", null],
    ] as const)
      expect(refused(code, figure, figure)).toBe("In the words of the control plane.");
    expect(verdictOf(aPreview({ outcome: "refused", refusal: null })).text).toContain("does not say why");
    expect(verdictOf(aPreview({ outcome: "postponed" as "refused" })).title).toBe("It would be refused");
  });
});
