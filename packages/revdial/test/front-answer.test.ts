/** What a client hears of an answer: heads that precede it, trailers, and an end. */
import type { Server, Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type Chain, chain } from "./probes/chain.ts";
import { get, ok, RawClient, rawOrigin } from "./raw-http.ts";

let running: Chain<Server> | undefined;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await running?.stop();
  running = undefined;
});

/** An origin that says this to every request. */
async function start(said: string | ((socket: Socket, head: string) => void)): Promise<Chain<Server>> {
  const answer = typeof said === "string" ? (socket: Socket) => void socket.write(said, "latin1") : said;
  running = await chain(rawOrigin(answer));
  return running;
}

function client(...said: string[]): RawClient {
  const made = new RawClient((running as Chain<Server>).port, ...said);
  clients.push(made);
  return made;
}

describe("a client", () => {
  it("hears every trailer, repeated ones too", async () => {
    const trailers = "Grpc-Status: 13\r\nX-R: 1\r\nGrpc-Message: broken\r\nX-R: 2\r\n";
    await start(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`);
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

  it.each([
    ["a list in one field", 103, ["Link: </a>; rel=preload, </b>; rel=preload"]],
    ["a quoted list of relations", 103, ['Link: </a>; rel="preload stylesheet"; title="a, b"']],
    ["a relation of no known name", 103, ["Link: <https://a.example/x>"]],
    ["fields repeated", 103, ["Link: </a>; rel=preload", "Link: </b>; rel=preload", "X-A: 1", "X-A: 2"]],
    ["no field at all", 103, []],
    ["text that is not ASCII", 103, ["X-A: caf\xe9"]],
    ["another status", 102, []],
    ["a status that nobody knows", 199, ["X-A: 1"]],
  ])("hears a head that precedes the answer as it is: %s (%i)", async (_what, status, fields) => {
    const lines = fields.map((field) => `${field}\r\n`).join("");
    await start(`HTTP/1.1 ${status} Odd\r\n${lines}\r\n${ok()}`);
    const heard = await client(get()).until(/ok$/);
    const [interim = "", answer] = heard.split("\r\n\r\n");
    const [first, ...rest] = interim.split("\r\n");
    expect(first).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    const lower = (text: string) => text.replace(/^[^:]+/, (name) => name.toLowerCase());
    expect(rest.sort()).toEqual(fields.map(lower).sort());
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("of HTTP/1.0 hears the answer only", async () => {
    await start(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>; rel=preload\r\n\r\n${ok()}`);
    const heard = await client("GET / HTTP/1.0\r\nHost: a\r\n\r\n").rest();
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    expect(heard.match(/HTTP\/1/g)).toHaveLength(1);
  });
});
