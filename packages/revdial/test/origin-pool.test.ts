/** Which connections to an origin are kept, for how long, and which is used next. */

import { once } from "node:events";
import type { Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "@jest/globals";
import type { ConnectionUser } from "../src/http/origin-connection.ts";
import { authority } from "../src/http/origin-target.ts";
import type { Clock } from "../src/index.ts";
import { type Asking, asking } from "./origin-support.ts";
import { ok } from "./raw-http.ts";
import { failure, signal, until } from "./support.ts";

const hinting = (hint: string) => `HTTP/1.1 200 OK\r\nKeep-Alive: ${hint}\r\nContent-Length: 2\r\n\r\nok`;

/** Asks for so many at once, so that each has a connection of its own, and has them answered in this order. */
async function together(count: number, options?: Parameters<typeof asking>[1]): Promise<Asking> {
  const waiting: Socket[] = [];
  const all = signal();
  const made = await asking((socket, head, connection) => {
    if (head.startsWith("GET /wait ")) {
      waiting.push(socket);
      if (waiting.length === count) all.give();
    } else socket.write(ok(`on ${connection}`));
  }, options);
  const answers = Array.from({ length: count }, () => made.ask("/wait"));
  await all.seen;
  for (const [place, socket] of made.connections.entries()) {
    socket.write(ok());
    await until(
      () => made.pool.idleConnections === Math.min(place + 1, options?.idleConnectionsMax ?? count),
    );
  }
  await Promise.all(answers);
  return made;
}

describe("a pool of connections", () => {
  it("uses the connection that was used last, and the others stay", async () => {
    const { ask, pool, connections } = await together(3);
    expect([await ask(), await ask()]).toEqual(["200 on 2", "200 on 2"]);
    expect(pool.idleConnections).toBe(3);
    expect(connections).toHaveLength(3);
  });

  it("keeps no more idle connections than it may", async () => {
    const { pool, connections, ask } = await together(3, { idleConnectionsMax: 2 });
    await until(() => connections[2]?.readableEnded === true);
    expect(pool.idleConnections).toBe(2);
    expect(await ask()).toBe("200 on 1");
  });

  it("that may keep none opens one for each request", async () => {
    const { ask, pool, connections } = await asking((socket) => void socket.write(ok()), {
      idleConnectionsMax: 0,
    });
    await ask();
    await ask();
    expect(connections).toHaveLength(2);
    expect(pool.idleConnections).toBe(0);
  });

  it.each([
    ["4 s without use", ok(), 4000],
    ["a second before what Keep-Alive says", hinting("timeout=3"), 2000],
    ["a second before what Keep-Alive says, however long", hinting("timeout=100"), 99_000],
  ])("closes a connection after %s", async (_what, said, keptMs) => {
    const { ask, clock, pool, connections } = await asking((socket) => void socket.write(said));
    await ask();
    await clock.advance(keptMs - 1);
    await ask();
    expect(connections).toHaveLength(1);
    await clock.advance(keptMs - 1);
    expect(pool.idleConnections).toBe(1);
    const closed = once(connections[0] as Socket, "end");
    await clock.advance(1);
    expect(pool.idleConnections).toBe(0);
    await closed;
    expect(clock.pending).toBe(0);
    await ask();
    expect(connections).toHaveLength(2);
  });

  it("does not keep a connection that its origin keeps for a second", async () => {
    const { ask, pool, clock } = await asking((socket) => void socket.write(hinting("timeout=1")));
    await ask();
    expect(pool.idleConnections).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it("closes a connection in time that came behind one which stays longer", async () => {
    const said = [hinting("timeout=100"), hinting("timeout=2")];
    const waiting: Socket[] = [];
    const { tunnel, clock, pool } = await asking((socket) => {
      waiting.push(socket);
      if (waiting.length === said.length)
        for (const [place, one] of waiting.entries()) one.write(said[place] ?? "");
    });
    const request = { service: "web", method: "GET", path: "/" };
    await Promise.all([tunnel.request(request), tunnel.request(request)]);
    await until(() => pool.idleConnections === 2);
    await clock.advance(999);
    expect(pool.idleConnections).toBe(2);
    await clock.advance(1);
    expect(pool.idleConnections).toBe(1);
    await clock.advance(98_000);
    expect(pool.idleConnections).toBe(0);
  });

  it("does not use a connection whose time is over, when its timer is late", async () => {
    let now = 0;
    const late: Clock = { now: () => now, setTimer: () => ({ cancel: () => undefined }) };
    const { ask, connections } = await asking((socket) => void socket.write(ok()), { clock: late });
    await ask();
    now = 4000;
    await ask();
    expect(connections).toHaveLength(2);
  });

  it.each<[string, (socket: Socket) => void]>([
    ["bytes", (socket) => void socket.write("x")],
    ["an answer that nobody asked for", (socket) => void socket.write(ok("poison"))],
    ["its end", (socket) => void socket.end()],
    ["a reset", (socket) => void socket.resetAndDestroy()],
  ])("closes an idle connection on which there is %s, and asks on another", async (_what, spoil) => {
    const { ask, pool, connections } = await asking(
      (socket, _head, connection) => void socket.write(ok(`on ${connection}`)),
    );
    await ask();
    spoil(connections[0] as Socket);
    await until(() => pool.idleConnections === 0);
    expect(await ask()).toBe("200 on 1");
  });

  it.each([
    ["bytes behind the answer", `${ok()}more`],
    ["a second answer behind the first", `${ok()}${ok("poison")}`],
    ["a body to HEAD", ok("poison"), "HEAD"],
    ["Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ])("does not keep a connection with %s", async (_what, said, method = "GET") => {
    const { ask, pool, connections } = await asking(
      (socket, _head, connection) => void socket.write(connection === 0 ? said : ok("good")),
    );
    expect(await ask("/", method)).not.toMatch(/poison|more/);
    expect(pool.idleConnections).toBe(0);
    expect(await ask()).toBe("200 good");
    expect(connections).toHaveLength(2);
  });

  it("gives a connection up that the origin has not taken in time", async () => {
    // A clock whose timers are due at once: no connection is as fast.
    const hasty: Clock = {
      now: () => 0,
      setTimer(_ms, run) {
        queueMicrotask(run);
        return { cancel: () => undefined };
      },
    };
    const { ask } = await asking((socket) => void socket.write(ok()), { clock: hasty });
    expect(await failure(ask())).toMatchObject({ code: "REFUSED", sent: "not-sent" });
  });
});

describe("a connection after 1,000 exchanges", () => {
  it("has the listeners it had after one, and nothing holds an exchange that is over", async () => {
    const replies: WeakRef<object>[] = [];
    const { ask, pool, connections, clock } = await asking(
      (socket) => void socket.write(ok()),
      {},
      (request, reply) => {
        replies.push(new WeakRef(reply));
        return [request, reply];
      },
    );
    const listeners = () => {
      const connection = pool.take({} as ConnectionUser);
      if (connection === undefined) throw new Error("no connection was kept");
      const { socket } = connection;
      pool.keep(connection, 4000);
      return socket.eventNames().map((name) => `${String(name)} ${socket.listenerCount(name)}`);
    };
    await ask();
    const before = listeners();
    for (let i = 1; i < 1000; i += 1) await ask();
    expect(listeners()).toEqual(before);
    expect(connections).toHaveLength(1);
    expect(clock.pending).toBeLessThan(20);
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const alive = () => replies.filter((one) => one.deref() !== undefined).length;
    await until(() => {
      collectGarbage();
      return alive() < 10;
    });
    expect(replies).toHaveLength(1000);
  });
});

describe("what an origin hears as Host", () => {
  it.each([
    [{ host: "localhost", port: 80 }, "localhost:80"],
    [{ host: "127.0.0.1", port: 8080 }, "127.0.0.1:8080"],
    [{ host: "::1", port: 8080 }, "[::1]:8080"],
    [{ socketPath: "/run/web.sock" }, "localhost"],
  ])("of %j is %s", (target, host) => {
    expect(authority(target)).toBe(host);
  });
});
