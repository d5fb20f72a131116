import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { ChunkQueue } from "./chunk-queue.ts";

describe("a chunk queue", () => {
  it("keeps 65,536 one-byte chunks in a few", () => {
    const queue = new ChunkQueue();
    for (let i = 0; i < 65_536; i += 1) queue.push(Uint8Array.of(i & 0xff));
    expect(queue.length).toBeLessThan(12);
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
