/** The scripted peers of Helix behave as the originals were seen to: what is proven against them is proven against those. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { ManualClock } from "revdial/testing";
import { encodeFrame, type Frame, FrameReader, opcodes } from "../src/helix/frames.ts";
import { GoClient, type GoClientOptions } from "../src/helix/go-client.ts";
import { goFragments } from "../src/helix/go-data.ts";
import { type GoGeneration, goGenerations } from "../src/helix/go-habits.ts";
import { GoServer, type GoServerOptions, type HelixControl, PickupFailed } from "../src/helix/go-server.ts";

const TOKEN = "runner-token-of-the-test";
const KEEP_ALIVE = '{"command":"keep-alive"}\n';
const stops: (() => unknown)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** Answers with what it was asked for. */
const echo = (request: IncomingMessage, response: ServerResponse) => void response.end(request.url);

interface Pair {
  server: GoServer;
  client: GoClient;
  control: HelixControl;
  clock: ManualClock;
}

async function pair(
  generation: GoGeneration,
  {
    server: serverOptions = {},
    client: clientOptions = {},
  }: { server?: Partial<GoServerOptions>; client?: Partial<GoClientOptions> } = {},
): Promise<Pair> {
  const clock = new ManualClock();
  const server = await GoServer.listen({ runnerToken: TOKEN, clock, mounts: "both", ...serverOptions });
  stops.push(() => server.stop());
  const port = await listening(createServer(echo));
  const client = await GoClient.connect({
    url: server.url,
    key: "wolf-a",
    token: TOKEN,
    target: { host: "127.0.0.1", port },
    generation,
    clock,
    ...clientOptions,
  });
  stops.push(() => client.stop());
  await client.until(({ lines }) => lines.length === 1);
  return { server, client, control: server.control("wolf-a") as HelixControl, clock };
}

const binary = (text: string) => encodeFrame({ opcode: opcodes.binary, payload: Buffer.from(text) });
const line = (bytes: number) => `{"command":"x","pad":"${"x".repeat(bytes - 25)}"}\n`;

