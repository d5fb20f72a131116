/** What came of a body and nobody has read: how long it counts against the receive budget, and who drops it. */
import { afterEach, describe, expect, it } from "@jest/globals";
import {
  GrowthPool,
  type IncomingRequest,
  type Tunnel,
  type TunnelOptions,
  type TunnelResponse,
} from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { collect, failure, get, until } from "./support.ts";

const BODY_BYTES = 30_000;
/** Three first windows. */
const limits = { windowInitialBytes: 32_768, receiveBudgetBytes: 3 * 32_768 };

let stop = () => {};
afterEach(() => stop());

function pair(options: TunnelOptions = { limits }) {
  const { left, right } = tunnelPair({ both: options });
  stop = () => {
    left.destroy();
    right.destroy();
  };
  const used = (tunnel: typeof left) =>
    (tunnel as unknown as { core: { size: { budgetUsedBytes: number } } }).core.size.budgetUsedBytes;
  return { left, right, used };
}

async function threeUnread() {
  const tunnels = pair();
  tunnels.left.serve(() => ({ status: 200, body: new Uint8Array(BODY_BYTES) }));
  const replies: TunnelResponse[] = [];
  for (let n = 0; n < 3; n += 1) {
    const reply = await tunnels.right.request(get("/"));
    await reply.trailers;
    replies.push(reply);
  }
  await until(() => tunnels.right.load === 0);
  return { ...tunnels, replies };
}

describe("tunnels that share a pool of growth", () => {
  it("give back to it what their windows had grown by, when they end as well", async () => {
    const growthPool = new GrowthPool(4 * 1024 * 1024);
    const sent = 16 * 1024 * 1024;
    const ends: Tunnel[] = [];
    let peak = 0;
    const bodies = await Promise.all(
      [1, 2, 3].map(async () => {
        const { left, right } = tunnelPair({ right: { growthPool } });
        ends.push(left, right);
        left.serve(() => ({ status: 200, body: new Uint8Array(sent) }));
        return (await right.request(get("/"))).body;
      }),
    );
    stop = () => {
      for (const end of ends) end.destroy();
    };
    const read = bodies.map(async (body) => {
      let bytes = 0;
      for await (const chunk of body) {
        bytes += chunk.byteLength;
        peak = Math.max(peak, growthPool.usedBytes);
        // Three are in the middle of their bodies.
        if (bytes > sent / 2) return bytes;
      }
      return bytes;
    });
    await Promise.all(read);
    expect(peak).toBeGreaterThan(0);
    expect(peak).toBeLessThanOrEqual(growthPool.bytesMax);
    for (const end of ends) end.destroy();
    await Promise.all(ends.map(({ closed }) => closed));
    expect(growthPool.usedBytes).toBe(0);
  });
});

describe("a response that ended before it was read", () => {
  it("counts against the budget: a request without room for its window is not sent", async () => {
    const { right, used } = await threeUnread();
    expect(used(right)).toBe(3 * BODY_BYTES);
    expect(await failure(right.request(get("/")))).toMatchObject({ code: "REFUSED", sent: "not-sent" });
  });

  it("makes room when it is read, whole", async () => {
    const { right, used, replies } = await threeUnread();
    expect(await collect((replies[0] as TunnelResponse).body)).toHaveLength(BODY_BYTES);
    expect(used(right)).toBe(2 * BODY_BYTES);
    expect((await right.request(get("/"))).status).toBe(200);
  });

  it("makes room when its reader leaves it", async () => {
    const { right, used, replies } = await threeUnread();
    for (const { body } of replies) await body[Symbol.asyncIterator]().return?.();
    expect(used(right)).toBe(0);
    expect((await right.request(get("/"))).status).toBe(200);
  });

  it("is left to its reader when the tunnel ends, and costs the tunnel nothing any more", async () => {
    const { right, used, replies } = await threeUnread();
    right.destroy();
    await right.closed;
    expect(used(right)).toBe(0);
    for (const { body } of replies) expect(await collect(body)).toHaveLength(BODY_BYTES);
  });

  it.each(["pauses", "aborts"])("of a dispatcher counts as long as its handler %s", async (how) => {
    const { left, right, used } = pair();
    left.serve(() => ({ status: 200, body: new Uint8Array(BODY_BYTES) }));
    let abort = () => {};
    let resume = () => {};
    let got = 0;
    right.dispatcher("wolf").dispatch(
      { method: "GET", path: "/" },
      {
        onRequestStart() {},
        onResponseStart(controller) {
          controller.pause();
          resume = () => controller.resume();
          abort = () => controller.abort(new Error("enough"));
        },
        onResponseData(_controller, chunk) {
          got += chunk.byteLength;
        },
        onResponseEnd() {},
        onResponseError() {},
      },
    );
    await until(() => used(right) === BODY_BYTES && right.load === 0);
    if (how === "pauses") resume();
    else abort();
    expect({ used: used(right), got }).toEqual({ used: 0, got: how === "pauses" ? BODY_BYTES : 0 });
  });

  it("is dropped with the rest when a listener of its exchange fails", async () => {
    const mistakes: unknown[] = [];
    const { left, right, used } = pair({ limits, onHandlerError: (error) => mistakes.push(error) });
    left.serve((_request, reply) => {
      reply.interim(103);
      return { status: 200, body: new Uint8Array(BODY_BYTES) };
    });
    const onInterim = () => {
      throw new Error("a listener of ours");
    };
    expect(await failure(right.request({ ...get("/"), onInterim }))).toMatchObject({ code: "CANCELLED" });
    await until(() => right.load === 0);
    expect({ used: used(right), mistakes: mistakes.length }).toEqual({ used: 0, mistakes: 1 });
  });

  it("of a socket makes room when that is destroyed", async () => {
    const { left, right, used } = pair();
    left.serve((_request, reply) => void reply.accept().end(new Uint8Array(BODY_BYTES)));
    const socket = await right.connect("wolf");
    socket.end();
    await until(() => right.load === 0 && used(right) === BODY_BYTES);
    socket.destroy();
    expect(used(right)).toBe(0);
  });
});

describe("a request's body", () => {
  const upload = { ...get("/"), method: "POST", body: new Uint8Array(BODY_BYTES) };

  it("that no handler has begun to read is dropped when the exchange is over: later it is an error, not half a body", async () => {
    const { left, right, used } = pair();
    let kept: IncomingRequest | undefined;
    left.serve(async (request) => {
      kept = request;
      await request.trailers; // All of it is here, and unread.
      return { status: 204 };
    });
    for (let n = 0; n < 20; n += 1) expect((await right.request(upload)).status).toBe(204);
    await until(() => left.load === 0);
    expect(used(left)).toBe(0);
    expect(await failure(collect((kept as IncomingRequest).body))).toMatchObject({ code: "CANCELLED" });
  });

  it("stays with a reader who began before the handler stopped", async () => {
    const { left, right, used } = pair();
    const read = Promise.withResolvers<Buffer>();
    left.serve((request) => {
      const chunks = request.body[Symbol.asyncIterator]();
      void chunks.next().then(async ({ value }) => {
        await until(() => left.load === 0);
        read.resolve(Buffer.concat([value, await collect({ [Symbol.asyncIterator]: () => chunks })]));
      });
      return { status: 204 };
    });
    async function* twice() {
      yield new Uint8Array(BODY_BYTES / 2);
      yield new Uint8Array(BODY_BYTES / 2);
    }
    expect((await right.request({ ...upload, body: twice() })).status).toBe(204);
    expect(await read.promise).toHaveLength(BODY_BYTES);
    expect(used(left)).toBe(0);
  });
});
