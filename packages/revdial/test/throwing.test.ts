/** Callbacks of programs that throw inside a tunnel's turn: each costs its own exchange, is reported, and costs nobody else. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { defaultLimits, type TunnelEnd } from "../src/index.ts";
import { type TunnelPair, tunnelPair } from "../src/testing/index.ts";
import { failure, get, untilAborted } from "./support.ts";

let pair: TunnelPair;
let handlerErrors: unknown[];

beforeEach(async () => {
  handlerErrors = [];
  pair = tunnelPair({ both: { onHandlerError: (error) => void handlerErrors.push(error) } });
  await pair.ready;
});

afterEach(async () => {
  pair.left.destroy();
  await Promise.all([pair.left.closed, pair.right.closed]);
});

const fault = () => {
  throw new Error("my own mistake");
};

/** A request that is in flight until its tunnel ends. */
const waiting = () => failure(pair.left.request(get("/wait")));

/** More than a peer takes before its first CREDIT, and than waits for it. */
const muchBytes = 4 * (defaultLimits.windowInitialBytes + defaultLimits.sendQueueBytes);

describe("a listener of a byte stream that throws ends its stream, and no other exchange:", () => {
  beforeEach(() => {
    pair.right.serve(({ path, signal: abort }, reply) => {
      if (path === "/wait") return untilAborted(abort);
      if (path === "/") return { status: 204 };
      const socket = reply.accept();
      if (path === "/listens") socket.on("data", fault);
      else if (path === "/reads") socket.resume();
      else socket.pipe(socket);
      return new Promise((resolve) => socket.on("close", resolve));
    });
  });

  it.each([
    ["to data, as caller", "/echo", "data", "CANCELLED"],
    ["to data, as handler", "/listens", "end", "HANDLER_FAILED"],
    ["to room", "/reads", "drain", "CANCELLED"],
  ])("%s", async (_what, path, event, code) => {
    const others = waiting();
    const socket = await pair.left.connect("a", { path });
    const failed = new Promise((resolve) => socket.once("error", resolve));
    socket.on(event, fault);
    socket.write(new Uint8Array(muchBytes));
    expect(await failed).toMatchObject({ code });
    if (code === "CANCELLED") expect(await failed).toMatchObject({ cause: { message: "my own mistake" } });
    expect(handlerErrors).toMatchObject([{ message: "my own mistake" }]);
    expect((await pair.left.request(get("/"))).status).toBe(204);
    pair.left.destroy();
    expect((await others).code).toBe("DESTROYED");
  });
});

describe("a signal that cannot be let go of", () => {
  const stubborn = Object.assign(new AbortController().signal, { removeEventListener: fault });

  it.each<[string, TunnelEnd["code"], () => void]>([
    ["ends here", "DESTROYED", () => pair.left.destroy()],
    ["is ended by the peer", "TRANSPORT_LOST", () => pair.right.destroy()],
    ["is cut", "TRANSPORT_LOST", () => pair.link.cut()],
  ])("keeps no other exchange from ending when its tunnel %s", async (_how, code, end) => {
    pair.right.serve(({ signal: abort }) => untilAborted(abort));
    const all = [
      failure(pair.left.request({ ...get("/"), signal: stubborn })),
      waiting(),
      failure(pair.left.request({ ...get("/"), signal: stubborn })),
      waiting(),
    ];
    end();
    expect((await pair.left.closed).code).toBe(code);
    expect((await pair.right.closed).code).toBeDefined();
    expect((await Promise.all(all)).map((error) => error.code)).toEqual(all.map(() => code));
    expect(handlerErrors).toMatchObject([{ message: "my own mistake" }, { message: "my own mistake" }]);
    expect([pair.left.load, pair.right.load]).toEqual([0, 0]);
  });

  it("costs its own exchange nothing else", async () => {
    pair.right.serve(() => ({ status: 204 }));
    expect((await pair.left.request({ ...get("/"), signal: stubborn })).status).toBe(204);
    expect((await pair.left.request(get("/"))).status).toBe(204);
    expect(handlerErrors).toMatchObject([{ message: "my own mistake" }]);
  });
});

describe("a tunnel that is ended while it performs a message", () => {
  it("does not begin what else the message asks for", async () => {
    const begun: string[] = [];
    pair.right.serve(({ path, signal: abort }) => {
      begun.push(path);
      if (path === "/1") pair.right.destroy();
      return untilAborted(abort);
    });
    const first = waiting();
    // In one turn, and not alone, so in one message.
    const asked = ["/1", "/2", "/3"].map((path) => failure(pair.left.request(get(path))));
    expect((await Promise.all([first, ...asked])).map(({ code }) => code)).toEqual(
      Array(4).fill("TRANSPORT_LOST"),
    );
    expect(begun).toEqual(["/wait", "/1"]);
    expect(pair.right.load).toBe(0);
  });
});
