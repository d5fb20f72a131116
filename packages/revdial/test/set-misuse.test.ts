/** Sets that are given what no tunnel takes: it is refused at once, with or without members, and nobody waits for it. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createTunnelSet, type DispatchOptions, type TunnelSet } from "../src/index.ts";
import { ManualClock, tunnelPair } from "../src/testing/index.ts";
import { failure, get } from "./support.ts";

/** What the types do not allow. */
// biome-ignore lint/suspicious/noExplicitAny: the point of this file
type Untyped = any;

let clock: ManualClock;
let set: TunnelSet;

beforeEach(() => {
  clock = new ManualClock();
  set = createTunnelSet({ clock });
});

afterEach(async () => {
  set.destroy();
  await set.closed;
  await clock.advance(2000);
  expect(clock.pending).toBe(0);
});

async function join(): Promise<void> {
  const { left, right, ready } = tunnelPair({ both: { clock } });
  left.serve(() => ({ status: 204 }));
  set.add(right);
  await ready;
}

const dispatched = (options: Untyped) =>
  new Promise((_resolve, reject) => {
    const handler = { onResponseError: (_: unknown, error: Error) => reject(error) };
    set.dispatcher("wolf").dispatch(options as DispatchOptions, handler);
  });

describe.each([
  ["without a member", false],
  ["with one", true],
])("a set %s", (_with, joined) => {
  beforeEach(async () => {
    if (joined) await join();
  });

  it.each<[string, Untyped, string]>([
    ["a bad path", { path: "no slash" }, "HEAD_INVALID"],
    ["a path that is a number", { path: 5 }, "ARGUMENT"],
    ["a bad method", { method: "NO METHOD" }, "HEAD_INVALID"],
    ["a bad header", { headers: [["x-a", "a\nb"]] }, "HEAD_INVALID"],
    ["headers that are a number", { headers: 5 }, "ARGUMENT"],
    ["a body that is a number", { body: 5 }, "ARGUMENT"],
    ["a deadline that is a text", { deadlineMs: "soon" }, "ARGUMENT"],
    ["a deadline that is no number", { deadlineMs: Number.NaN }, "ARGUMENT"],
    ["a deadline that has passed", { deadlineMs: 0 }, "DEADLINE"],
  ])("refuses %s, by request and by its dispatcher", async (_what, wrong, code) => {
    const options = { ...get("/"), deadlineMs: 1000, ...wrong };
    expect(await failure(set.request(options))).toMatchObject({ code, sent: "not-sent" });
    expect(await failure(dispatched(options))).toMatchObject({ code, sent: "not-sent" });
    expect(clock.now()).toBe(0);
  });

  it.each<[string, Untyped]>([
    ["nothing", undefined],
    ["a text", "GET /"],
    ["a signal that is none", { ...get("/"), deadlineMs: 1000, signal: {} }],
  ])("refuses %s as a request", async (_what, request) => {
    expect(await failure(set.request(request))).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
  });

  it("refuses to connect to a service that is a number", async () => {
    const connecting = set.connect(5 as Untyped, { deadlineMs: 1000 });
    expect(await failure(connecting)).toMatchObject({ code: "ARGUMENT", sent: "not-sent" });
  });

  it.each<[string, (given: Untyped) => unknown]>([
    ["add without a tunnel", (given) => given.add()],
    ["serve without a handler", (given) => given.serve()],
    ["onNotice without a listener", (given) => given.onNotice()],
    ["notify with a type that is a number", (given) => given.notify(5, new Uint8Array())],
    ["notify with a text", (given) => given.notify("beat", "text")],
  ])("throws ARGUMENT at once: %s", (_what, call) => {
    expect(() => call(set)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("takes a deadline without end, as a tunnel does", async () => {
    const asked = set.request({ ...get("/"), deadlineMs: Number.POSITIVE_INFINITY });
    await clock.advance(0);
    if (!joined) await join();
    expect((await asked).status).toBe(204);
  });
});