describe("the scripted control plane", () => {
  it("plays the original's trace byte by byte", async () => {
    let ids = 1;
    const { server, clock } = await pair("head", {
      server: { randomBytes: (size) => Buffer.alloc(size, ids++) },
    });
    await clock.advance(1938);
    await server.request("wolf-a", { path: "/a" });
    await clock.advance(20_000);
    const ready = `{"command":"conn-ready","connPath":"/revdial?revdial.dialer=${"01".repeat(16)}\\u0026revdial.req=${"02".repeat(16)}"}\n`;
    expect(server.sent.map(({ atMs, bytes }) => [atMs, bytes.toString("latin1")])).toEqual([
      [0, `\x82\x19${KEEP_ALIVE}`],
      [1938, `\x82\x7e\x00\x91${ready}`],
      [1938, `\x82\x19${KEEP_ALIVE}`],
      // The client's pings come at the same time, and are answered.
      [15_000, "\x89\x00"],
      [15_000, "\x8a\x00"],
      [18_000, `\x82\x19${KEEP_ALIVE}`],
    ]);
  });

  const upgrade = (path: string, ...fields: string[]) =>
    [`GET ${path} HTTP/1.1`, "Host: a", "Connection: Upgrade", "Upgrade: websocket", ...fields].join("\r\n");
  const webSocket = [
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}`,
  ];
  const runner = `Authorization: Bearer ${TOKEN}`;
  const nosniff = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff";
  it.each<[string, string, string]>([
    [
      "no token",
      upgrade("/api/v1/revdial?runnerid=wolf-a"),
      `401 Unauthorized\r\n${nosniff}\r\nContent-Length: 13\r\n\r\nUnauthorized\n`,
    ],
    [
      "no key",
      upgrade("/api/v1/revdial", runner),
      `400 Bad Request\r\n${nosniff}\r\nContent-Length: 21\r\n\r\nrunnerid is required\n`,
    ],
    [
      "a user's key for a wolf",
      upgrade("/api/v1/revdial?runnerid=wolf-a", "Authorization: Bearer hl-ann"),
      "invalid runner ID format\n",
    ],
    [
      "another user's session",
      upgrade("/api/v1/revdial?runnerid=sandbox-ses_1", "Authorization: Bearer hl-ben"),
      "unauthorized: session not owned by user\n",
    ],
    [
      "an unknown dialer",
      upgrade("/api/v1/revdial?revdial.dialer=00", runner, ...webSocket),
      '500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 78\r\n\r\n{"status_code":500,"code":"INTERNAL_SERVER_ERROR","message":"unknown dialer"}\n',
    ],
    [
      "no handshake",
      upgrade("/api/v1/revdial?runnerid=wolf-a", runner),
      `400 Bad Request\r\n${nosniff}\r\nSec-WebSocket-Version: 13\r\nContent-Length: 12\r\n\r\nBad Request\n`,
    ],
    ["the path of the pages", upgrade("/revdial?revdial.dialer=00", runner, ...webSocket), "502 Bad Gateway"],
    [
      "another method",
      upgrade("/api/v1/revdial?runnerid=wolf-a", runner).replace("GET", "POST"),
      "405 Method Not Allowed",
    ],
  ])("refuses %s as the original does", async (_what, head, expected) => {
    const apiKeys = { "hl-ann": "ann", "hl-ben": "ben" };
    const { server } = await pair("head", { server: { mounts: "api", apiKeys, sessions: { ses_1: "ann" } } });
    const { connect } = await import("node:net");
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname).setEncoding("latin1");
    socket.write(`${head}\r\n\r\n`);
    let answer = "";
    for await (const text of socket) answer += text;
    expect(answer).toContain(expected);
  });
});

describe.each(goGenerations)("the scripted client, %s,", (generation) => {
  const old = generation !== "head";
  type Outcome = "understands" | "loses" | "closes for";
  const rows: [string, Outcome, Outcome, (control: HelixControl, client: GoClient) => unknown][] = [
    [
      "two lines in one message",
      "understands",
      "understands",
      (control) => control.sendText(line(40).repeat(2)),
    ],
    [
      "a line over two messages",
      "understands",
      "understands",
      (control) => [control.sendText(line(40).slice(0, 20)), control.sendText(line(40).slice(20))],
    ],
    ["an unknown command", "understands", "understands", (control) => control.sendText(line(40))],
    ["a line of 3000 bytes", "understands", "understands", (control) => control.sendText(line(3000))],
    [
      "a fragmented message",
      "loses",
      "understands",
      (control) => {
        const [first, last] = [line(40).slice(0, 20), line(40).slice(20)];
        const frames = [
          encodeFrame({ opcode: opcodes.binary, payload: Buffer.from(first), fin: false }),
          encodeFrame({ opcode: opcodes.continuation, payload: Buffer.from(last) }),
        ];
        control.send(Buffer.concat(frames));
      },
    ],
    [
      "a frame in two segments",
      "loses",
      "understands",
      async (control, client) => {
        const frame = binary(line(40));
        control.send(frame.subarray(0, 20));
        await client.until(({ straddled }) => straddled === 1);
        control.send(frame.subarray(20));
      },
    ],
    ["a line of 5000 bytes", "loses", "closes for", (control) => control.sendText(line(5000))],
    ["an empty message", "closes for", "understands", (control) => control.sendText("")],
    [
      "a text message",
      "closes for",
      "closes for",
      (control) => control.sendFrame(opcodes.text, Buffer.from(line(40))),
    ],
    ["a line that is no JSON", "closes for", "closes for", (control) => control.sendText("{\n")],
    ["a blank line", "closes for", "closes for", (control) => control.sendText("\n")],
  ];

  it.each(rows.map(([what, before, now, send]) => [old ? before : now, what, send] as const))(
    "%s %s",
    async (outcome, _what, send) => {
      const { client, control } = await pair(generation);
      await send(control, client);
      if (outcome === "closes for") {
        await client.until(({ isConnected }) => !isConnected);
        return expect(client.bytesLost).toBe(0);
      }
      control.sendText(KEEP_ALIVE);
      if (outcome === "understands") {
        await client.until(({ lines }) => lines.at(-1) === KEEP_ALIVE.trim() && lines.length > 1);
        return expect([client.bytesLost, client.ends]).toEqual([0, []]);
      }
      // It goes on with what follows as if that were the rest.
      await client.until(({ isConnected }) => !isConnected);
      expect(client.bytesLost).toBeGreaterThan(0);
    },
  );

  it("answers a ping with the same payload", async () => {
    const { server, control } = await pair(generation);
    control.sendFrame(opcodes.ping, Buffer.from("payload"));
    await server.until(() => control.heard.length === 1);
    expect(control.heard).toMatchObject([
      { opcode: opcodes.pong, payload: Buffer.from("payload"), masked: true },
    ]);
  });

  it("echoes a close frame, and connects again after its delay", async () => {
    const { client, control, clock, server } = await pair(generation);
    const delayMs = old ? 5000 : 1000;
    control.sendFrame(opcodes.close, Buffer.from([0x03, 0xe9]));
    await client.until(({ isConnected }) => !isConnected);
    await control.closed;
    expect([client.closeCodes, control.heard.at(-1)]).toMatchObject([[1001], { opcode: opcodes.close }]);
    await clock.advance(delayMs - 1);
    expect(server.requests).toHaveLength(1);
    await clock.advance(1);
    await client.until(({ controls }) => controls === 2);
  });

  it("opens control with the original's fields, and a pick-up with the same token", async () => {
    const { server } = await pair(generation);
    expect((await server.request("wolf-a", { path: "/hello" })).body.toString()).toBe("/hello");
    const fields = [
      "host",
      "user-agent",
      "authorization",
      "connection",
      "sec-websocket-key",
      "sec-websocket-version",
      "upgrade",
    ];
    expect(server.requests.map(({ fields: sent }) => [...sent.keys()])).toEqual([fields, fields]);
    const path = old ? "/revdial?revdial.dialer=" : "/api/v1/revdial?revdial.dialer=";
    expect(server.requests[0]?.line).toBe("GET /api/v1/revdial?runnerid=wolf-a HTTP/1.1");
    expect(server.requests[1]?.line.slice(4)).toMatch(path);
  });

  it(`${old ? "takes" : "gets lost on"} a connPath with the API's prefix`, async () => {
    const { client, control, server } = await pair(generation);
    control.sendLine({
      command: "conn-ready",
      connPath: `/api/v1/revdial?revdial.dialer=${control.dialerId}`,
    });
    await client.until(({ pickups, pickupsUnderWay }) => pickups === 1 && pickupsUnderWay === 0);
    expect(client.refusals.map(({ status }) => status)).toEqual(old ? [] : [502]);
    expect(server.requests[1]?.line).toContain(old ? " /api/v1/revdial?" : " /api/v1/api/v1/revdial?");
  });

  it("says that a pick-up failed, with connPath as it came and without the refusal's reason", async () => {
    const { client, control, server } = await pair(generation);
    const connPath = `/revdial?revdial.dialer=${"0".repeat(32)}&revdial.req=1`;
    control.sendLine({ command: "conn-ready", connPath });
    await server.until(() => control.lines.length === 1);
    expect(control.lines[0]).toBe(
      `{"command":"pickup-failed","connPath":"${connPath.replace("&", "\\u0026")}","err":"websocket: bad handshake"}\n`,
    );
    expect(client.refusals[0]?.body).toContain("unknown dialer");
    // Whose dial it was, the id says.
    control.sendFrame = () => undefined;
    const [given, other] = [server.dial("wolf-a"), server.dial("wolf-a")];
    const { requestId } = control.waiting[1] ?? {};
    client.sendMessage(
      `{"command":"pickup-failed","connPath":"/revdial?revdial.req=${requestId}","err":"no"}\n`,
    );
    await expect(other).rejects.toEqual(new PickupFailed("no"));
    client.stop();
    await expect(given).rejects.toThrow("no connection");
  });

  it("cannot carry data where only the API is mounted, if it dials connPath as it is", async () => {
    const { server, client } = await pair(generation, { server: { mounts: "api" } });
    const asked = server.request("wolf-a", { path: "/a" });
    if (!old) return expect((await asked).status).toBe(200);
    await expect(asked).rejects.toThrow("websocket: bad handshake");
    expect([client.isConnected, client.pickupsOpened]).toEqual([true, 0]);
  });

  const pings = { seed: [], "last-wolf": [30_000, 60_000], head: [15_000, 30_000, 45_000] }[generation];
  it(`pings at ${pings.join(", ") || "no time"}, and ${old ? "stays" : "closes after 60 s"} without a line`, async () => {
    const { client, control, clock, server } = await pair(generation, {
      server: { keepAliveMs: 1_000_000, pingMs: 5000 },
    });
    const isPing = ({ opcode }: Frame) => opcode === opcodes.ping;
    await clock.advance(59_999);
    expect(client.isConnected).toBe(true);
    await clock.advance(1);
    expect(client.ends).toEqual(old ? [] : ["i/o timeout"]);
    await server.until(() => control.heard.filter(isPing).length === pings.length);
  });
});

