/** Byte streams whose peer, or whose own listener, does what it should not. */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { wireCodes } from "../src/errors.ts";
import { createTunnelSet, type Tunnel, type TunnelSet } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { write } from "./cores.ts";
import { failure, get } from "./support.ts";

/** A peer's answer to the first request of the dialling side: 101 and the end of it, in one message. */
const acceptedAndReset = write(
  { type: "head", channel: 1, end: false, status: 101, headers: [] },
  { type: "reset", channel: 1, code: wireCodes.CANCELLED, reason: "bye" },
);

describe("a socket that is accepted and reset in one message", () => {
  async function asked<T>(ask: (tunnel: Tunnel & TunnelSet) => Promise<T>, overSet = false): Promise<T> {
    const { left, right, link, ready } = tunnelPair();
    await ready;
    const set = createTunnelSet();
    set.add(left);
    await left.ready;
    const outcome = ask((overSet ? set : left) as Tunnel & TunnelSet);
    await Promise.resolve();
    link.inject("left", acceptedAndReset);
    return await outcome.finally(async () => {
      set.destroy();
      await right.closed;
    });
  }

  it.each([
    ["a tunnel", false],
    ["a set", true],
  ])("rejects connect of %s, though the head said 101", async (_of, overSet) => {
    const error = await failure(asked((tunnel) => tunnel.connect("screen"), overSet));
    expect(error).toMatchObject({ code: "CANCELLED", sent: "may-have-run", message: "CANCELLED: bye" });
  });

  it("is given to whoever asked for an upgrade, with its error, and costs nobody anything", async () => {
    const { socket } = await asked((tunnel) => tunnel.request({ ...get("/"), upgrade: "websocket" }));
    expect((socket as Duplex).errored).toMatchObject({ code: "CANCELLED" });
    expect((socket as Duplex).destroyed).toBe(true);
  });
});

describe("a socket whose error nobody listens to", () => {
  it.each(["left", "right"] as const)("costs the %s side nothing when its tunnel ends", async (side) => {
    const pair = tunnelPair();
    const accepted = new Promise<Duplex>((resolve) => {
      pair.right.serve(async (_request, reply) => {
        const socket = reply.accept();
        resolve(socket);
        await once(socket, "close");
      });
    });
    const sockets = { left: await pair.left.connect("screen"), right: await accepted };
    const closed = new Promise((resolve) => sockets[side].once("close", resolve));
    pair[side].destroy();
    await closed;
    expect(sockets[side].errored).toMatchObject({ code: "DESTROYED" });
    await Promise.all([pair.left.closed, pair.right.closed]);
  });
});
