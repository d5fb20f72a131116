import { describe, expect, it } from "@jest/globals";
import { IncomingBody } from "./body.ts";
import { BodySource } from "./body-source.ts";
import { RevdialError } from "./errors.ts";

function watched() {
  let consumed = 0;
  let abandoned = 0;
  const body = new IncomingBody(
    (bytes) => {
      consumed += bytes;
    },
    () => {
      abandoned += 1;
    },
  );
  return { body, consumed: () => consumed, abandoned: () => abandoned };
}

const error = new RevdialError("TRANSPORT_LOST", "gone");

describe("an incoming body", () => {
  it("gives credit only for what its reader takes", async () => {
    const { body, consumed } = watched();
    body.push(new Uint8Array(2000));
    body.push(new Uint8Array(3000));
    expect(consumed()).toBe(0);
    const reader = body[Symbol.asyncIterator]();
    await reader.next();
    expect(consumed()).toBe(2000);
  });

  it("does not change a chunk that it has given out", async () => {
    const { body } = watched();
    const reader = body[Symbol.asyncIterator]();
    body.push(Uint8Array.of(1));
    body.push(Uint8Array.of(2));
    const first = (await reader.next()).value as Uint8Array;
    const second = (await reader.next()).value as Uint8Array;
    body.push(Uint8Array.of(3));
    body.push(Uint8Array.of(4));
    expect([...first, ...second]).toEqual([1, 2]);
  });

  it("gives what has arrived, then the end, also after the tunnel is gone", async () => {
    const { body } = watched();
    body.push(new Uint8Array(5000));
    body.end([["x", "1"]]);
    body.fail(error);
    const reader = body[Symbol.asyncIterator]();
    expect((await reader.next()).value).toHaveLength(5000);
    expect((await reader.next()).done).toBe(true);
    expect(await body.trailers).toEqual([["x", "1"]]);
  });

  it("fails its reader once and its trailers, and then is over", async () => {
    const { body } = watched();
    const reader = body[Symbol.asyncIterator]();
    const waiting = [reader.next(), reader.next()];
    body.fail(error);
    const [one, two] = await Promise.allSettled(waiting);
    expect(one).toMatchObject({ status: "rejected", reason: { code: "TRANSPORT_LOST" } });
    expect(two).toMatchObject({ status: "fulfilled", value: { done: true } });
    await expect(body.trailers).rejects.toThrow("TRANSPORT_LOST");
  });

  it("returns the credit of what its reader leaves behind, and says that it was left", async () => {
    const { body, consumed, abandoned } = watched();
    body.push(new Uint8Array(2000));
    for await (const _chunk of body) {
      body.push(new Uint8Array(1500));
      break;
    }
    expect([consumed(), abandoned()]).toEqual([3500, 1]);
    body.push(new Uint8Array(7));
    expect(consumed()).toBe(3507);
  });

  it("is not abandoned by a reader that leaves after the end", async () => {
    const { body, abandoned } = watched();
    body.push(new Uint8Array(2000));
    body.end([]);
    for await (const _chunk of body) break;
    expect(abandoned()).toBe(0);
  });
});

describe("a body's source", () => {
  it("waits for room before it asks its producer again", async () => {
    let asked = 0;
    async function* producer() {
      for (; asked < 3; ) {
        asked += 1;
        yield new Uint8Array(1);
      }
    }
    const source = new BodySource(producer());
    const put: number[] = [];
    const running = source.run((bytes) => {
      put.push(bytes.byteLength);
      return false;
    });
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    expect(asked).toBe(1);
    for (let chunk = 0; chunk < 3; chunk += 1) {
      source.resume();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await running;
    expect(put).toEqual([1, 1, 1]);
  });

  it("stops a producer that waits for room, and is done only when that has stopped", async () => {
    const cleanUp = Promise.withResolvers<void>();
    let over = false;
    async function* producer() {
      try {
        for (;;) yield new Uint8Array(1);
      } finally {
        await cleanUp.promise;
      }
    }
    const source = new BodySource(producer());
    const running = source
      .run(() => false)
      .then(() => {
        over = true;
      });
    await new Promise<void>((resolve) => setImmediate(resolve));
    void source.stop();
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(over).toBe(false);
    cleanUp.resolve();
    await running;
  });

  it("does not fail when its producer fails to stop", async () => {
    const failing: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: new Uint8Array(1) }),
        return: () => Promise.reject(new Error("will not stop")),
      }),
    };
    const source = new BodySource(failing);
    const running = source.run(() => false);
    await expect(source.stop()).resolves.toBeUndefined();
    await expect(running).resolves.toBeUndefined();
  });
});
