import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { RevdialError } from "./errors.ts";
import { checkHeaders, takeLength, travellingHeaders, withLength } from "./head.ts";

const hops = [
  "Connection",
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

describe("content-length", () => {
  it("is taken out of the fields and put in again", () => {
    const fields = travellingHeaders([
      ["X-A", "1"],
      ["Content-Length", "9007199254740991"],
    ]);
    const length = takeLength(fields);
    expect([length, fields]).toEqual([Number.MAX_SAFE_INTEGER, [["x-a", "1"]]]);
    expect(withLength(fields, length)).toEqual([
      ["x-a", "1"],
      ["content-length", "9007199254740991"],
    ]);
    expect([takeLength([]), withLength(fields, undefined)]).toEqual([undefined, fields]);
  });

  it("may be said twice, but not differently", () => {
    const twice = (second: string): [string, string][] => [
      ["content-length", "5"],
      ["content-length", second],
    ];
    expect(takeLength(twice("5"))).toBe(5);
    expect(() => takeLength(twice("6"))).toThrow("HEAD_INVALID");
  });

  it.each(["", "-1", "+5", "5, 5", "0x5", "5.0", " 5", "1e3", "9007199254740992", "１"])(
    "is refused as %j",
    (value) => {
      expect(() => takeLength([["content-length", value]])).toThrow("HEAD_INVALID");
    },
  );

  it("does not travel beside a transfer coding, which overrides it", () => {
    const both = [
      ["Content-Length", "5"],
      ["Transfer-Encoding", "chunked"],
    ] as const;
    expect(travellingHeaders(both)).toEqual([]);
    expect(travellingHeaders(both.toReversed())).toEqual([]);
  });

  it("is not allowed as a field of a frame", () => {
    expect(() => checkHeaders([["content-length", "5"]], 10)).toThrow("HEAD_INVALID");
  });
});

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
