import { describe, expect, it } from "@jest/globals";
import { modernise } from "./spelling.ts";

describe("the original's command line", () => {
  it.each([
    ["-api-url=https://a=b", "--api-url=https://a=b"],
    ["-wolf-id", "--wolf-id"],
    ["--wolf-id=a", "--wolf-id=a"],
    ["-token=", "--token="],
    ["-token=two\nlines", "--token=two\nlines"],
    ["-insecure", "--insecure"],
    ...["1", "t", "T", "TRUE", "true", "True"].map((on) => [`-insecure=${on}`, "--insecure"]),
    ...["0", "f", "F", "FALSE", "false", "False"].map((off) => [`-insecure=${off}`, "--no-insecure"]),
    ["--insecure=false", "--no-insecure"],
    ["--health-remote=true", "--health-remote"],
  ])("is understood: %j is %j", (old, modern) => {
    expect(modernise([old])).toEqual([modern]);
  });

  it.each(["-x", "-region=a", "-h", "-insecur", "connect", "-", "", "-5", "=", "-=", "---token"])(
    "is not read into %j",
    (other) => {
      expect(modernise([other])).toEqual([other]);
    },
  );

  it("leaves a value of a switch that is none to be refused, and what stands behind -- as it is", () => {
    expect(modernise(["-insecure=maybe", "-insecure=tRUE", "-insecure="])).toEqual([
      "--insecure=maybe",
      "--insecure=tRUE",
      "--insecure=",
    ]);
    expect(modernise(["-insecure", "--", "-insecure", "-token=x"])).toEqual([
      "--insecure",
      "--",
      "-insecure",
      "-token=x",
    ]);
  });
});
