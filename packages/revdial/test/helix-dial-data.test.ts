/** Pick-ups and data connections of the client of the original protocol, and how it leaves. */
import { describe, expect, it } from "@jest/globals";
import type { RequestHandler } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { dial, serve } from "./helix-dialled.ts";
import { binary, closeFrame, type Data, FIN, opcodes, serverFrame } from "./helix-server.ts";
import { signal, until } from "./support.ts";

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** Answers each request when told, with its path. */
function slow() {
  const waiting = new Map<string, () => void>();
  const asked: string[] = [];
  const gone: string[] = [];
  const handler: RequestHandler = ({ path, signal: over }) => {
    asked.push(path);
    over.addEventListener("abort", () => gone.push(path));
    return new Promise((resolve) =>
      waiting.set(path, () => resolve({ status: 200, body: Buffer.from(path) })),
    );
  };
  return { handler, asked, gone, answer: (path: string) => waiting.get(path)?.() };
}

describe("a pick-up", () => {
  it("is preceded by a look at the local target, and fails with its words before anything is dialled", async () => {
    const server = await serve();
    const said: string[] = [];
    const { control } = await dial(server, {
      checkTarget: () => Promise.reject(new Error(`Wolf\u0007 does not\nanswer ${"x".repeat(500)}`)),
      onPickupFailed: (reason) => said.push(reason),
    });
    const { connPath, line } = control.ready();
    control.say(binary(line));
    const { err } = await control.failure(connPath);
    expect(err).toMatch(/^Wolf does not answer x+$/);
    expect(err).toHaveLength(200);
    expect(said).toEqual([err]);
    expect(server.requests).toHaveLength(1);
    expect(control.lines).toHaveLength(1);
  });

  it("shows headers that are made anew, and none when they cannot be made", async () => {
    let made = 0;
    const server = await serve();
    const headers = async () => {
      made += 1;
      if (made === 3) throw new Error("no more");
      return { authorization: `Bearer ${made}` };
    };
    const { control } = await dial(server, { headers });
    expect((await server.dial(control)).asked.headers.authorization).toBe("Bearer 2");
    await expect(server.dial(control)).rejects.toThrow("pickup-failed: no more");
    expect((await server.dial(control)).asked.headers.authorization).toBe("Bearer 4");
  });

  it.each([
    [500, '{"status_code":500,"code":"INTERNAL_SERVER_ERROR","message":"unknown dialer"}', "unknown dialer"],
    [401, "Unauthorized", "Unauthorized"],
    [502, "", "status 502"],
  ])("that is refused with %i says so, and costs the tunnel nothing", async (status, body, words) => {
    const server = await serve();
    const said: string[] = [];
    const { control } = await dial(server, { onPickupFailed: (reason) => said.push(reason) });
    const refused = control.ready();
    server.refuse = ({ path }) =>
      path.endsWith(refused.connPath.split("?")[1] ?? "") ? { status, body } : undefined;
    control.say(binary(refused.line));
    const { err } = await control.failure(refused.connPath);
    expect(err).toContain(`status ${status}`);
    expect(err).toContain(words);
    expect(said).toEqual([err]);
    expect(said.join()).not.toContain(control.dialer);
    expect(await (await server.dial(control)).ask("GET", "/")).toMatchObject({ status: 200 });
  });

  it("of a dialer that the server does not know fails with the server's words", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const { connPath, line } = control.ready();
    control.say(binary(line));
    expect((await control.failure(connPath)).err).toContain("unknown dialer");
  });

  it.each(["the look at the target", "the upgrade"])("is given up after 20 s of %s", async (what) => {
    const clock = new ManualClock();
    const server = await serve();
    const begun = signal<AbortSignal>();
    const { control } = await dial(server, {
      clock,
      checkTarget: (given) => {
        begun.give(given);
        return what === "the upgrade" ? Promise.resolve() : new Promise(() => undefined);
      },
    });
    server.refuse = () => "hang";
    const { connPath, line } = control.ready();
    control.say(binary(line));
    const given = await begun.seen;
    if (what === "the upgrade") await server.until(() => server.requests[1]);
    await clock.advance(20_000);
    expect((await control.failure(connPath)).err).toBe("no data connection within 20 s");
    expect(given.aborted).toBe(true);
  });

  it("whose own words would be too long for a line is reported without a reason, or not at all", async () => {
    const server = await serve();
    const { control } = await dial(server);
    // Each of which takes six bytes in what we say.
    const long = (length: number) => "&".repeat(length);
    for (const connPath of [long(700), long(670), "/short"])
      control.say(binary(`{"command":"conn-ready","connPath":"${connPath}"}\n`));
    await control.failure("/short");
    expect(control.lines.map(({ connPath, err }) => [connPath.length, err === undefined])).toEqual([
      [670, true],
      [6, false],
    ]);
  });

  it("beyond the most at once fails, unless one that is idle can make room", async () => {
    const server = await serve();
    const { handler, answer, asked } = slow();
    const { control } = await dial(server, { handler, connectionsMax: 2 });
    const [first, second] = [await server.dial(control), await server.dial(control)];
    await expect(server.dial(control)).rejects.toThrow("there are 2 data connections already");
    for (const [at, data] of [first, second].entries()) data.send(get(`/${at}`));
    await until(() => asked.length === 2);
    await expect(server.dial(control)).rejects.toThrow("there are 2 data connections already");
    answer("/1");
    expect(await second.answer()).toMatchObject({ body: "/1" });
    const third = await server.dial(control);
    expect(await second.closed).toBe(1000);
    third.send(get("/2"));
    await until(() => asked.length === 3);
    answer("/2");
    answer("/0");
    expect([(await first.answer()).body, (await third.answer()).body]).toEqual(["/0", "/2"]);
  });
});

