/** How exchanges and tunnels end: cancelled, late, failed, drained, destroyed. Run over every transport. */
import { getEventListeners } from "node:events";
import { expect, it } from "@jest/globals";
import { type OutgoingResponse, RevdialError } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import {
  type Connect,
  collect,
  endless,
  failure,
  get,
  type Pair,
  signal,
  text,
  until,
  untilAborted,
} from "./support.ts";

export function endsInOrder(pair: () => Pair, connect: Connect): void {
  it("tells the handler when the caller cancels, and the caller that it may have run", async () => {
    const cancel = new AbortController();
    const aborted = new Promise<void>((resolve) => {
      pair().left.serve(
        (request) =>
          new Promise<OutgoingResponse>((_resolve, reject) => {
            request.signal.addEventListener("abort", () => {
              resolve();
              reject(new Error("aborted"));
            });
            cancel.abort();
          }),
      );
    });
    const error = await failure(pair().right.request({ ...get("/"), signal: cancel.signal }));
    expect(error).toMatchObject({ code: "CANCELLED", sent: "may-have-run" });
    await aborted;
  });

  it("stops an endless response when its reader stops", async () => {
    let stopped = () => {};
    const producerStopped = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    pair().left.serve(() => ({
      status: 200,
      headers: [["content-type", "text/event-stream"]],
      body: endless("data: 1\n\n", () => stopped()),
    }));
    const reply = await pair().right.request(get("/events"));
    for await (const chunk of reply.body) {
      expect(Buffer.from(chunk).toString()).toContain("data: 1");
      break;
    }
    await producerStopped;
  });

  it("turns a handler that throws into a reset, and goes on", async () => {
    pair().left.serve((request) => {
      if (request.path === "/bad") throw new Error("secret detail");
      return { status: 200 };
    });
    const error = await failure(pair().right.request(get("/bad")));
    expect(error.code).toBe("HANDLER_FAILED");
    expect(error.message).not.toContain("secret");
    expect((await pair().right.request(get("/good"))).status).toBe(200);
  });

  it("turns a response that may not travel into a reset", async () => {
    pair().left.serve(() => ({ status: 200, headers: [["x-bad", "a\r\nb: c"]] }));
    expect((await failure(pair().right.request(get("/")))).code).toBe("HANDLER_FAILED");
  });

  it("drains: finishes what is in flight, refuses what is new, then ends", async () => {
    let answer = (_response: OutgoingResponse) => {};
    const arrived = new Promise<void>((resolve) => {
      pair().left.serve(() => {
        resolve();
        return new Promise<OutgoingResponse>((reply) => {
          answer = reply;
        });
      });
    });
    const inFlight = pair().right.request(get("/slow"));
    await arrived;
    const closing = pair().left.close({ retryAfterMs: 1500, reason: "restart" });
    expect(pair().left.draining).toBe(true);
    expect(await failure(pair().left.request(get("/")))).toMatchObject({
      code: "DRAINING",
      sent: "not-sent",
    });
    answer({ status: 200, body: text.encode("finished") });
    expect((await collect((await inFlight).body)).toString()).toBe("finished");
    await closing;
    const end = await pair().right.closed;
    expect(end).toMatchObject({ code: "DRAINING", retryAfterMs: 1500, reason: "restart" });
    expect(await failure(pair().right.request(get("/")))).toMatchObject({ code: "CLOSED", sent: "not-sent" });
  });

  it("settles everything it handed out when it is destroyed", async () => {
    const handlerAborted = new Promise<void>((resolve) => {
      pair().left.serve(
        (request) =>
          new Promise<OutgoingResponse>((_resolve, reject) => {
            request.signal.addEventListener("abort", () => {
              resolve();
              reject(new Error("aborted"));
            });
            pair().right.destroy(new Error("enough"));
          }),
      );
    });
    expect(await failure(pair().right.request(get("/")))).toMatchObject({
      code: "DESTROYED",
      sent: "may-have-run",
    });
    expect((await pair().right.closed).code).toBe("DESTROYED");
    expect((await pair().left.closed).code).toBe("TRANSPORT_LOST");
    expect(await pair().right.goingAway).toEqual(await pair().right.closed);
    expect(await pair().left.goingAway).toEqual(await pair().left.closed);
    await handlerAborted;
    expect(pair().right.notify("late", new Uint8Array())).toBe(false);
  });

  it("fails a response body in the middle when the tunnel is lost", async () => {
    pair().left.serve(() => ({ status: 200, body: endless("first") }));
    const reply = await pair().right.request(get("/"));
    const read = (async () => {
      for await (const _chunk of reply.body) pair().left.destroy();
    })();
    expect((await failure(read)).code).toBe("TRANSPORT_LOST");
  });

  it("fails a body whose source fails half way, on the other side too", async () => {
    const head = signal();
    async function* half(): AsyncIterable<Uint8Array> {
      yield text.encode("half");
      await head.seen;
      throw new Error("disk gone");
    }
    pair().left.serve(() => ({ status: 200, body: half() }));
    const reply = await pair().right.request(get("/"));
    head.give();
    expect((await failure(collect(reply.body))).code).toBe("HANDLER_FAILED");
    expect((await failure(reply.trailers)).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toMatchObject([{ message: "disk gone" }]);
  });

  it("cancels a request whose upload source fails, and tells the handler", async () => {
    const aborted = signal<unknown>();
    pair().left.serve(async (request) => {
      await untilAborted(request.signal).catch(aborted.give);
      throw request.signal.reason;
    });
    async function* broken(): AsyncIterable<Uint8Array> {
      yield text.encode("x");
      await new Promise<void>((resolve) => setImmediate(resolve));
      throw new Error("no more");
    }
    const error = await failure(pair().right.request({ ...get("/"), method: "POST", body: broken() }));
    expect(error).toMatchObject({ code: "CANCELLED", cause: { message: "no more" } });
  });

  it("does not send what is no bytes", async () => {
    pair().left.serve(async (request) => ({ status: 200, body: await collect(request.body) }));
    async function* words() {
      yield "text" as unknown as Uint8Array;
    }
    const error = await failure(pair().right.request({ ...get("/"), method: "POST", body: words() }));
    expect(error).toMatchObject({ code: "CANCELLED", cause: { code: "ARGUMENT" } });
  });

  it("leaves nothing on the caller's signal, however the request ends", async () => {
    const cancel = new AbortController();
    const listeners = () => getEventListeners(cancel.signal, "abort").length;
    pair().left.serve((request) => {
      if (request.path === "/bad") throw new RevdialError("REFUSED", "bad");
      return { status: 200, body: text.encode("ok") };
    });
    const reply = await pair().right.request({ ...get("/good"), signal: cancel.signal });
    await collect(reply.body);
    await failure(pair().right.request({ ...get("/bad"), signal: cancel.signal }));
    await failure(pair().right.request({ ...get("no slash"), signal: cancel.signal }));
    expect(listeners()).toBe(0);
    const cancelled = failure(pair().right.request({ ...get("/"), signal: cancel.signal }));
    cancel.abort();
    await cancelled;
    expect(listeners()).toBe(0);
  });

  it("gives the reason of the caller's signal as the cause", async () => {
    pair().left.serve((request) => untilAborted(request.signal));
    const cancel = new AbortController();
    const waiting = failure(pair().right.request({ ...get("/"), signal: cancel.signal }));
    cancel.abort(new Error("user left"));
    expect(await waiting).toMatchObject({ code: "CANCELLED", cause: { message: "user left" } });
  });

  it("gives up on both ends when the deadline has passed, and not before", async () => {
    const clock = new ManualClock();
    const timed = await connect({ both: { clock } });
    const arrived = signal();
    const reason = signal<unknown>();
    let ended = false;
    timed.left.serve((request) => {
      request.signal.addEventListener("abort", () => reason.give(request.signal.reason));
      arrived.give();
      return untilAborted(request.signal);
    });
    const asked = failure(timed.right.request({ ...get("/"), deadlineMs: 1000 }));
    void asked.finally(() => {
      ended = true;
    });
    await arrived.seen;
    await clock.advance(999);
    expect(ended).toBe(false);
    await clock.advance(1);
    expect(await asked).toMatchObject({ code: "DEADLINE", sent: "may-have-run" });
    expect(await reason.seen).toMatchObject({ code: "DEADLINE" });
    await timed.stop();
  });

  it.each([
    ["has passed already", { deadlineMs: 0 }, "DEADLINE"],
    ["is negative", { deadlineMs: -1 }, "DEADLINE"],
    ["is no number", { deadlineMs: Number.NaN }, "ARGUMENT"],
  ])("does not send a request whose deadline %s", async (_name, wrong, code) => {
    pair().left.serve(() => ({ status: 200 }));
    expect(await failure(pair().right.request({ ...get("/"), ...wrong }))).toMatchObject({
      code,
      sent: "not-sent",
    });
  });

  it("lets a handler refuse with a code", async () => {
    pair().left.serve((request) => {
      throw new RevdialError("SERVICE_UNKNOWN", `no ${request.service} here`);
    });
    const error = await failure(pair().right.request(get("/")));
    expect(error).toMatchObject({ code: "SERVICE_UNKNOWN", sent: "not-sent" });
    expect(error.message).toContain("no wolf here");
    expect(pair().handlerErrors).toEqual([]);
  });

  it.each([
    ["an interim status", { status: 103 }],
    ["a status that is no number", { status: Number.NaN }],
    ["status 101", { status: 101 }],
    ["status 600", { status: 600 }],
    ["a trailer with a line break", { status: 200, trailers: [["x-a", "1\r\n"]] as const }],
    ["nothing at all", undefined as unknown as OutgoingResponse],
  ])("turns a response with %s into a reset", async (_name, response) => {
    pair().left.serve(() => response);
    const outcome = pair()
      .right.request(get("/"))
      .then((reply) => collect(reply.body));
    expect((await failure(outcome)).code).toBe("HANDLER_FAILED");
    expect(pair().handlerErrors).toHaveLength(1);
  });

  it("keeps the slot of a cancelled channel until its handler has stopped", async () => {
    const clock = new ManualClock();
    const small = await connect({
      left: { limits: { channelsMax: 2 } },
      right: { limits: { grantTimeoutMs: 300 }, clock },
    });
    const release = signal();
    let running = 0;
    small.left.serve(async () => {
      running += 1;
      await release.seen; // Does not listen to its signal.
      running -= 1;
      return { status: 200 };
    });
    for (let i = 0; i < 2; i += 1) {
      const cancel = new AbortController();
      const cancelled = failure(small.right.request({ ...get("/"), signal: cancel.signal }));
      await until(() => running > i);
      cancel.abort();
      expect((await cancelled).code).toBe("CANCELLED");
    }
    const third = failure(small.right.request(get("/")));
    await clock.advance(300);
    expect(await third).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    release.give();
    await until(() => running === 0);
    expect((await small.right.request(get("/"))).status).toBe(200);
    await small.stop();
  });

  it("refuses more requests at once than the peer takes, without sending them", async () => {
    const small = await connect({ left: { limits: { channelsMax: 3 } } });
    small.left.serve((request) => untilAborted(request.signal));
    const cancel = new AbortController();
    const held = Array.from({ length: 3 }, () =>
      failure(small.right.request({ ...get("/"), signal: cancel.signal })),
    );
    expect(await failure(small.right.request(get("/")))).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    cancel.abort();
    expect((await Promise.all(held)).map((error) => error.code)).toEqual([
      "CANCELLED",
      "CANCELLED",
      "CANCELLED",
    ]);
    await small.stop();
  });

  it("refuses requests on both sides once one side is going away", async () => {
    const arrived = signal();
    const answer = signal<OutgoingResponse>();
    pair().left.serve(() => {
      arrived.give();
      return answer.seen;
    });
    const inFlight = pair().right.request(get("/"));
    await arrived.seen;
    const closing = pair().right.close({ code: "REPLACED", reason: "replaced", retryAfterMs: 10 });
    expect(await pair().right.goingAway).toEqual({ code: "CLOSED", reason: "replaced" });
    expect(await pair().left.goingAway).toEqual({ code: "REPLACED", reason: "replaced", retryAfterMs: 10 });
    expect(pair().left.draining).toBe(true);
    for (const side of [pair().left, pair().right]) {
      expect(await failure(side.request(get("/")))).toMatchObject({ code: "DRAINING", sent: "not-sent" });
    }
    answer.give({ status: 204 });
    expect((await inFlight).status).toBe(204);
    expect(await closing).toEqual({ code: "CLOSED", reason: "replaced" });
    expect(await pair().left.closed).toEqual({ code: "REPLACED", reason: "replaced", retryAfterMs: 10 });
  });

  it("sends a large answer to its end before it closes", async () => {
    const size = 2_000_000;
    pair().left.serve(() => {
      void pair().left.close();
      return { status: 200, body: new Uint8Array(size) };
    });
    const reply = await pair().right.request(get("/"));
    expect((await collect(reply.body)).byteLength).toBe(size);
    expect((await pair().left.closed).code).toBe("CLOSED");
  });

  it("ends a drain that takes too long, and fails what was in flight", async () => {
    const clock = new ManualClock();
    const timed = await connect({ right: { clock } });
    const arrived = signal();
    timed.left.serve((request) => {
      arrived.give();
      return untilAborted(request.signal);
    });
    const inFlight = failure(timed.right.request(get("/")));
    await arrived.seen;
    let ended = false;
    const end = timed.right.close({ drainMs: 1000 }).finally(() => {
      ended = true;
    });
    await clock.advance(999);
    expect(ended).toBe(false);
    await clock.advance(1);
    expect(await inFlight).toMatchObject({ code: "DRAINING", sent: "may-have-run" });
    expect((await end).code).toBe("CLOSED");
    await timed.stop();
  });

  it("takes one handler only", () => {
    pair().left.serve(() => ({ status: 200 }));
    expect(() => pair().left.serve(() => ({ status: 200 }))).toThrow("ARGUMENT");
  });

  it("survives a notice listener that throws, and tells its owner", async () => {
    await Promise.all([pair().left.ready, pair().right.ready]);
    const second = signal();
    const seen: string[] = [];
    pair().right.onNotice(() => {
      throw new Error("my own mistake");
    });
    const stop = pair().right.onNotice((type) => {
      seen.push(type);
      if (seen.length === 2) second.give();
    });
    pair().left.notify("one", new Uint8Array());
    pair().left.notify("two", new Uint8Array());
    await second.seen;
    stop();
    expect(seen).toEqual(["one", "two"]);
    expect(pair().handlerErrors).toHaveLength(2);
  });
}
