import { describe, expect, it } from "@jest/globals";
import type { HealthCheck } from "@wolfpack/api-contract";
import { summaryOf, toneOfCheck, wordOfCheck } from "./health-words.ts";

const checks = (...statuses: string[]): { checks: HealthCheck[] } => ({
  checks: statuses.map((status, index) => ({
    id: `C0${index + 1}`,
    title: "Database",
    status: status as HealthCheck["status"],
    detail: "",
    advice: null,
    ms: 1,
  })),
});

describe("the checks of the control plane in words", () => {
  it("counts what is fine, and names what was skipped", () => {
    expect(summaryOf(checks("ok", "ok", "skipped"))).toBe("2 checks fine, 1 skipped");
    expect(summaryOf(checks("ok"))).toBe("1 check fine");
  });

  it("says what failed first", () => {
    expect(summaryOf(checks("ok", "failed", "warning", "warning"))).toBe(
      "1 check failed, 2 warnings, 1 fine",
    );
  });

  it("takes a status that it does not know for something to look at, and says it as it came", () => {
    expect(toneOfCheck("exploded")).toBe("warning");
    expect(wordOfCheck("exploded")).toBe("exploded");
    expect(summaryOf(checks())).toBe("0 checks fine");
  });
});