describe("a data connection", () => {
  it("carries request after request, and bodies of every shape of message", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const data = await server.dial(control);
    expect(await data.ask("GET", "/a")).toMatchObject({ status: 200, body: "GET /a " });
    const body = Buffer.alloc(100_000, "0123456789").toString();
    expect((await data.ask("POST", "/b", body)).body).toBe(`POST /b ${body}`);
    const from = data.text.length;
    const request = Buffer.from(
      `POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 32000\r\n\r\n${"c".repeat(32_000)}`,
    );
    data.sendFragmented(request);
    expect((await data.answer(from)).body).toBe(`POST /c ${"c".repeat(32_000)}`);
    for (const { opcode, payload } of data.frames) {
      expect(opcode).toBe(opcodes.binary);
      expect(payload.length).toBeLessThanOrEqual(32 * 1024);
    }
  });

  it("takes a request in single bytes, empty messages and pings between them", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const data = await server.dial(control);
    for (const character of get("/bytes")) data.say(binary(""), binary(character));
    data.say(serverFrame(FIN | opcodes.ping, "still there?"));
    expect((await data.answer()).body).toBe("GET /bytes ");
    expect(data.frames.some(({ opcode }) => opcode === opcodes.pong)).toBe(true);
  });

  it("ends after 5 s without a request, as servers that forget theirs rely on, but not before its first", async () => {
    const clock = new ManualClock();
    const server = await serve();
    const { control } = await dial(server, { clock });
    const [used, fresh] = [await server.dial(control), await server.dial(control)];
    await used.ask("GET", "/1");
    await clock.advance(4999);
    await used.ask("GET", "/2");
    await clock.advance(4999);
    expect([used.over, fresh.over]).toEqual([false, false]);
    await clock.advance(1);
    expect(await used.closed).toBe(1000);
    expect(await fresh.ask("GET", "/3")).toMatchObject({ status: 200 });
  });

  it.each<[string, (data: Data) => void]>([
    ["is cut", (data) => data.cut()],
    ["is closed", (data) => data.say(closeFrame(1000))],
    ["speaks text", (data) => data.say(serverFrame(FIN | opcodes.text, "GET"))],
    ["breaks the protocol", (data) => data.say(serverFrame(FIN | 0x70 | opcodes.binary, "GET"))],
  ])("that %s ends its request, and no other", async (_how, end) => {
    const server = await serve();
    const { handler, asked, gone, answer } = slow();
    const { control, tunnel } = await dial(server, { handler });
    const [one, other] = [await server.dial(control), await server.dial(control)];
    one.send(get("/one"));
    other.send(get("/other"));
    await until(() => asked.length === 2);
    end(one);
    await until(() => gone.length === 1);
    expect(gone).toEqual(["/one"]);
    answer("/other");
    expect((await other.answer()).body).toBe("/other");
    expect(tunnel.draining).toBe(false);
  });

  it.each([
    ["what is no HTTP", "hello\r\n\r\n", 400],
    ["a head without end", `GET / HTTP/1.1\r\nX: ${"x".repeat(40_000)}`, 431],
    ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400],
    ["a coding that nobody knows", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501],
  ])("with %s is answered or ended, and the handler sees nothing", async (_what, bytes, status) => {
    let served = 0;
    const server = await serve();
    const { control } = await dial(server, {
      handler: () => {
        served += 1;
        return { status: 200 };
      },
    });
    const data = await server.dial(control);
    data.send(bytes);
    await data.closed;
    if (data.text !== "") expect(data.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(served).toBe(0);
    expect(await (await server.dial(control)).ask("GET", "/")).toMatchObject({ status: 200 });
  });

  it("does not make a reader that is slow cost more memory than a few windows", async () => {
    const server = await serve();
    let produced = 0;
    const stop = new AbortController();
    const { control } = await dial(server, {
      handler: () => ({
        status: 200,
        body: (async function* () {
          for (; !stop.signal.aborted; produced += 65_536) yield Buffer.alloc(65_536);
        })(),
      }),
    });
    const data = await server.dial(control);
    data.socket.pause();
    data.send(get("/endless"));
    await until(() => produced > 0);
    let before = -1;
    while (before !== produced) {
      before = produced;
      for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(produced).toBeLessThan(64 * 1024 * 1024);
    stop.abort();
  });

  it("with an upgrade is answered as its handler says", async () => {
    const server = await serve();
    const { control } = await dial(server, {
      handler: ({ upgrade }) => ({ status: 403, body: Buffer.from(`no ${upgrade}`) }),
    });
    const data = await server.dial(control);
    const fields = ["Connection: Upgrade", "Upgrade: websocket"];
    expect(await data.ask("GET", "/ws", "", fields)).toMatchObject({ status: 403, body: "no websocket" });
    expect(await data.closed).toBe(1000);
  });
});

