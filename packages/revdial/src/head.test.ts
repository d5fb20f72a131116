import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { RevdialError } from "./errors.ts";
import { checkHeaders, travellingHeaders } from "./head.ts";

const hops = [
  "Connection",
  "Content-Length",
  "Host",
  "HTTP2-Settings",
  "Keep-Alive",
  "Proxy-Authenticate",
  "Proxy-Authorization",
  "Proxy-Connection",
  "TE",
  "Trailer",
  "Transfer-Encoding",
  "Upgrade",
];

describe("travelling headers", () => {
  it("leave every hop-by-hop field behind, in any case", () => {
    expect(travellingHeaders([...hops, "X-Stays"].map((name) => [name, "1"]))).toEqual([["x-stays", "1"]]);
  });

  it("leave behind what any Connection field names, with odd spacing and case", () => {
    const headers = [
      ["connection", " X-One ,,x-two"],
      ["Connection", "close"],
      ["Connection", "X-THREE"],
      ["x-one", "1"],
      ["X-Two", "2"],
      ["x-three", "3"],
      ["authorization", "kept: the tunnel decides about hops, not about secrets"],
    ] as const;
    expect(travellingHeaders(headers).map(([name]) => name)).toEqual(["authorization"]);
  });

  it("never let a listed or named field through, and keep the order of the rest", () => {
    const name = fc.oneof(fc.constantFrom(...hops), fc.stringMatching(/^[A-Za-z-]{1,8}$/));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, name)), (pairs) => {
        const out = travellingHeaders(pairs);
        const named = pairs
          .filter(([key]) => key.toLowerCase() === "connection")
          .map(([, value]) => value.toLowerCase());
        const gone = new Set([...hops.map((hop) => hop.toLowerCase()), ...named]);
        expect(out).toEqual(
          pairs.map(([key, value]) => [key.toLowerCase(), value]).filter(([key]) => !gone.has(key ?? "")),
        );
        checkHeaders(out, 1000);
      }),
    );
  });

  it("never let a value through that could split a message", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 20 }), (value) => {
        let accepted = true;
        try {
          checkHeaders([["x-a", value]], 1);
        } catch (error) {
          if (!(error instanceof RevdialError)) throw error;
          accepted = false;
        }
        if (!accepted) return;
        for (const char of value) {
          const code = char.codePointAt(0) ?? 0;
          expect(code === 9 || (code >= 0x20 && code !== 0x7f && code <= 0xff)).toBe(true);
        }
        expect(value).toBe(value.replace(/^[ \t]+|[ \t]+$/g, ""));
      }),
      { numRuns: 1000 },
    );
  });

  it("check a value of 65,535 spaces in linear time", () => {
    expect(() => checkHeaders([["x-a", `a${" ".repeat(65_000)}`]], 1)).toThrow("HEAD_INVALID");
  });
});
