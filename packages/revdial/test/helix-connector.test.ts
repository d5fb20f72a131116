/** Forwarding over connections that the program makes itself. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { type ForwardConnection, type ForwardOptions, forwardTo } from "../src/http/index.ts";
import type { Tunnel } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { stopServer } from "./gateway.ts";
import { afterwards } from "./helix-support.ts";
import { listenLocally } from "./probes/chain.ts";
import { collect, failure, get, until } from "./support.ts";

interface Asking {
  tunnel: Tunnel;
  /** Those that were made, in order. */
  made: ForwardConnection[];
  ask(path: string): Promise<string>;
}

/** A tunnel whose far end forwards over what `dial` makes. */
function asking(dial: () => ForwardConnection, options: ForwardOptions = {}): Asking {
  const made: ForwardConnection[] = [];
  const { left, right } = tunnelPair({ left: { onHandlerError: () => undefined } });
  const target = {
    authority: "the.host",
    connect() {
      const connection = dial();
      made.push(connection);
      return connection;
    },
  };
  left.serve(forwardTo(target, options));
  afterwards(() => {
    left.destroy();
    for (const connection of made) connection.destroy();
  });
  return {
    tunnel: right,
    made,
    async ask(path) {
      const { status, body } = await right.request(get(path));
      return `${status} ${await collect(body)}`;
    },
  };
}

async function origin(answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  afterwards(() => stopServer(server));
  return await listenLocally(server);
}

/** One that is connected when the test says so: `open()`. */
class Door extends Duplex {
  readonly pending = true;
  connecting = true;
  opened = false;
  private readonly port: number;

  constructor(port: number) {
    super({ allowHalfOpen: false });
    this.port = port;
  }

  open(): void {
    this.opened = true;
    const socket = connect({ port: this.port, host: "127.0.0.1" });
    socket.on("data", (bytes) => void this.push(bytes)).on("close", () => this.destroy());
    this.on("close", () => socket.destroy());
    this._write = (bytes, _encoding, done) => void socket.write(bytes, done);
    this.emit("connect");
  }

  override _read(): void {}
}

