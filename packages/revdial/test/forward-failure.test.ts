/** Origins that break off, lie or hang: each costs its own exchange, and gives its slot back. */
import { once } from "node:events";
import { createServer as createTcpServer, type Socket } from "node:net";
import { describe, expect, it } from "@jest/globals";
import { client, start } from "./raw-chain.ts";
import { get, ok, rawOrigin } from "./raw-http.ts";
import { collect, failure, signal, text } from "./support.ts";

const longName = `${"x".repeat(300)}: 1\r\n`;
const manyFields = "a: 1\r\n".repeat(300);
const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";

describe("forwarding", () => {
  it.each([
    ["a hint with a name that may not travel", `HTTP/1.1 103 E\r\n${longName}\r\n${ok()}`],
    ["a hint with too many fields", `HTTP/1.1 103 E\r\n${manyFields}\r\n${ok()}`],
    ["a trailer with a name that may not travel", `${chunked}${longName}\r\n`],
    ["too many trailers", `${chunked}${manyFields}\r\n`],
    ["a name that may not travel", `HTTP/1.1 200 OK\r\n${longName}\r\n`],
  ])("ends an exchange whose origin sends %s, and no other", async (_what, said) => {
    const { idle } = await start(
      rawOrigin((socket, head) => void socket.write(head.startsWith("GET /good ") ? ok("good") : said)),
    );
    const broken = client(get("/bad"));
    await broken.until(/\r\n\r\n/);
    expect(await client(get("/good")).until(/good$/)).toMatch(/^HTTP\/1\.1 200 /);
    await idle();
  });

  const dying = () => {
    const asked: string[] = [];
    /** Each connection answers once, and is reset when it is asked again. */
    const origin = rawOrigin((socket: Socket & { used?: boolean }, head) => {
      asked.push(head.slice(0, head.indexOf(" HTTP")));
      if (socket.used) socket.resetAndDestroy();
      else socket.write(ok());
      socket.used = true;
    });
    return { asked, origin };
  };

  it.each(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])(
    "sends a %s without a body once more when the kept connection it took has died",
    async (method) => {
      const { asked, origin } = dying();
      await start(origin);
      await client(get("/first")).until(/ok$/);
      const again = client(`${method} /again HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect(await again.rest()).toMatch(/^HTTP\/1\.1 200 /);
      expect(asked).toEqual(["GET /first", `${method} /again`, `${method} /again`]);
    },
  );

  it.each([
    ["a POST, which may have run", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
    ["a PATCH, which may have run", "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
    ["a PUT, whose body is gone", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"],
  ])("does not send %s a second time", async (_what, said) => {
    const { asked, origin } = dying();
    const { idle } = await start(origin);
    await client(get("/first")).until(/ok$/);
    expect(await client(said).until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 502 /);
    expect(asked).toHaveLength(2);
    await idle();
  });

  it("does not send a request a second time that has been answered in part", async () => {
    let asked = 0;
    const { idle } = await start(
      rawOrigin((socket) => {
        asked += 1;
        if (asked === 1) return void socket.write(ok());
        socket.write("HTTP/1.1 200 OK\r\nContent-Le", () => socket.destroy());
      }),
    );
    await client(get()).until(/ok$/);
    expect(await client(get()).until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 502 /);
    expect(asked).toBe(2);
    await idle();
  });

  it("does not send a request a second time that a new connection has swallowed", async () => {
    let asked = 0;
    await start(
      rawOrigin((socket) => {
        asked += 1;
        socket.destroy();
      }),
    );
    expect(await client(get()).until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 502 /);
    expect(asked).toBe(1);
  });

  it("refuses CONNECT as a request, and an upgrade with it", async () => {
    const { tunnel, idle } = await start(rawOrigin((socket) => void socket.write("HTTP/1.1 200 OK\r\n\r\n")));
    const connectRequest = { service: "web", method: "CONNECT", path: "/" };
    const reply = await tunnel.request(connectRequest);
    expect(reply.status).toBe(501);
    expect(await collect(reply.body)).toHaveLength(0);
    const upgrade = await tunnel.request({ ...connectRequest, upgrade: "websocket" });
    expect(upgrade.status).toBe(501);
    await collect(upgrade.body);
    await idle();
  });
});

describe("a forwarded upgrade", () => {
  it("that is refused with trailers loses them, and only them", async () => {
    const { idle } = await start(
      rawOrigin(
        (socket) =>
          void socket.write(
            "HTTP/1.1 403 F\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX-T: 1\r\n\r\n",
          ),
      ),
    );
    const heard = await client(get("/", "Connection: Upgrade", "Upgrade: x")).rest();
    expect(heard).toMatch(/^HTTP\/1\.1 403 /);
    expect(heard).toMatch(/no/);
    expect(heard).not.toMatch(/x-t/i);
    await idle();
  });
});

describe("a forwarded byte stream", () => {
  it("gives its slot back when it is given up before the target has taken it", async () => {
    const { tunnel, idle } = await start(
      createTcpServer((socket) => void socket.on("error", () => undefined).resume()),
      { limits: { channelsMax: 4 } },
    );
    for (let i = 0; i < 20; i += 1) {
      const abort = new AbortController();
      const opened = tunnel.connect("web", { signal: abort.signal });
      setImmediate(() => abort.abort());
      await opened.then(
        (stream) => stream.on("error", () => undefined).destroy(),
        () => undefined,
      );
    }
    await idle();
    const stream = await tunnel.connect("web");
    stream.on("error", () => undefined).destroy();
    await idle();
  });

  it("arrives whole at a target that has ended its own direction and reads slowly", async () => {
    const size = 8_000_000;
    const end = signal<number>();
    const origin = createTcpServer({ allowHalfOpen: true, highWaterMark: 16_384 }, (socket) => {
      let bytes = 0;
      socket.end("hi");
      socket.on("error", () => end.give(bytes));
      socket.on("data", (chunk) => {
        bytes += chunk.byteLength;
        socket.pause();
        setImmediate(() => socket.resume());
      });
      socket.on("end", () => end.give(bytes));
    });
    const { tunnel, idle } = await start(origin);
    const stream = await tunnel.connect("web");
    stream.on("error", () => undefined).resume();
    await once(stream, "end");
    stream.end(Buffer.alloc(size));
    expect(await end.seen).toBe(size);
    await idle();
  });

  it("to a target that refuses is REFUSED, not sent", async () => {
    const { tunnel, origin, idle } = await start(createTcpServer());
    await new Promise<void>((resolve) => origin.close(() => resolve()));
    expect(await failure(tunnel.connect("web"))).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    await idle();
  });

  it("that its target resets fails, and does not pass for never sent", async () => {
    const taken = signal<Socket>();
    const { tunnel, idle } = await start(createTcpServer((socket) => taken.give(socket)));
    const stream = await tunnel.connect("web");
    const failed = once(stream, "error");
    stream.write(text.encode("hello"));
    stream.resume();
    (await taken.seen).resetAndDestroy();
    const [error] = await failed;
    expect(error).not.toMatchObject({ code: "REFUSED" });
    await idle();
  });
});