describe("the clients that lose bytes", () => {
  const burst = async (generation: GoGeneration, dials: number, requestIds: boolean) => {
    const { client, server } = await pair(generation, { server: { requestIds } });
    client.stall();
    const asked = Array.from({ length: dials }, (_, at) =>
      server.request("wolf-a", { path: `/${at}` }).then(
        ({ body }) => body.toString() === `/${at}`,
        () => false,
      ),
    );
    // A line and its keep-alive, with the heads of their frames.
    const bytesEach = (requestIds ? 149 : 97) + 27;
    await client.until(({ bytesQueued }) => bytesQueued === dials * bytesEach);
    client.resume();
    const settled = Promise.all(asked);
    await Promise.race([settled, client.until(({ crashed, isConnected }) => crashed || !isConnected)]);
    return { client, server, settled };
  };

  it.each<[number, boolean]>([
    [16, true],
    [32, false],
  ])("survive %i dials at once, with ids: %s", async (dials, requestIds) => {
    const { client, settled } = await burst("seed", dials, requestIds);
    expect((await settled).every(Boolean)).toBe(true);
    expect([client.bytesLost, client.crashed]).toEqual([0, false]);
  });

  it.each(["seed", "last-wolf"] as const)(
    "%s dies of 32 lines with ids and keep-alives",
    async (generation) => {
      const { client, server, settled } = await burst(generation, 32, true);
      expect([client.crashed, client.bytesLost > 0]).toEqual([true, true]);
      expect(client.ends[0]).toMatch(/^a bad line: .*"\/revdial.*\{"command":"/);
      await server.stop();
      expect((await settled).filter(Boolean).length).toBeLessThan(32);
    },
  );

  it("are survived by the one that does not", async () => {
    const { client, settled } = await burst("head", 32, true);
    expect((await settled).every(Boolean)).toBe(true);
    expect(client.bytesLost).toBe(0);
  });
});

