/** A hostile agent that breaks the tunnel's protocol in the middle of an answer. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Problem, type Session } from "@wolfpack/api-contract";
import type { Frame } from "revdial/testing";
import { tunnelPair } from "revdial/testing";
import { createScreen } from "../../src/sessions/screen.ts";
import type { Session as StoredSession } from "../../src/sessions/session-store.ts";
import { startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { eventually, startHost, type TestHost } from "../host.ts";
import { bytesOfFrames, patched, type RawAgent, rawAgent } from "./raw-agent.ts";

const CANARY = "evil-canary";
const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
type Head = Frame & { type: "head" };

const head = (channel: number, more: Partial<Head> = {}): Frame => ({
  type: "head",
  channel,
  end: false,
  status: 200,
  headers: [["x-evil", CANARY]],
  ...more,
});
const data = (channel: number, bytes: Uint8Array, end = true): Frame => ({
  type: "data",
  channel,
  end,
  bytes,
});
const withValue = (value: string) => (channel: number) => {
  const placeholder = "P".repeat(value.length);
  return [
    patched(bytesOfFrames(head(channel, { headers: [["x-evil", placeholder]] })), placeholder, value),
    bytesOfFrames(data(channel, png)),
  ];
};
const withName = (name: string) => (channel: number) => {
  const placeholder = "p".repeat(name.length);
  return [
    patched(bytesOfFrames(head(channel, { headers: [[placeholder, CANARY]] })), placeholder, name),
    bytesOfFrames(data(channel, png)),
  ];
};
/** A status that the encoder does not write. */
const withStatus = (status: number) => (channel: number) => {
  const bytes = bytesOfFrames(head(channel, { status: 0x01ff, headers: [] }));
  bytes.writeUInt16BE(status, bytes.indexOf(Buffer.from([0x01, 0xff])));
  return [bytes, bytesOfFrames(data(channel, png))];
};
const many = (count: number, frame: Frame) => Array.from({ length: count }, () => bytesOfFrames(frame));

/** None of these is an answer; each is followed by what would complete one. */
const attacks: readonly (readonly [name: string, script: RawAgent["script"]])[] = [
  ["a value with CR and LF", withValue(`a\r\nset-cookie: ${CANARY}`)],
  ["a value with LF", withValue("a\nb")],
  ["a value with NUL", withValue("a\0b")],
  ["a value with ESC", withValue("a\u001b[31mb")],
  ["a name with CR and LF", withName("a\r\nset-cookie")],
  ["a name with a colon", withName("a:b")],
  ["a name with a blank", withName("a b")],
  ["a name in upper case", withName("X-EVIL")],
  ["a hop-by-hop field", withName("transfer-encoding")],
  ["a length as a field", withName("content-length")],
  ["status 0", withStatus(0)],
  ["status 99", withStatus(99)],
  ["status 1000", withStatus(1000)],
  ["status 101 to a request", withStatus(101)],
  [
    "33 interim heads",
    (channel) => [
      ...many(33, head(channel, { status: 103 })),
      bytesOfFrames(head(channel), data(channel, png)),
    ],
  ],
  ["ten thousand interim heads", (channel) => many(10_000, head(channel, { status: 100, headers: [] }))],
  ["an interim head that ends", (channel) => [bytesOfFrames(head(channel, { status: 103, end: true }))]],
  [
    "300 fields",
    (channel) => [
      bytesOfFrames(
        head(channel, {
          headers: Array.from({ length: 300 }, (_, index) => [`x-${index}`, CANARY] as const),
        }),
      ),
    ],
  ],
  [
    "a head of 100,000 bytes",
    (channel) => [
      bytesOfFrames(
        head(channel, {
          headers: Array.from({ length: 10 }, (_, index) => [`x-${index}`, "x".repeat(10_000)] as const),
        }),
      ),
    ],
  ],
  [
    "a head of a megabyte",
    (channel) => [
      bytesOfFrames(
        head(channel, {
          headers: Array.from({ length: 100 }, (_, index) => [`x-${index}`, "x".repeat(10_000)] as const),
        }),
      ),
    ],
  ],
  ["two heads", (channel) => [bytesOfFrames(head(channel), head(channel), data(channel, png))]],
  ["a body before its head", (channel) => [bytesOfFrames(data(channel, png))]],
  ["an end before its head", (channel) => [bytesOfFrames({ type: "end", channel, trailers: [] })]],
  [
    "more bytes than the head says",
    (channel) => [bytesOfFrames(head(channel, { length: 4 }), data(channel, png))],
  ],
  [
    "fewer bytes than the head says",
    (channel) => [bytesOfFrames(head(channel, { length: 4000 }), data(channel, png))],
  ],
  [
    "a frame larger than agreed",
    (channel) => [bytesOfFrames(head(channel), data(channel, Buffer.alloc(200_000)))],
  ],
  [
    "more than the window",
    (channel) => [bytesOfFrames(head(channel)), ...many(100, data(channel, Buffer.alloc(60_000), false))],
  ],
  [
    "empty frames without end",
    (channel) => [bytesOfFrames(head(channel)), ...many(10_000, data(channel, new Uint8Array(), false))],
  ],
  [
    "a reset with words for a terminal",
    (channel) => [bytesOfFrames({ type: "reset", channel, code: 5, reason: `\u001b[31m<b>${CANARY}` })],
  ],
  [
    "a reset of no known code",
    (channel) => [bytesOfFrames({ type: "reset", channel, code: 0xffff, reason: CANARY })],
  ],
  [
    "a goaway in the middle",
    (channel) => [
      bytesOfFrames(head(channel), {
        type: "goaway",
        lastChannel: 0,
        code: 2,
        retryAfterMs: 0xffff_ffff,
        reason: CANARY,
      }),
    ],
  ],
  [
    "an answer on a channel that nobody opened",
    (channel) => [bytesOfFrames(head(channel + 200), data(channel + 200, png))],
  ],
  ["an answer on a channel of its own side", () => [bytesOfFrames(head(1), data(1, png))]],
  ["a text message", () => [`{"status":200,"${CANARY}":1}`]],
  ["an empty message", () => [Buffer.alloc(0)]],
  ["half a frame", (channel) => [bytesOfFrames(head(channel)).subarray(0, 12)]],
  ["a frame of an unknown type", () => [Buffer.from([0x3f, 0, 0, 0, 0, 2, 0, 0, 0])]],
  [
    "a frame that says that it is larger",
    (channel) => [
      Buffer.concat([bytesOfFrames(head(channel)), Buffer.from([0x03, 0, 0, 0, 0, 2, 0xff, 0xff, 0xff])]),
    ],
  ],
  ["noise", () => [Buffer.from(Array.from({ length: 500 }, (_, index) => (index * 7919) % 256))]],
];