describe("a tunnel that is closed here", () => {
  it("takes no new pick-ups, ends what is idle, finishes what is in flight, and says that it goes", async () => {
    const server = await serve();
    const { handler, asked, answer } = slow();
    const { control, tunnel } = await dial(server, { handler });
    const [busy, idle] = [await server.dial(control), await server.dial(control)];
    idle.send(get("/idle"));
    await until(() => asked.length === 1);
    answer("/idle");
    await idle.answer();
    busy.send(get("/busy"));
    await until(() => asked.length === 2);
    const closed = tunnel.close({ reason: "the agent stops" });
    expect(await idle.closed).toBe(1000);
    await expect(server.dial(control)).rejects.toThrow("pickup-failed: draining");
    expect(busy.over).toBe(false);
    answer("/busy");
    const { body, headers } = await busy.answer();
    expect([body, headers.connection]).toEqual(["/busy", "close"]);
    expect(await closed).toMatchObject({ code: "CLOSED", reason: "the agent stops" });
    expect(await busy.closed).toBe(1000);
    expect(await control.closed).toBe(1001);
  });

  it("gives up a pick-up that is under way, and answers what comes on one that has just come", async () => {
    const server = await serve();
    const { handler, asked, answer } = slow();
    const { control, tunnel } = await dial(server, { handler });
    const [busy, fresh] = [await server.dial(control), await server.dial(control)];
    busy.send(get("/busy"));
    await until(() => asked.length === 1);
    server.refuse = () => "hang";
    const { connPath, line } = control.ready();
    control.say(binary(line));
    await server.until(() => server.requests[3]);
    const closed = tunnel.close();
    expect((await control.failure(connPath)).err).toBe("draining");
    expect(await fresh.ask("GET", "/late")).toMatchObject({
      status: 503,
      headers: { connection: "close" },
      body: expect.stringContaining("DRAINING"),
    });
    answer("/busy");
    expect((await busy.answer()).body).toBe("/busy");
    await closed;
    expect(asked).toEqual(["/busy"]);
  });

  it("lets a large answer leave that its reader takes its time for", async () => {
    const server = await serve();
    const body = Buffer.alloc(4 * 1024 * 1024, "x");
    const { control, tunnel } = await dial(server, { handler: () => ({ status: 200, body }) });
    const data = await server.dial(control);
    data.socket.pause();
    data.send(get("/large"));
    await until(() => tunnel.load === 1);
    await until(() => tunnel.load === 0);
    const closed = tunnel.close();
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    data.socket.resume();
    expect((await data.answer()).body).toHaveLength(body.length);
    await closed;
    expect(await control.closed).toBe(1001);
  });

  it("is over after its time, whatever is in flight and whoever does not read", async () => {
    const clock = new ManualClock();
    const server = await serve();
    const { handler, asked, gone } = slow();
    const { control, tunnel } = await dial(server, { clock, handler });
    const data = await server.dial(control);
    data.send(get("/stuck"));
    await until(() => asked.length === 1);
    data.socket.pause();
    const closed = tunnel.close({ drainMs: 30_000 });
    await clock.advance(29_999);
    control.keepAlive();
    expect(gone).toEqual([]);
    await clock.advance(1);
    expect(gone).toEqual(["/stuck"]);
    await clock.advance(5000);
    expect(await closed).toMatchObject({ code: "CLOSED" });
    expect(await control.closed).toBe(1001);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
  });

  it("that is destroyed leaves nothing open", async () => {
    const clock = new ManualClock();
    const server = await serve();
    const { handler, asked, gone } = slow();
    const { control, tunnel } = await dial(server, { clock, handler });
    const data = await server.dial(control);
    data.send(get("/x"));
    await until(() => asked.length === 1);
    server.refuse = () => "hang";
    control.say(binary(control.ready().line));
    await server.until(() => server.requests[2]);
    tunnel.destroy();
    expect(await tunnel.closed).toMatchObject({ code: "DESTROYED" });
    expect(await Promise.all([data.closed, control.closed])).toEqual([1006, 1006]);
    expect(gone).toEqual(["/x"]);
    await until(() => clock.pending === 0);
    expect(control.lines).toEqual([]);
  });
});
