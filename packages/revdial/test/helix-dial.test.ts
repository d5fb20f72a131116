/** The client of a control plane of the original protocol, against one that is spoken by hand. */
import { describe, expect, it } from "@jest/globals";
import { dialHelix, type HelixDialOptions } from "../src/helix/dial.ts";
import { pickupUrl } from "../src/helix/dial-data.ts";
import { ManualClock, makeCertificate } from "../src/testing/index.ts";
import { dial, serve, TOKEN } from "./helix-dialled.ts";
import {
  binary,
  type Control,
  closeFrame,
  FIN,
  type HelixServer,
  KEEP_ALIVE,
  opcodes,
  serverFrame,
} from "./helix-server.ts";
import { failure, signal, until } from "./support.ts";

/** Sends the bytes of one conn-ready as `write` has it, and makes one exchange over what is picked up. */
async function exchangeAfter(
  server: HelixServer,
  control: Control,
  write: (line: string) => void,
): Promise<string> {
  const { connPath, line } = control.ready();
  const data = server.awaitPickup(connPath);
  write(line);
  return (await (await data).ask("GET", "/x")).body;
}

describe("the control connection", () => {
  it("asks for no subprotocol and no compression, and shows the token at the API's mount", async () => {
    const server = await serve();
    const { tunnel } = await dial(server);
    const [asked] = server.requests;
    expect(asked?.path).toBe("/api/v1/revdial?runnerid=wolf-1");
    expect(asked?.headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, upgrade: "websocket" });
    for (const name of ["sec-websocket-protocol", "sec-websocket-extensions", "origin"])
      expect(asked?.headers).not.toHaveProperty(name);
    expect(tunnel).toMatchObject({ transport: "helix", peer: { agent: "helix" } });
  });

  it("is a tunnel only once the first line has come", async () => {
    const server = await serve({ greets: false });
    const dialled = dial(server);
    const control = await server.control();
    // It is open, and has been pinged.
    await control.until(() => (control.pings() > 0 ? true : undefined));
    expect(await Promise.race([dialled, "not yet"])).toBe("not yet");
    control.keepAlive();
    server.controls.push(control);
    await dialled;
  });

  it("measures the round trip by WebSocket pings, which it sends every 15 s", async () => {
    const clock = new ManualClock();
    const server = await serve();
    const { tunnel, control } = await dial(server, { clock });
    await until(() => tunnel.rttMs !== undefined);
    expect(tunnel.rttMs).toBe(0);
    for (let beats = 1; beats <= 6; beats += 1) {
      await clock.advance(15_000);
      control.keepAlive();
      await control.until(() => (control.pings() === 1 + beats ? true : undefined));
    }
    expect(tunnel.draining).toBe(false);
  });

  it("is dead after 60 s without a line, though pings are sent and answered", async () => {
    const clock = new ManualClock();
    const server = await serve();
    const { tunnel, control } = await dial(server, { clock });
    await clock.advance(59_000);
    control.say(binary(KEEP_ALIVE));
    // Lines and pings come in order: the answer says that the line was read.
    control.say(serverFrame(FIN | opcodes.ping, "heard"));
    await control.until(() => control.frames.find(({ payload }) => payload.toString() === "heard"));
    await clock.advance(59_999);
    control.say(serverFrame(FIN | opcodes.ping, "again"));
    await control.until(() => control.frames.find(({ payload }) => payload.toString() === "again"));
    expect(tunnel.draining).toBe(false);
    await clock.advance(1);
    expect(await tunnel.closed).toEqual({ code: "TRANSPORT_LOST", reason: "no line of the server for 60 s" });
    expect(await control.closed).toBe(1006);
    expect(clock.pending).toBe(0);
  });

  it.each([
    ["a text frame", serverFrame(FIN | opcodes.text, KEEP_ALIVE), 1003, "a text frame"],
    ["what is no JSON", binary("hello\n"), 1002, "no JSON"],
    ["JSON that is no object", binary("[]\n"), 1002, "no object"],
    ["a command that is no text", binary('{"command":1}\n'), 1002, "no text"],
    ["a blank line", binary("\n"), 1002, "a blank line"],
    ["a line of 5,000 bytes", binary(`{"command":"x","p":"${"x".repeat(4979)}"}\n`), 1009, "4096 bytes"],
    ["4,096 bytes without an end", binary("x".repeat(4096)), 1009, "4096 bytes"],
  ])("is closed for %s, once, with the reason", async (_what, bytes, code, reason) => {
    const server = await serve();
    const { tunnel, control } = await dial(server);
    control.say(bytes, bytes, binary(control.ready().line));
    expect(await tunnel.closed).toEqual({
      code: "TRANSPORT_LOST",
      reason: expect.stringMatching(new RegExp(`^the server sent .*${reason}`)),
    });
    expect(await control.closed).toBe(code);
    expect(server.requests).toHaveLength(1);
    expect(control.lines).toEqual([]);
  });

  it("is closed for what is no frame", async () => {
    const server = await serve();
    const { tunnel, control } = await dial(server);
    control.say(serverFrame(FIN | 0x70 | opcodes.binary, KEEP_ALIVE));
    expect(await tunnel.closed).toMatchObject({
      code: "TRANSPORT_LOST",
      reason: expect.stringMatching(/^the control connection broke: /),
    });
    expect(await control.closed).toBe(1002);
  });

  it("takes a line of 4,096 bytes, and an empty message", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const line = `{"command":"x","p":"${"x".repeat(4096 - 23)}"}\n`;
    expect(line).toHaveLength(4096);
    control.say(binary(""), binary(line));
    expect(await exchangeAfter(server, control, (ready) => control.say(binary(ready)))).toBe("GET /x ");
  });

  it.each([
    [1001, "DRAINING"],
    [4001, "REPLACED"],
    [4003, "REVOKED"],
    [1000, "TRANSPORT_LOST"],
    [1011, "TRANSPORT_LOST"],
  ] as const)("that the server closes with %i ends the tunnel as %s", async (code, expected) => {
    const server = await serve();
    const { tunnel, control } = await dial(server);
    control.say(closeFrame(code));
    expect(await tunnel.closed).toEqual({
      code: expected,
      reason: `the control connection was closed with code ${code}`,
    });
    expect(await control.closed).toBe(code);
  });

  it("that is cut without a close frame ends the tunnel, and every data connection with it", async () => {
    const server = await serve();
    const held = signal<AbortSignal>();
    const { tunnel, control } = await dial(server, {
      handler: ({ signal: gone }) => {
        held.give(gone);
        return new Promise(() => undefined);
      },
    });
    const data = await server.dial(control);
    data.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    const gone = await held.seen;
    control.socket.destroy();
    expect(await tunnel.closed).toMatchObject({ code: "TRANSPORT_LOST" });
    expect(await data.closed).toBe(1006);
    expect(gone.aborted).toBe(true);
  });

  it("ends when the server does not read what it is told", async () => {
    const server = await serve();
    const { tunnel, control } = await dial(server);
    control.socket.pause();
    const line = binary(`{"command":"conn-ready","connPath":"/elsewhere?${"x".repeat(3000)}"}\n`);
    let over = false;
    void tunnel.closed.then(() => {
      over = true;
    });
    while (!over) {
      control.say(...Array.from({ length: 64 }, () => line));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await tunnel.closed).toMatchObject({ reason: "the server does not read what it is told" });
  });
});

