/** What a client hears of an answer: heads that precede it, trailers, and an end. */
import type { Server, Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type Chain, chain } from "./probes/chain.ts";
import { get, RawClient, rawOrigin } from "./raw-http.ts";

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
});
