import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { ChunkQueue } from "./chunk-queue.ts";

describe("a chunk queue", () => {
  it("keeps 65,536 one-byte chunks in a few", () => {
    const queue = new ChunkQueue();
    for (let i = 0; i < 65_536; i += 1) queue.push(Uint8Array.of(i & 0xff));
    expect(queue.length).toBeLessThan(18);
    const taken: Uint8Array[] = [];
    for (let chunk = queue.take(); chunk; chunk = queue.take()) taken.push(chunk);
    expect(Buffer.concat(taken).equals(Buffer.from(Array.from({ length: 65_536 }, (_, i) => i & 0xff)))).toBe(
      true,
    );
  });

  it("does not copy a large chunk, and does not keep an empty one", () => {
    const queue = new ChunkQueue();
    const large = new Uint8Array(5000);
    queue.push(new Uint8Array());
    queue.push(large);
    expect(queue.length).toBe(1);
    expect(queue.take()).toBe(large);
    expect(queue.take()).toBeUndefined();
  });

  /** What the memory behind the chunks weighs. */
  function heldBytes(queue: ChunkQueue): number {
    const memory = new Set<ArrayBufferLike>();
    for (let chunk = queue.take(); chunk; chunk = queue.take()) memory.add(chunk.buffer);
    return [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  it.each([
    ["1,024 bytes and one in turn", [1024, 1]],
    ["4,096 bytes and one in turn", [4096, 1]],
    ["two of one byte", [1, 1]],
    ["sizes that never fill a page", [2731, 2731, 1]],
    ["4,095 bytes again and again", [4095]],
  ])("holds little more than what it counts, of %s", (_name, sizes) => {
    for (const times of [1, 2, 20, 2000]) {
      const queue = new ChunkQueue();
      for (let n = 0; n < times; n += 1) for (const size of sizes) queue.push(new Uint8Array(size));
      const counted = queue.byteLength;
      expect(queue.length).toBeLessThanOrEqual(counted / 512 + 8);
      expect(heldBytes(queue)).toBeLessThanOrEqual(2 * counted + 64);
    }
  });

  it("holds little more than what it counts, whatever the sizes are and what they are cut from", () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: 9000 }),
      fc.constantFrom(1, 63, 64, 65, 1023, 1024, 1025, 4096),
    );
    const slack = fc.constantFrom(0, 1, 2);
    fc.assert(
      fc.property(fc.array(fc.tuple(size, slack), { minLength: 1, maxLength: 100 }), (pushes) => {
        const queue = new ChunkQueue();
        for (const [bytes, more] of pushes) queue.push(new Uint8Array(bytes * (1 + more)).subarray(0, bytes));
        const counted = queue.byteLength;
        expect(queue.length).toBeLessThanOrEqual(counted / 512 + 8);
        expect(heldBytes(queue)).toBeLessThanOrEqual(4 * counted + 64);
      }),
      { numRuns: 300 },
    );
  });

  it("gives out what was put in, whatever is taken when, and never changes what it gave out", () => {
    const act = fc.oneof(
      fc.record({ push: fc.uint8Array({ maxLength: 3000 }) }),
      fc.record({ push: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
      fc.record({ take: fc.integer({ min: 1, max: 4000 }) }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const queue = new ChunkQueue();
        const put: Uint8Array[] = [];
        const got: { chunk: Uint8Array; copy: Buffer }[] = [];
        const keep = (chunk: Uint8Array | undefined) =>
          chunk && got.push({ chunk, copy: Buffer.from(chunk) });
        for (const one of acts) {
          if ("push" in one) {
            put.push(one.push.slice());
            queue.push(one.push);
          } else {
            const chunk = queue.take(one.take);
            expect(chunk?.byteLength ?? 0).toBeLessThanOrEqual(one.take);
            keep(chunk);
          }
        }
        while (queue.length > 0) keep(queue.take());
        expect(queue.byteLength).toBe(0);
        expect(Buffer.concat(got.map(({ chunk }) => chunk)).equals(Buffer.concat(put))).toBe(true);
        for (const { chunk, copy } of got) expect(copy.equals(chunk)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