describe("a forwarder over connections of the program's own", () => {
  it.each([
    ["no function", { authority: "a", connect: {} }],
    ["no authority", { connect: () => undefined }],
    ["an empty authority", { authority: "", connect: () => undefined }],
    ["an authority of two lines", { authority: "a\r\nb: c", connect: () => undefined }],
    ["an authority with a blank", { authority: "a b", connect: () => undefined }],
    ["an authority of 256 characters", { authority: "a".repeat(256), connect: () => undefined }],
  ])("is not made with %s", (_what, target) => {
    expect(() => forwardTo(target as never)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("asks on them with that authority, and keeps them", async () => {
    const port = await origin(
      (request, response) => void response.end(`${request.headers.host} ${request.url}`),
    );
    const { ask, made } = asking(() => connect({ port, host: "127.0.0.1" }));
    expect([await ask("/1"), await ask("/2")]).toEqual(["200 the.host /1", "200 the.host /2"]);
    expect(made).toHaveLength(1);
  });

  it("fails as not sent what never got its connection, with the code of the reason", async () => {
    const refused = Object.assign(new Error("nobody there"), { code: "PICKUP_FAILED" });
    const { tunnel } = asking(() => new Duplex({ read() {}, write() {} }).destroy(refused));
    expect(await failure(tunnel.request(get("/")))).toMatchObject({
      code: "REFUSED",
      sent: "not-sent",
      message: expect.stringContaining("PICKUP_FAILED"),
    });
  });

  it("opens streams over them too", async () => {
    const port = await origin((_request, response) => void response.end("ok"));
    const { tunnel } = asking(() => connect({ port, host: "127.0.0.1" }));
    const stream = await tunnel.connect("web");
    stream.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const [bytes] = await once(stream, "data");
    expect(String(bytes)).toMatch(/^HTTP\/1\.1 200 /);
    stream.destroy();
  });

  it("refuses a stream that never gets its connection, as not sent", async () => {
    const { tunnel } = asking(() => new Duplex({ read() {}, write() {} }).destroy(new Error("no")));
    expect(await failure(tunnel.connect("web"))).toMatchObject({ code: "REFUSED", sent: "not-sent" });
  });

  it("gives up in time where it is given one, streams and requests", async () => {
    const { tunnel, made } = asking(() => new Duplex({ read() {}, write() {} }), { connectTimeoutMs: 1 });
    expect(await failure(tunnel.connect("web"))).toMatchObject({ code: "REFUSED" });
    expect(await failure(tunnel.request(get("/")))).toMatchObject({ code: "REFUSED" });
    expect(made.every(({ destroyed }) => destroyed)).toBe(true);
  });
});

describe("a request that waits for its connection", () => {
  it("takes one that becomes free, and its own serves the next", async () => {
    const port = await origin((request, response) => void response.end(request.url));
    const { ask, made } = asking(() => new Door(port));
    const doors = made as Door[];
    const answers = ["/1", "/2", "/3"].map(ask);
    await until(() => doors.length === 3);
    doors[0]?.open();
    expect(await Promise.all(answers)).toEqual(["200 /1", "200 /2", "200 /3"]);
    expect(doors.map(({ opened, destroyed }) => opened || destroyed)).toEqual([true, false, false]);
    // They come late, and are kept: the last is used first.
    doors[1]?.open();
    doors[2]?.open();
    expect(await ask("/4")).toBe("200 /4");
    expect(doors).toHaveLength(3);
  });

  it("leaves its own alone when nobody has begun to make it", async () => {
    const port = await origin((request, response) => void response.end(request.url));
    const { ask, made } = asking(() => new Door(port));
    const doors = made as Door[];
    const answers = ["/1", "/2"].map(ask);
    await until(() => doors.length === 2);
    (doors[1] as Door).connecting = false;
    doors[0]?.open();
    expect(await Promise.all(answers)).toEqual(["200 /1", "200 /2"]);
    expect(doors[1]?.destroyed).toBe(true);
  });

  it("is served in its turn: who came first, first", async () => {
    const order: string[] = [];
    const port = await origin((request, response) => {
      order.push(request.url ?? "");
      response.end();
    });
    const { ask, made } = asking(() => new Door(port));
    const answers = ["/1", "/2", "/3", "/4", "/5"].map(ask);
    await until(() => made.length === 5);
    (made[0] as Door).open();
    await Promise.all(answers);
    expect(order).toEqual(["/1", "/2", "/3", "/4", "/5"]);
  });

  it("keeps its own when those before it break, and is not failed by an other's", async () => {
    const port = await origin((request, response) => void response.end(request.url));
    const { ask, made } = asking(() => new Door(port));
    const doors = made as Door[];
    const [first, second] = ["/1", "/2"].map(ask);
    await until(() => doors.length === 2);
    doors[0]?.destroy(new Error("broken"));
    expect(await failure(first as Promise<string>)).toMatchObject({ sent: "not-sent" });
    doors[1]?.open();
    expect(await second).toBe("200 /2");
  });

  it("gets one of its own where none may be kept", async () => {
    const port = await origin((request, response) => void response.end(request.url));
    const { ask, made } = asking(() => new Door(port), { idleConnectionsMax: 0 });
    const doors = made as Door[];
    const answers = ["/1", "/2"].map(ask);
    await until(() => doors.length === 2);
    doors[0]?.open();
    expect(await answers[0]).toBe("200 /1");
    await until(() => doors[0]?.destroyed === true);
    doors[1]?.open();
    expect(await answers[1]).toBe("200 /2");
  });

  it("that is aborted takes its own with it, and not that of another", async () => {
    const port = await origin((request, response) => void response.end(request.url));
    const { tunnel, ask, made } = asking(() => new Door(port));
    const doors = made as Door[];
    const abort = new AbortController();
    const aborted = failure(tunnel.request({ ...get("/1"), signal: abort.signal }));
    const kept = ask("/2");
    await until(() => doors.length === 2);
    abort.abort();
    await aborted;
    await until(() => doors[0]?.destroyed === true);
    expect(doors[1]?.destroyed).toBe(false);
    doors[1]?.open();
    expect(await kept).toBe("200 /2");
  });
});
