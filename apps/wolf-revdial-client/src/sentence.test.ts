import { describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { printableWithout } from "./printable.ts";
import { problemOf, sentence } from "./sentence.ts";

describe("an error as a sentence", () => {
  it("has the outermost message and the innermost reason, which is what a person needs to see", () => {
    const network = new Error("got no reply", {
      cause: new Error("call", { cause: new Error("ECONNREFUSED") }),
    });
    expect(sentence(network)).toBe("got no reply (ECONNREFUSED)");
    expect(sentence(new Error("no reply: ECONNREFUSED", { cause: new Error("ECONNREFUSED") }))).toBe(
      "no reply: ECONNREFUSED",
    );
  });

  it("names every address that was tried", () => {
    const tried = new AggregateError([new Error("refused by ::1"), "refused by 127.0.0.1"], "");
    expect(sentence(new Error("no reply", { cause: tried }))).toBe(
      "no reply (refused by ::1; refused by 127.0.0.1)",
    );
    expect(sentence(tried)).toBe("refused by ::1; refused by 127.0.0.1");
  });

  it("has OpenSSL's reason instead of the line of its source", () => {
    const words =
      "409DE72A8C7F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/openssl/ssl/record/methods/tlsany_meth.c:77:\n";
    const reason = "TLS: wrong version number";
    expect(sentence(new Error(words))).toBe(reason);
    expect(sentence(new Error("no reply", { cause: new Error(`write EPROTO ${words}`) }))).toBe(
      `no reply (write EPROTO ${reason})`,
    );
  });

  it("has what the server said of its refusal, but no whole page", () => {
    const refused = new RevdialError("DIAL_REFUSED", "status 403", { detail: "no such wolf" });
    expect(sentence(refused)).toBe("DIAL_REFUSED: status 403 no such wolf");
    const page = new RevdialError("DIAL_REFUSED", "status 502", { detail: "x".repeat(4096) });
    expect(sentence(page).length).toBeLessThan(350);
  });

  it("is what the control plane says in a problem, and nothing beside it", () => {
    const problem = {
      type: "/problems/session-not-found",
      status: 404,
      code: "session-not-found",
      detail: "Gone.",
    };
    const refused = (detail: string) =>
      new RevdialError("DIAL_REFUSED", "status 404", { detail, cause: new Error("the upgrade too") });
    expect(sentence(refused(JSON.stringify(problem)))).toBe("Gone.");
    expect(problemOf(refused(JSON.stringify(problem)))).toEqual({
      code: "session-not-found",
      detail: "Gone.",
    });
    const long = { ...problem, detail: "x".repeat(3000) };
    expect(sentence(refused(JSON.stringify(long))).length).toBe(300);
  });

  it.each([
    "",
    "null",
    "3",
    '"a"',
    "[]",
    "{}",
    '{"code":"x"}',
    '{"detail":"x"}',
    '{"code":1,"detail":"x"}',
    "{",
  ])("takes %j for no problem", (detail) => {
    const refused = new RevdialError("DIAL_REFUSED", "status 404", { detail });
    expect(problemOf(refused)).toBeUndefined();
    expect(sentence(refused)).toContain("DIAL_REFUSED: status 404");
  });

  it("takes whatever was thrown, even an error that is its own cause", () => {
    expect(sentence("out of order")).toBe("out of order");
    expect(sentence(undefined)).toBe("undefined");
    expect(sentence(new Error("deep", { cause: "no error" }))).toBe("deep");
    const circle = new Error("round");
    circle.cause = circle;
    expect(sentence(circle)).toBe("round");
  });

  it("can be printed without the token and without what steers a terminal", () => {
    const hostile = new Error("you sent t0ken\u001b]0;owned\u0007\r\n\u202eover");
    expect(printableWithout(["", "t0ken"], sentence(hostile))).toBe("you sent [token] ]0;owned over");
    expect(printableWithout(["", "t0ken"], sentence("t0ken"))).toBe("[token]");
  });
});
