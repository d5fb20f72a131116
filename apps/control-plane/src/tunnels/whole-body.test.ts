import { describe, expect, it } from "@jest/globals";
import { WholeBody } from "./whole-body.ts";

const MIB = 2 ** 20;

describe("a whole body", () => {
  it("is what its pieces were, in their order", () => {
    const body = new WholeBody(100_000);
    const pieces = [Buffer.from("wolf"), Buffer.alloc(40_000, "a"), Buffer.from(""), Buffer.from("pack")];
    for (const piece of pieces) expect(body.add(piece)).toBe(true);
    expect(body.bytes().equals(Buffer.concat(pieces))).toBe(true);
    expect(body.size).toBe(40_008);
  });

  it("takes exactly as much as it may, and not a byte more", () => {
    const body = new WholeBody(10);
    expect([body.add(Buffer.alloc(10)), body.add(Buffer.alloc(0)), body.add(Buffer.alloc(1))]).toEqual([
      true,
      true,
      false,
    ]);
    expect(body.bytes().length).toBe(0);
  });

  it("is nothing without pieces", () => {
    expect(new WholeBody(10).bytes().length).toBe(0);
  });

  it("keeps nothing of pieces but their bytes: a reused buffer changes nothing", () => {
    const body = new WholeBody(10);
    const piece = Buffer.from("ab");
    body.add(piece);
    piece.fill("x");
    expect(body.bytes().toString()).toBe("ab");
  });

  it("is refused in many tiny pieces long before they weigh what they carry", () => {
    const body = new WholeBody(4 * MIB);
    let pieces = 0;
    while (body.add(Buffer.alloc(1))) pieces += 1;
    expect(pieces).toBeLessThan(70_000);
    expect(pieces).toBeGreaterThan(60_000);
  });
});
