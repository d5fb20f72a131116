/** Which requests a front takes, and in which form they travel. */
import { createServer } from "node:http";
import { afterEach, describe, expect, it } from "@jest/globals";
import { Pool } from "undici";
import { httpFront } from "../src/http/index.ts";
import { stopServer } from "./gateway.ts";
import { listenLocally } from "./probes/chain.ts";
import { client, clientAt, isStarted, start } from "./raw-chain.ts";
import { ok, type RawClient, rawOrigin } from "./raw-http.ts";
import { collect } from "./support.ts";

/** Request lines that have reached the origin. */
const asked: string[] = [];

afterEach(() => {
  asked.length = 0;
});

/** A client of the chain that all clients of one test share. */
async function asking(...said: string[]): Promise<RawClient> {
  if (!isStarted())
    await start(
      rawOrigin((socket, head) => {
        asked.push(head.slice(0, head.indexOf(" HTTP")));
        socket.write(ok());
      }),
    );
  return client(...said);
}

describe("a front", () => {
  it.each([
    ["gzip, chunked", "1.1", 501],
    ["GZIP,chunked", "1.1", 501],
    ["chunked", "1.0", 400],
  ])("refuses a body in the transfer coding %s of HTTP/%s with %i", async (coding, version, status) => {
    const sent = `POST / HTTP/${version}\r\nHost: a\r\nTransfer-Encoding: ${coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n`;
    const heard = await (await asking(sent)).rest();
    expect(heard).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(heard).toMatch(/connection: close/i);
    expect(asked).toEqual([]);
  });

  it("tells a client whose trailer may not travel that it is to blame", async () => {
    await start(
      createServer(async (request, response) => {
        await collect(request).catch(() => undefined);
        response.end("ok");
      }),
    );
    const sent = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n${"x".repeat(300)}: 1\r\n\r\n`;
    expect(await client(sent).until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("takes chunks, whatever the case of the word", async () => {
    const sent = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    expect(await (await asking(sent)).until(/ok$/)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ["http://shop.example/a/../b?c=d", "/a/../b?c=d"],
    ["HTTPS://user@shop.example:8443//x", "//x"],
    ["http://shop.example", "/"],
    ["http://shop.example?c=d", "/?c=d"],
    ["/http://shop.example/", "/http://shop.example/"],
  ])("passes on the target %s in origin form", async (target, path) => {
    const heard = await (await asking(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)).until(/ok$/);
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    expect(asked).toEqual([`GET ${path}`]);
  });

  it("answers for itself what is asked about the server as a whole", async () => {
    const heard = await (await asking("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")).until(/\r\n\r\n/);
    expect(heard).toMatch(/^HTTP\/1\.1 204 /);
    expect(asked).toEqual([]);
  });

  it.each(["GET *", "GET http://shop.example/#part", "GET ftp://shop.example/", "GET http:///", "GET /a#b"])(
    "refuses %s",
    async (line) => {
      const heard = await (await asking(`${line} HTTP/1.1\r\nHost: a\r\n\r\n`)).until(/\r\n\r\n/);
      expect(heard).toMatch(/^HTTP\/1\.1 400 /);
      expect(asked).toEqual([]);
    },
  );
});

describe("a front before undici's own pool", () => {
  it("passes bodies on, and lets a client ask again whose upload was answered early", async () => {
    const origin = createServer(async (request, response) => {
      if (request.url === "/early") return void response.end("early");
      response.end(`${request.method} ${(await collect(request)).toString("latin1")}`);
    });
    const pool = new Pool(`http://127.0.0.1:${await listenLocally(origin)}`);
    const front = createServer(httpFront(pool).request);
    const asking = clientAt(await listenLocally(front));
    asking.say("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    await asking.until(/PUT hello$/);
    asking.say(`POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx`);
    await asking.until(/early$/);
    asking.say("x".repeat(999_999));
    asking.say("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(await asking.rest()).toMatch(/GET $/);
    await stopServer(front);
    await pool.destroy();
    await stopServer(origin);
  });
});
