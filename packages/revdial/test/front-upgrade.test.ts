/** Upgrades through a front: when they run, when they are ordinary requests, and how they end. */
import { createServer } from "node:http";
import type { Server, Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { Chain } from "./probes/chain.ts";
import { client, start } from "./raw-chain.ts";
import { get, ok, rawOrigin } from "./raw-http.ts";
import { collect, signal, until } from "./support.ts";

/** Heads and what came behind them, as the origin has them. */
let asked: string[] = [];

afterEach(() => {
  asked = [];
});

async function startAnswering(answer: (socket: Socket, head: string) => void): Promise<Chain<Server>> {
  return start(
    rawOrigin((socket, head) => {
      asked.push(head);
      answer(socket, head);
    }),
  );
}

const upgrade = get("/up", "Connection: Upgrade", "Upgrade: x");
const switching = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

describe("an upgrade behind a request that has not been answered", () => {
  it.each([
    ["that the origin would refuse", upgrade],
    ["that the origin would take", upgrade],
    ["that may not travel", get("/up", "Connection: Upgrade", "Upgrade: x y z")],
    ["that is ignored, since it has a body", upgrade.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi")],
  ])("cuts the connection and runs nothing: one %s", async (_which, sent) => {
    const { idle } = await startAnswering(() => undefined);
    const asking = client(get("/first"), get("/second"), sent);
    expect(await asking.rest()).toBe("");
    await idle();
    expect(asked.filter((head) => head.includes("/up"))).toEqual([]);
  });

  it("costs nobody else", async () => {
    const slow = signal<Socket>();
    await startAnswering((socket, head) => {
      if (head.includes("/slow")) slow.give(socket);
    });
    const bystander = client(get("/slow"));
    const socket = await slow.seen;
    await client(get("/first"), upgrade).rest();
    socket.write(ok("slow"));
    expect(await bystander.until(/slow$/)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("runs once that answer is there", async () => {
    await startAnswering(
      (socket, head) => void socket.write(head.includes("/up") ? `${switching}STREAM` : ok()),
    );
    const asking = client(get("/first"));
    await asking.until(/ok$/);
    asking.say(upgrade);
    expect(await asking.until(/STREAM$/)).toMatch(/^HTTP\/1\.1 200 .*ok.*HTTP\/1\.1 101 .*STREAM$/s);
  });
});

describe("an upgrade that is ignored", () => {
  const field = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk";
  const post = (rest: string) => `POST /order HTTP/1.1\r\nHost: a\r\n${field}\r\n${rest}`;

  /** An origin that tells what it has seen, once it has seen all of it. */
  async function echoing(): Promise<Chain<Server>> {
    const origin = createServer(async (request, response) => {
      const body = (await collect(request)).toString("latin1");
      const { upgrade = "none", "http2-settings": settings = "none" } = request.headers;
      asked.push(`${request.method} ${request.url} upgrade ${upgrade} settings ${settings} body ${body}`);
      response.end("done");
    });
    return start(origin);
  }

  it.each([
    ["a length", post("Content-Length: 5\r\n\r\nhello")],
    ["chunks", post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")],
  ])("since its request has a body with %s runs as an ordinary request, body and all", async (_how, sent) => {
    const { idle } = await echoing();
    expect(await client(sent).rest()).toMatch(/^HTTP\/1\.1 200 .*connection: close.*done$/is);
    expect(asked).toEqual(["POST /order upgrade none settings none body hello"]);
    await idle();
  });

  it("lets its client wait for 100-continue", async () => {
    await echoing();
    const asking = client(post("Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
    await asking.until(/100 Continue\r\n\r\n/);
    asking.say("hello");
    expect(await asking.rest()).toMatch(/HTTP\/1\.1 200 .*done$/s);
  });

  it.each([
    ["of HTTP/1.0", "GET /a HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"],
    ["to one of several protocols", get("/a", "Connection: Upgrade", "Upgrade: websocket, x/2")],
    ["to HTTP/2, which nobody speaks here", `GET /a HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`],
  ])("%s runs as an ordinary request", async (_which, sent) => {
    await echoing();
    expect(await client(sent).rest()).toMatch(/^HTTP\/1\.1 200 .*done$/s);
    expect(asked).toEqual(["GET /a upgrade none settings none body "]);
  });

  it("brings nothing behind its body past the server it came to", async () => {
    const { idle } = await echoing();
    await client(post(`Content-Length: 5\r\n\r\nhello${get("/unseen")}`)).rest();
    await idle();
    expect(asked).toEqual(["POST /order upgrade none settings none body hello"]);
  });

  it.each([
    ["ends its connection", "hello", (socket: Socket) => void socket.end()],
    ["destroys its connection", "hello", (socket: Socket) => void socket.destroy()],
    ["resets its connection", "hello", (socket: Socket) => void socket.resetAndDestroy()],
    ["ends its connection within the body", "he", (socket: Socket) => void socket.end()],
    ["destroys its connection within the body", "he", (socket: Socket) => void socket.destroy()],
    ["resets its connection within the body", "he", (socket: Socket) => void socket.resetAndDestroy()],
  ])("gives its slot back when its client %s", async (_how, body, leave) => {
    const { idle } = await startAnswering(() => undefined);
    const asking = client(post(`Content-Length: 5\r\n\r\n${body}`));
    await until(() => asked.length === 1);
    leave(asking.socket);
    await idle();
  });
});

describe("a client that waits for the answer to its upgrade", () => {
  it.each([
    ["ends its connection", (socket: Socket) => void socket.end()],
    ["destroys its connection", (socket: Socket) => void socket.destroy()],
    ["resets its connection", (socket: Socket) => void socket.resetAndDestroy()],
  ])("gives its slot back when it %s", async (_how, leave) => {
    const { idle } = await startAnswering(() => undefined);
    const asking = client(upgrade);
    await until(() => asked.length === 1);
    leave(asking.socket);
    await idle();
  });

  it("gives its slot back when it resets its connection after having said something", async () => {
    const { idle } = await startAnswering(() => undefined);
    const asking = client(`${upgrade}early`);
    await until(() => asked.length === 1);
    asking.say("more");
    asking.socket.resetAndDestroy();
    await idle();
  });

  it("may say more than is kept for it, and none of it is lost", async () => {
    const taken = signal<Socket>();
    await startAnswering((socket, head) => {
      if (head.includes("/up")) taken.give(socket);
    });
    const early = "x".repeat(1_000_000);
    client(upgrade, early, "END");
    const backend = await taken.seen;
    const heard: string[] = [];
    backend.on("data", (chunk) => heard.push(chunk.toString("latin1")));
    backend.write(switching);
    await until(() => heard.at(-1)?.endsWith("END") ?? false);
    expect(heard.join("")).toBe(`${early}END`);
  });

  it("hears a refusal, and is cut when it goes on sending", async () => {
    const { idle } = await startAnswering(
      (socket) => void socket.write("HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\nno"),
    );
    const asking = client(upgrade);
    const chunk = Buffer.alloc(1024 * 1024);
    const send = () => {
      while (!asking.socket.destroyed && asking.socket.write(chunk));
    };
    asking.socket.on("drain", send);
    send();
    expect(await asking.until(/no$/)).toMatch(/^HTTP\/1\.1 403 /);
    await asking.closed;
    await idle();
  });
});