describe("a dial", () => {
  it.each([
    [401, "missing token"],
    [403, "forbidden"],
    [400, "runnerid is required"],
    [503, "Authentication service temporarily unavailable"],
  ])("that is refused with %i rejects with status and reason", async (status, body) => {
    const server = await serve();
    server.refuse = () => ({ status, body, headers: { "retry-after": "7" } });
    expect(await failure(dial(server))).toMatchObject({
      code: "DIAL_REFUSED",
      status,
      detail: body,
      retryAfterMs: 7000,
    });
  });

  it("to a server that says nothing after the upgrade is given up in time, and leaves nothing", async () => {
    const clock = new ManualClock();
    const server = await serve({ greets: false });
    const dialled = failure(dial(server, { clock }));
    const control = await server.control();
    await control.until(() => (control.pings() > 0 ? true : undefined));
    await clock.advance(10_000);
    expect((await dialled).code).toMatch(/^(DIAL|HELLO)_TIMEOUT$/);
    expect(await control.closed).toBe(1006);
    expect(clock.pending).toBe(0);
  });

  it("to a server that never answers the upgrade is given up in time", async () => {
    const clock = new ManualClock();
    const server = await serve();
    server.refuse = () => "hang";
    const dialled = failure(dial(server, { clock }));
    await server.until(() => server.requests[0]);
    await clock.advance(10_000);
    expect(await dialled).toMatchObject({ code: "DIAL_TIMEOUT" });
  });

  it("rejects when the connection ends, or bad words come, before the first line", async () => {
    const server = await serve({ greets: false });
    for (const bytes of [closeFrame(1001), closeFrame(4001), binary("no\n")]) {
      const dialled = failure(dial(server));
      (await server.control()).say(bytes);
      expect(await dialled).toMatchObject({ code: "TRANSPORT_LOST" });
    }
  });

  it("is cancelled by its signal, also after the upgrade", async () => {
    const server = await serve({ greets: false });
    const stop = new AbortController();
    const dialled = failure(dial(server, { signal: stop.signal }));
    const control = await server.control();
    stop.abort();
    expect(await dialled).toMatchObject({ code: "CANCELLED" });
    expect(await control.closed).toBe(1006);
  });

  it("to nobody fails as the network says", async () => {
    const server = await serve();
    await server.stop();
    expect(await failure(dial(server))).toMatchObject({ code: "DIAL_FAILED" });
  });

  it.each<[string, Partial<HelixDialOptions>]>([
    ["ws://x/api/v1/revdial", { service: "Not A Service" }],
    ["ws://x/api/v1/revdial", { connectionsMax: 0 }],
    ["ws://x/api/v1/revdial", { readTimeoutMs: 1 }],
    ["ws://x/api/v1/revdial", { pingMs: Number.NaN }],
    ["ws://x/api/v1/revdial", { unusedTimeoutMs: 9 }],
    ["ws://x/api/v1/revdial", { checkTarget: 1 as never }],
    ["ws://x/api/v1/revdial", { ca: "no certificate" }],
    ["ws://x/api/v1/revdial", { headers: { "a b": "c" } }],
    ["http://x/api/v1/revdial", {}],
    ["ws://x/revdial", {}],
    ["ws://x/", {}],
    ["nonsense", {}],
  ])("of %s with %j is a mistake of the program", async (url, more) => {
    const dialled = dialHelix(url, { service: "wolf", ...more });
    expect((await failure(dialled)).code).toMatch(/^(ARGUMENT|HEAD_INVALID)$/);
  });
});