describe("a data connection of the scripted client", () => {
  it("sends 32 KiB in frames of 4096 bytes, all but the last unfinished", () => {
    const frames = new FrameReader().push(Buffer.concat(goFragments(Buffer.alloc(32 * 1024, 7))));
    expect(frames.map(({ fin, opcode, payload }) => [fin, opcode, payload.length])).toEqual([
      [false, opcodes.binary, 4096],
      ...Array(6).fill([false, opcodes.continuation, 4096]),
      [true, opcodes.continuation, 4096],
    ]);
    expect(goFragments(Buffer.alloc(4096))).toHaveLength(1);
    expect(goFragments(Buffer.alloc(4097))).toHaveLength(2);
  });

  it("carries 3 MiB both ways", async () => {
    const body = Buffer.alloc(3 * 1024 * 1024, "0123456789abcdef");
    const port = await listening(createServer((request, response) => void request.pipe(response)));
    const { server } = await pair("head", { client: { target: { host: "127.0.0.1", port } } });
    const { body: back } = await server.request("wolf-a", { method: "POST", path: "/", body });
    expect(back.equals(body)).toBe(true);
  });

  it("ends without a close frame when the target ends", async () => {
    const port = await listening(createServer((request) => request.socket.end("bye")));
    const { server, client } = await pair("head", { client: { target: { host: "127.0.0.1", port } } });
    const data = await server.dial("wolf-a");
    data.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = "";
    for await (const bytes of data) text += bytes;
    expect(text).toBe("bye");
    expect(data.frames.map(({ opcode }) => opcode)).toEqual([opcodes.binary]);
    await client.until(({ dataConnections }) => dataConnections === 0);
  });

  it("ends at once when its target cannot be dialled, and nobody is told why", async () => {
    const { server, control } = await pair("head", { client: { target: { path: "/nonexistent.sock" } } });
    const data = await server.dial("wolf-a");
    await once(data.resume(), "close");
    expect(control.lines).toEqual([]);
  });

  it("ends for a text message", async () => {
    const { server, client } = await pair("seed");
    const data = await server.dial("wolf-a");
    data.sendRaw(encodeFrame({ opcode: opcodes.text, payload: Buffer.from("x") }));
    await once(data.resume(), "close");
    await client.until(({ dataConnections }) => dataConnections === 0);
  });
});

describe("control without a WebSocket", () => {
  it("carries lines, and data over WebSockets", async () => {
    const { server, client } = await pair("head", { client: { hijack: true } });
    expect(server.requests[0]?.fields.has("upgrade")).toBe(false);
    expect((await server.request("wolf-a", { path: "/x" })).body.toString()).toBe("/x");
    expect(client.heard).toEqual([]);
  });
});