let plane: TestControlPlane;
let host: TestHost;
let session: Session;
const agents: RawAgent[] = [];

beforeAll(async () => {
  plane = await startControlPlane();
  host = await startHost(plane, { name: "honest" });
  const created = await fetch(`${plane.url}/api/v1/sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json" },
    body: "{}",
  });
  session = (await created.json()) as Session;
});
afterAll(async () => {
  for (const agent of agents) agent.close();
  await Promise.all(agents.map(({ closed }) => closed));
  await host.stop();
  await plane.stop();
});

const look = () =>
  fetch(`${plane.url}/api/v1/sessions/${session.id}/screenshot`, {
    headers: { authorization: `Bearer ${plane.adminKey}` },
  });

/** The sandbox's own tunnel, which goes before its wolf's. */
async function connected(script: RawAgent["script"]): Promise<RawAgent> {
  const url = `${plane.url.replace("http", "ws")}/api/v1/revdial?runnerid=sandbox-${session.id}`;
  const agent = await rawAgent(url, `Bearer ${plane.adminKey}`);
  agents.push(agent);
  const ups = () => plane.lines.filter((line) => line.includes('"sandbox tunnel up"')).length;
  await eventually(ups, (count) => count === agents.length);
  agent.script = script;
  return agent;
}

describe("an agent that breaks the protocol in its answer", () => {
  it("is an agent like any other while it does not", async () => {
    const agent = await connected((channel) => [bytesOfFrames(head(channel), data(channel, png))]);
    const response = await look();
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(response.headers.get("x-evil")).toBeNull();
    agent.close();
    await agent.closed;
  });

  it("could split the head of an answer that is written down as it was heard", () => {
    const [bytes] = withValue(`a\r\nset-cookie: ${CANARY}`)(2);
    expect(bytes?.toString("latin1")).toContain(`x-evil`);
    const written = `HTTP/1.1 200 OK\r\nx-evil: ${bytes?.subarray(bytes.indexOf("a\r\n")).toString("latin1")}\r\n\r\n`;
    expect(written.split("\r\n").map((line) => line.split(":")[0])).toContain("set-cookie");
  });

  it.each(attacks)("leaves its user with a problem and the fleet as it was: %s", async (_name, script) => {
    const agent = await connected(script);
    const response = await look();
    const text = await response.text();
    expect([502, 503, 504]).toContain(response.status);
    expect(Problem.parse(JSON.parse(text)).status).toBe(response.status);
    expect(text + JSON.stringify([...response.headers])).not.toMatch(new RegExp(`${CANARY}|\\u001b`));
    agent.close();
    await agent.closed;
    // The wolf's tunnel serves the same screen at once.
    const again = await eventually(look, ({ status }) => status === 200);
    expect(again.headers.get("content-type")).toBe("image/png");
  });

  it("writes no line of the log that is more than one line or speaks to a terminal", () => {
    const bad = plane.lines.filter((line) => /\p{Cc}/u.test(line.trimEnd()));
    expect(bad).toEqual([]);
  });
});

describe("an agent that lets its user wait", () => {
  const screenOf = async (answer: Parameters<ReturnType<typeof tunnelPair>["left"]["serve"]>[0]) => {
    const { left, right } = tunnelPair();
    left.serve(answer);
    const screen = createScreen({ wolf: () => right, sandbox: () => undefined }, 50);
    const failure = await screen
      .screenshot({ id: session.id, status: "running", wolfId: "wlf" } as StoredSession)
      .then(
        () => undefined,
        (error: { code: string }) => error.code,
      );
    left.destroy();
    right.destroy();
    return failure;
  };

  it("for the head of an answer is given up after the time of a look", async () => {
    expect(await screenOf(() => new Promise(() => undefined))).toBe("wolf-timeout");
  });

  it("for a body that trickles is given up as well", async () => {
    const trickle = async function* () {
      for (;;) {
        yield png;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    expect(await screenOf(() => ({ status: 200, body: trickle() }))).toBe("wolf-timeout");
  });

  it("with interim heads is given up, too", async () => {
    const answer = screenOf(async (_request, reply) => {
      for (let count = 0; count < 20; count += 1) reply.interim(102);
      return new Promise(() => undefined);
    });
    expect(await answer).toBe("wolf-timeout");
  });
});