describe("a certificate", () => {
  const soon = new Date(Date.now() + 3_600_000);
  const tls = makeCertificate({ from: new Date(Date.now() - 3_600_000), to: soon, ip: "127.0.0.1" });

  it("that nobody has signed is refused, without a byte of the token", async () => {
    const server = await serve({ tls });
    expect(await failure(dial(server))).toMatchObject({ code: "DIAL_FAILED" });
    expect(server.requests).toEqual([]);
  });

  it.each<[string, Partial<HelixDialOptions>]>([
    ["is trusted by name", { ca: tls.cert }],
    ["is not looked at", { insecure: true }],
  ])("that %s carries control and data", async (_how, trust) => {
    const server = await serve({ tls });
    const { control } = await dial(server, trust);
    const data = await server.dial(control);
    expect(await data.ask("GET", "/y")).toMatchObject({ status: 200, body: "GET /y " });
  });
});

describe("what the control connection may look like", () => {
  const ways: [string, (control: Control, line: string) => void][] = [
    ["a line in one message", (control, line) => control.say(binary(line))],
    ["two lines in one message", (control, line) => control.say(binary(KEEP_ALIVE + line))],
    [
      "one line over two messages",
      (control, line) => control.say(binary(line.slice(0, 40)), binary(line.slice(40))),
    ],
    [
      "a message in fragments",
      (control, line) =>
        control.say(
          serverFrame(opcodes.binary, line.slice(0, 10)),
          serverFrame(opcodes.continuation, line.slice(10, 60)),
          serverFrame(FIN | opcodes.ping, "between"),
          serverFrame(FIN | opcodes.continuation, line.slice(60)),
        ),
    ],
    [
      "unknown commands and fields",
      (control, line) =>
        control.say(
          binary('{"command":"dance","connPath":"/revdial?revdial.dialer=1","more":[1]}\n{}\n'),
          binary(line.replace("{", '{"later":{"a":1},')),
        ),
    ],
    ["spaces and no escapes", (control, line) => control.say(binary(` ${line.replaceAll("\\u0026", "&")}`))],
  ];

  it.each(ways)("%s", async (_what, write) => {
    const server = await serve();
    const { control } = await dial(server);
    expect(await exchangeAfter(server, control, (line) => write(control, line))).toBe("GET /x ");
  });

  it("one frame split over TCP segments, at every byte", async () => {
    const server = await serve();
    const { control } = await dial(server);
    control.socket.setNoDelay(true);
    // Nothing else is to be said in between.
    await control.until(() => (control.pings() > 0 ? true : undefined));
    const written = exchangeAfter(server, control, (line) => {
      const bytes = binary(line);
      void (async () => {
        for (const byte of bytes) {
          control.socket.write(Buffer.from([byte]));
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
    });
    expect(await written).toBe("GET /x ");
  });

  it("a place without revdial.req, as servers of before name it", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const data = await server.dial(control, { plain: true });
    expect(await data.ask("GET", "/z")).toMatchObject({ body: "GET /z " });
    expect(data.asked.path).toBe(`/api/v1/revdial?revdial.dialer=${control.dialer}`);
  });

  it("a burst of 32 places in one write, each of which is picked up once", async () => {
    const server = await serve();
    const { control } = await dial(server);
    const places = Array.from({ length: 32 }, () => control.ready());
    const datas = places.map(({ connPath }) => server.awaitPickup(connPath));
    control.say(...places.map(({ line }) => binary(line)));
    const answers = await Promise.all(
      datas.map(async (data, index) => (await (await data).ask("POST", `/${index}`, String(index))).body),
    );
    expect(answers).toEqual(places.map((_, index) => `POST /${index} ${index}`));
    expect(control.lines).toEqual([]);
    expect(server.requests).toHaveLength(33);
  });
});

describe("a place", () => {
  const control = new URL("wss://cp.test/helix/api/v1/revdial?runnerid=wolf-1");
  const at = (connPath: string | undefined) => pickupUrl(connPath, control)?.href;

  it("is at the API's mount of the server of the control connection, by either name", () => {
    const query = "?revdial.dialer=00ff&revdial.req=01";
    for (const path of ["/revdial", "/api/v1/revdial"])
      expect(at(`${path}${query}`)).toBe(`wss://cp.test/helix/api/v1/revdial${query}`);
  });

  it.each([
    undefined,
    "",
    "/revdial",
    "/revdial?",
    "/revdial?runnerid=wolf-2",
    "/revdial?revdial.dialer=",
    "revdial?revdial.dialer=1",
    "/revdial/?revdial.dialer=1",
    "/revdial2?revdial.dialer=1",
    "/x/revdial?revdial.dialer=1",
    "/api/v1/api/v1/revdial?revdial.dialer=1",
    "/helix/api/v1/revdial?revdial.dialer=1",
    "/api/v2/revdial?revdial.dialer=1",
    "//evil.test/revdial?revdial.dialer=1",
    "https://evil.test/revdial?revdial.dialer=1",
    "wss://cp.test/revdial?revdial.dialer=1",
    "@evil.test/revdial?revdial.dialer=1",
    "/revdial@evil.test?revdial.dialer=1",
    "/../revdial?revdial.dialer=1",
    "/revdial?revdial.dialer=1#x",
    "/revdial?revdial.dialer=1 HTTP/1.1",
    "/revdial?revdial.dialer=1\r\nHost: evil.test",
    "/Revdial?revdial.dialer=1",
    "/revdial?revdial.dialer=1\u00e9",
  ])("is not %j", (connPath) => {
    expect(at(connPath)).toBeUndefined();
  });

  it("elsewhere is refused with its own words, and nothing is dialled", async () => {
    const failures: string[] = [];
    const server = await serve();
    const { control: held } = await dial(server, { onPickupFailed: (reason) => failures.push(reason) });
    const connPath = `http://127.0.0.1:1/revdial?revdial.dialer=${held.dialer}&a=<1>`;
    held.say(binary(`${JSON.stringify({ command: "conn-ready", connPath })}\n`));
    expect(await held.failure(connPath)).toEqual({
      command: "pickup-failed",
      connPath,
      err: "a pick-up is at /revdial or /api/v1/revdial of this server",
    });
    expect(failures).toEqual(["a pick-up is at /revdial or /api/v1/revdial of this server"]);
    expect(server.requests).toHaveLength(1);
  });

  it("of a server behind a path is behind that path", async () => {
    const server = await serve({ prefix: "/helix" });
    const { control: held } = await dial(server, {}, "/helix");
    const data = await server.dial(held);
    expect(data.asked.path).toMatch(/^\/helix\/api\/v1\/revdial\?revdial\.dialer=/);
    expect(data.asked.headers.authorization).toBe(`Bearer ${TOKEN}`);
  });
});
