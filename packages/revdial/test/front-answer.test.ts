/** What a client hears of an answer: heads that precede it, trailers, and an end. */
import { ServerResponse } from "node:http";
import type { Server, Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Chain } from "./probes/chain.ts";
import { client, start } from "./raw-chain.ts";
import { get, ok, rawOrigin } from "./raw-http.ts";

/** An origin that says this to every request. */
async function startSaying(said: string | ((socket: Socket, head: string) => void)): Promise<Chain<Server>> {
  const answer = typeof said === "string" ? (socket: Socket) => void socket.write(said, "latin1") : said;
  return start(rawOrigin(answer));
}

const interimHeads: [string, number, string[]][] = [
  ["a list in one field", 103, ["Link: </a>; rel=preload, </b>; rel=preload"]],
  ["a quoted list of relations", 103, ['Link: </a>; rel="preload stylesheet"; title="a, b"']],
  ["a relation of no known name", 103, ["Link: <https://a.example/x>"]],
  ["fields repeated", 103, ["Link: </a>; rel=preload", "Link: </b>; rel=preload", "X-A: 1", "X-A: 2"]],
  ["no field at all", 103, []],
  ["text that is not ASCII", 103, ["X-A: caf\xe9"]],
  ["another status", 102, []],
  ["a status that nobody knows", 199, ["X-A: 1"]],
];

describe("a client", () => {
  it("hears every trailer, repeated ones too", async () => {
    const trailers = "Grpc-Status: 13\r\nX-R: 1\r\nGrpc-Message: broken\r\nX-R: 2\r\n";
    await startSaying(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`);
    const heard = await client(get("/", "Connection: close")).rest();
    expect(heard.slice(heard.indexOf("\r\n0\r\n") + 5).split("\r\n")).toEqual([
      "grpc-status: 13",
      "x-r: 1",
      "x-r: 2",
      "grpc-message: broken",
      "",
      "",
    ]);
  });

  const { writeInformation } = ServerResponse.prototype;
  afterEach(() => void Object.assign(ServerResponse.prototype, { writeInformation }));

  describe.each([
    ["a Node that has a way to say such heads", true],
    ["a Node that has none, before 24.18", false],
  ])("of %s", (_node, has) => {
    beforeEach(() => {
      if (!has) Object.assign(ServerResponse.prototype, { writeInformation: undefined });
    });

    it.each(interimHeads)(
      "hears a head that precedes the answer as it is: %s (%i)",
      async (_what, status, fields) => {
        const lines = fields.map((field) => `${field}\r\n`).join("");
        await startSaying(`HTTP/1.1 ${status} Odd\r\n${lines}\r\n${ok()}`);
        const heard = await client(get()).until(/ok$/);
        const [interim = "", answer] = heard.split("\r\n\r\n");
        const [first, ...rest] = interim.split("\r\n");
        expect(first).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
        const lower = (text: string) => text.replace(/^[^:]+/, (name) => name.toLowerCase());
        expect(rest.sort()).toEqual(fields.map(lower).sort());
        expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      },
    );
  });

  it("of HTTP/1.0 hears the answer only", async () => {
    await startSaying(
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>; rel=preload\r\n\r\n${ok()}`,
    );
    const heard = await client("GET / HTTP/1.0\r\nHost: a\r\n\r\n").rest();
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    expect(heard.match(/HTTP\/1/g)).toHaveLength(1);
  });
});

describe("an answer that comes before the upload has ended", () => {
  const UPLOAD_BYTES = 5_000_000;
  const upload = (...fields: string[]) =>
    `POST / HTTP/1.1\r\n${["Host: a", `Content-Length: ${UPLOAD_BYTES}`, ...fields].join("\r\n")}\r\n\r\nstart`;
  const early = (socket: Socket, head: string) =>
    void socket.write(
      head.startsWith("POST") ? "HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nlong" : ok("second"),
    );

  it("lets the client send the rest, and ask again on the same connection", async () => {
    const { idle } = await startSaying(early);
    const asking = client(upload());
    expect(await asking.until(/long$/)).toMatch(/^HTTP\/1\.1 413 /);
    asking.say("x".repeat(UPLOAD_BYTES - 5));
    asking.say(get("/", "Connection: close"));
    expect(await asking.rest()).toMatch(/long.*HTTP\/1\.1 200 .*second$/s);
    await idle();
  });

  it("lets a client that had to wait for room do so too", async () => {
    const { idle } = await startSaying((socket, head) => {
      // Reads nothing until the way to it is full.
      socket.pause();
      setImmediate(() => early(socket, head));
    });
    const asking = client(upload(), "x".repeat(UPLOAD_BYTES - 5), get("/", "Connection: close"));
    expect(await asking.rest()).toMatch(/^HTTP\/1\.1 413 .*long.*HTTP\/1\.1 200 /s);
    await idle();
  });

  it("cuts a client that does not stop sending what nobody wants", async () => {
    const { idle } = await startSaying(early);
    const asking = client(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${10 ** 12}\r\n\r\nstart`);
    await asking.until(/long$/);
    const chunk = Buffer.alloc(1024 * 1024);
    const send = () => {
      while (!asking.socket.destroyed && asking.socket.write(chunk));
    };
    asking.socket.on("drain", send);
    send();
    await asking.closed;
    await idle();
  });

  it("ends the connection of a client that waited for 100-continue", async () => {
    await startSaying(early);
    expect(await client(upload("Expect: 100-continue")).rest()).toMatch(/connection: close.*long$/is);
  });

  it("says that a body is broken where the tunnel ends meanwhile", async () => {
    const { tunnel } = await startSaying(() => undefined);
    const asking = client(upload());
    asking.say("x".repeat(100));
    tunnel.destroy();
    expect(await asking.until(/\n$/)).toMatch(/^HTTP\/1\.1 50[23] /);
    asking.say("x".repeat(UPLOAD_BYTES - 105));
    asking.say(get());
    expect(await asking.until(/HTTP.*HTTP.*\r\n\r\n/s)).toMatch(/HTTP\/1\.1 503 /);
  });
});
