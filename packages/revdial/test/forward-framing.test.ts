/** How the forwarder frames what it sends, and what it takes from an origin: one request stays one request. */
import { createServer, type IncomingMessage } from "node:http";
import { describe, expect, it } from "@jest/globals";
import { client, start } from "./raw-chain.ts";
import { get, ok, rawOrigin } from "./raw-http.ts";
import { collect } from "./support.ts";

const inner = get("/admin", "X-User: root");
const sized = inner.length.toString(16);

describe("a forwarded request", () => {
  it.each(
    ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "M-SEARCH"].flatMap((method) => [
      [method, "a length", `Content-Length: ${inner.length}\r\n\r\n${inner}`],
      [method, "chunks", `Transfer-Encoding: chunked\r\n\r\n${sized}\r\n${inner}\r\n0\r\n\r\n`],
    ]),
  )(
    "keeps the body of a %s with %s out of what the origin takes for the next request",
    async (method, _how, rest) => {
      const seen: string[] = [];
      await start(
        createServer(async (request, response) => {
          seen.push(`${request.method} ${request.url} ${(await collect(request)).toString("latin1")}`);
          response.end();
        }),
      );
      const asked = client(`${method} /public HTTP/1.1\r\nHost: a\r\n${rest}`);
      await asked.until(/\r\n\r\n/);
      const victim = client(get("/victim", "Connection: close"));
      expect(await victim.rest()).toMatch(/^HTTP\/1\.1 200 /);
      expect(seen).toEqual([`${method} /public ${inner}`, "GET /victim "]);
    },
  );

  it("fails where the origin's answer has a transfer coding that nobody asked for", async () => {
    const { idle } = await start(
      rawOrigin((socket) =>
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
      ),
    );
    expect(await client(get()).until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 502 /);
    await idle();
  });

  it("says that there is no body where the method lets an origin expect one", async () => {
    const heads: string[] = [];
    await start(
      rawOrigin((socket, head) => {
        heads.push(head.toLowerCase());
        socket.write(ok());
      }),
    );
    await client("POST / HTTP/1.1\r\nHost: a\r\n\r\n").until(/ok$/);
    expect(heads).toHaveLength(1);
    expect(heads[0]).toMatch(/content-length: 0/);
    expect(heads[0]).not.toMatch(/transfer-encoding/);
  });

  it("carries every trailer, repeated ones too", async () => {
    const trailers: string[][] = [];
    await start(
      createServer(async (request: IncomingMessage, response) => {
        await collect(request);
        trailers.push(request.rawTrailers);
        response.end("ok");
      }),
    );
    const chunks = "2\r\nhi\r\n0\r\nX-R: 1\r\nX-S: s\r\nX-R: 2\r\n\r\n";
    await client(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`).until(/ok$/);
    expect(trailers).toEqual([["x-r", "1", "x-s", "s", "x-r", "2"]]);
  });
});
