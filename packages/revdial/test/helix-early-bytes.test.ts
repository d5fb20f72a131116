/** Agents that speak before they are asked: what they say is nobody's answer. */
import { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import type { ConnectionUser, OriginConnection } from "../src/http/origin-connection.ts";
import { OriginPool } from "../src/http/origin-pool.ts";
import { ManualClock } from "../src/testing/index.ts";
import { ask, asked, maskedFrame, pickUp, RawPeer, rawControl, settled } from "./helix-support.ts";
import { ok } from "./raw-http.ts";
import { failure, until } from "./support.ts";

const BINARY = 0x82;
const frame = (text: string) => maskedFrame(BINARY, Buffer.from(text));

describe("what an agent says behind an answer, in the same segment", () => {
  it("is not the answer of a request that waits for a connection, which gets its own", async () => {
    const { answer, data, tunnel, ...made } = await asked();
    const waiting = ask(tunnel, "/b");
    await until(() => made.control.connPaths.length === 2);
    data.socket.write(Buffer.concat([frame(ok("a")), frame(ok("poison"))]));
    expect((await answer).status).toBe(200);
    await until(() => data.closed);
    expect(data.bytes.includes("/b")).toBe(false);
    const other = await pickUp({ ...made, tunnel }, 1);
    await until(() => other.bytes.includes("/b"));
    other.send(BINARY, ok("b"));
    expect(await waiting).toBe("200 b");
    expect(made.gateway.exchange.connections).toBe(1);
  });

  it("takes no request with it, not even one that must not run twice and waits in vain for another", async () => {
    const { answer, data, tunnel, control } = await asked();
    const waiting = ask(tunnel, "/b", { method: "POST", body: Buffer.from("once") });
    await until(() => control.connPaths.length === 2);
    data.socket.write(Buffer.concat([frame(ok("a")), frame("x")]));
    expect((await answer).status).toBe(200);
    await until(() => data.closed);
    await until(() => control.connPaths.length === 3);
    for (const connPath of control.connPaths.slice(1))
      control.send(BINARY, `${JSON.stringify({ command: "pickup-failed", connPath, err: "no" })}\n`);
    expect(await failure(waiting)).toMatchObject({ code: "REFUSED", sent: "not-sent" });
  });
});

interface User extends ConnectionUser {
  told: string[];
  connection: OriginConnection | undefined;
}

/** A user of a pool's connections, and what it is told. */
function userOf(pool: OriginPool): User {
  const told: string[] = [];
  return {
    told,
    connection: undefined,
    onConnected: () => void told.push("connected"),
    onGiven(connection) {
      this.connection = connection;
    },
    onLost: () => void told.push("lost"),
    onDrain: () => undefined,
    onInterim: () => undefined,
    onHead: () => undefined,
    onData: (bytes) => void told.push(bytes.toString()),
    onEnd(_trailers, keepMs) {
      pool.keep(this.connection as OriginConnection, keepMs);
    },
    onSwitch: () => undefined,
  };
}

describe("a connection of the program's own that has just become free", () => {
  async function freed() {
    const duplex = new Duplex({ read() {}, write: (_bytes, _encoding, done) => done() });
    const target = { authority: "host", connect: () => duplex };
    const clock = new ManualClock();
    const pool = new OriginPool({ target, connectTimeoutMs: 5000, idleConnectionsMax: 4, clock });
    const [first, second] = [userOf(pool), userOf(pool)];
    const connection = pool.open(first, false);
    first.connection = connection;
    duplex.emit("connect");
    expect(first.told).toEqual([]);
    await until(() => first.told.length === 1);
    connection.ask("GET / HTTP/1.1\r\n\r\n", "GET", false);
    return { duplex, connection, pool, first, second };
  }

  it("is given to the next at once, who may ask only when nothing more has come", async () => {
    const { duplex, connection, pool, second } = await freed();
    duplex.push(ok("1"));
    expect(pool.take(second)).toBe(connection);
    expect(connection.resting).toBe(true);
    expect(second.told).toEqual([]);
    await until(() => second.told.length > 0);
    expect(second.told).toEqual(["connected"]);
    expect(connection.resting).toBe(false);
  });

  it("is lost to the next when more comes before that, and what came is nobody's", async () => {
    const { duplex, pool, connection, first, second } = await freed();
    duplex.push(ok("1"));
    expect(pool.take(second)).toBe(connection);
    duplex.push(ok("poison"));
    await until(() => duplex.closed);
    expect(second.told).toEqual(["lost"]);
    expect(first.told).toEqual(["connected", "1"]);
    expect(pool.take(second)).toBeUndefined();
  });

  it("is not kept when more waits to be read", async () => {
    const { duplex, pool, first, second } = await freed();
    duplex.pause();
    duplex.push(ok("1"));
    duplex.push(ok("poison"));
    duplex.resume();
    await until(() => first.told.includes("1"));
    expect(duplex.destroyed).toBe(true);
    expect(pool.take(second)).toBeUndefined();
  });
});

describe("what an agent says on a data connection before it hears anything", () => {
  const early = frame(ok("poison"));

  it.each(["GET", "POST"])("is no answer to the %s it is for, which was not sent", async (method) => {
    const made = await rawControl();
    const asking = failure(made.tunnel.request({ service: "wolf", method, path: "/early" }));
    await until(() => made.control.connPaths.length === 1);
    const data = new RawPeer(made.gateway.url, made.control.connPaths[0] as string, [], early);
    expect(await asking).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    await until(() => data.closed);
    expect(data.bytes).toHaveLength(0);
    expect(made.gateway.exchange.connections).toBe(0);
    const next = ask(made.tunnel, "/next");
    const other = await pickUp(made, 1);
    await until(() => other.bytes.includes("/next"));
    other.send(BINARY, ok("next"));
    expect(await next).toBe("200 next");
  });

  it("is not the answer of another request that waits, when its own was given up", async () => {
    const made = await rawControl();
    const { control, tunnel, gateway } = made;
    const asking = ask(tunnel, "/a");
    await until(() => control.connPaths.length === 1);
    const first = await pickUp(made, 0);
    await until(() => first.bytes.includes("/a"));
    const waiting = ask(tunnel, "/b");
    await until(() => control.connPaths.length === 2);
    first.send(BINARY, ok("a"));
    expect(await asking).toBe("200 a");
    await until(() => first.bytes.includes("/b"));
    const last = ask(tunnel, "/c");
    await until(() => control.connPaths.length === 3);
    // Nobody's by now, and at once that of the one who waits.
    const spare = new RawPeer(gateway.url, control.connPaths[1] as string, [], early);
    await until(() => spare.closed);
    first.send(BINARY, ok("b"));
    expect(await waiting).toBe("200 b");
    await until(() => first.bytes.includes("/c"));
    await settled(first);
    first.send(BINARY, ok("c"));
    expect(await last).toBe("200 c");
  });

  it("is heard where bytes are all there is: on a plain stream either side may begin", async () => {
    const made = await rawControl();
    const opening = made.tunnel.connect("wolf");
    await until(() => made.control.connPaths.length === 1);
    const path = made.control.connPaths[0] as string;
    const data = new RawPeer(made.gateway.url, path, [], frame("220 ready"));
    const socket = await opening;
    expect(String(await new Promise((resolve) => socket.once("data", resolve)))).toBe("220 ready");
    socket.destroy();
    await until(() => data.closed);
  });
});
