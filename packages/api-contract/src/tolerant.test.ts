/** What of a newer control plane's reply is taken as it is, and what is refused all the same. */
import { describe, expect, it } from "@jest/globals";
import { z } from "zod";
import { parseTolerantly } from "./tolerant.ts";

const Thing = z.object({
  status: z.enum(["ok", "failed"]),
  reasons: z.array(z.object({ code: z.enum(["slow", "stuck"]), detail: z.string() })),
  host: z.strictObject({ cpus: z.int(), gpu: z.enum(["a", "b"]).nullable() }).optional(),
  next: z.enum(["x", "y"]).default("x"),
});
const fits = { status: "ok", reasons: [] };

describe("a reply", () => {
  it("that fits is what the schema makes of it", () => {
    expect(parseTolerantly(Thing, { ...fits, more: 1 })).toEqual({ ...fits, next: "x" });
  });

  it("keeps words that are not known, wherever they are", () => {
    const newer = {
      status: "melting",
      reasons: [
        { code: "slow", detail: "3 s" },
        { code: "flooded", detail: "wet" },
      ],
      host: { cpus: 2, gpu: "c" },
      next: "z",
    };
    expect(parseTolerantly(Thing, newer)).toEqual(newer);
    expect(parseTolerantly(z.array(z.enum(["a"])), ["b", "a"])).toEqual(["b", "a"]);
    expect(parseTolerantly(z.enum(["a"]), "b")).toBe("b");
  });

  it("loses fields that are not known, also where the schema allows no others", () => {
    const newer = { ...fits, host: { cpus: 2, gpu: null, water: true }, more: {} };
    expect(parseTolerantly(Thing, newer)).toEqual({ ...fits, host: { cpus: 2, gpu: null }, next: "x" });
  });

  it("is not changed by being read", () => {
    const newer = Object.freeze({ ...fits, status: "melting" });
    parseTolerantly(Thing, newer);
    expect(newer.status).toBe("melting");
  });

  it.each([
    ["a number for a word", { ...fits, status: 3 }],
    ["nothing for a word", { ...fits, status: null }],
    ["a word for a number", { ...fits, host: { cpus: "many", gpu: null } }],
    ["a field that is missing", { status: "ok" }],
    ["a word that is not known beside something wrong", { status: "melting", reasons: [{}] }],
    ["another kind of thing", "ok"],
    ["nothing", undefined],
  ])("with %s is refused", (_what, reply) => {
    expect(() => parseTolerantly(Thing, reply)).toThrow(z.ZodError);
  });

  it("that names __proto__ changes nothing but itself", () => {
    const reply: unknown = JSON.parse(
      '{"status":"ok","reasons":[],"__proto__":{"status":"melting"},"host":{"cpus":1,"gpu":null,"__proto__":{"evil":true}}}',
    );
    expect(() => parseTolerantly(Thing, reply)).not.toThrow();
    expect(({} as { evil?: unknown }).evil).toBeUndefined();
    const Words = z.record(z.string(), z.enum(["a"]));
    expect(() => parseTolerantly(Words, JSON.parse('{"__proto__":"b","x":"c"}'))).not.toThrow();
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});
