/** What a caller writes after the head of a call that another replica answers: it is that call's body or nothing, and never another call. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { type Replicas, testReplicas } from "./some-replicas.ts";

let replicas: Replicas;
let a: TestControlPlane;
let b: TestControlPlane;
let wolfId: string;
const open: Socket[] = [];

beforeEach(async () => {
  replicas = await testReplicas();
  [a, b] = await replicas.two();
  ({ wolfId } = await replicas.host(b));
});

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await replicas.stop();
});

/** What is answered at `a` to these bytes, up to the end of the first answer's head. */
async function say(bytes: string): Promise<string> {
  const { hostname, port } = new URL(a.url);
  const socket = connect(Number(port), hostname);
  open.push(socket);
  await once(socket, "connect");
  socket.write(bytes);
  let heard = "";
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    heard += piece;
    if (heard.includes("\r\n\r\n")) return heard;
  }
  return heard;
}

/** Paths that came to `b` and are no call of these tests. */
const strays = () =>
  b.lines
    .map((line) => JSON.parse(line) as { req?: { path?: string } })
    .flatMap(({ req }) => req?.path ?? [])
    .filter((path) => path.includes("smuggled"));

const head = (method: string, what: string, fields: string) =>
  `${method} /api/v1/wolf-instances/${wolfId}/${what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${replicas.adminKey}\r\n${fields}\r\n`;

const chunked = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n`;

const INNER = "GET /api/v1/smuggled HTTP/1.1\r\nHost: x\r\n";

describe("a question about a wolf that comes to the wrong replica with a body", () => {
  const questions = ["GET", "HEAD"].flatMap((method) =>
    ["tunnel", "usage-history", "policy"].map((what) => [method, what] as const),
  );
  const bodies = (inner: string) =>
    [
      ["chunks", `Transfer-Encoding: chunked\r\n`, `${chunked(inner)}\r\n`],
      ["chunks and trailers", `Transfer-Encoding: chunked\r\n`, `${chunked(inner)}X-Smuggled: 1\r\n\r\n`],
      ["a length", `Content-Length: ${inner.length}\r\n`, inner],
      ["a length of its own hop", `Content-Length: ${inner.length}\r\nConnection: content-length\r\n`, inner],
      ["Expect", `Content-Length: ${inner.length}\r\nExpect: 100-continue\r\n`, inner],
    ] as const;

  it.each(questions)(
    "is answered to a %s of its %s, and the body is nobody's request",
    async (method, what) => {
      for (const [, fields, body] of [...bodies(`${INNER}\r\n`), ...bodies(`${INNER}X-Open: `)])
        expect(await say(`${head(method, what, fields)}${body}`)).toMatch(/^HTTP\/1\.1 (100|200) /);
      // Whoever asks next is answered, and with what was asked.
      for (let times = 0; times < 5; times += 1)
        expect((await replicas.call(a, "GET", `wolf-instances/${wolfId}/${what}`)).status).toBe(200);
      expect(strays()).toEqual([]);
    },
  );

  it("is thrown away with its connection when its caller cuts it", async () => {
    const { hostname, port } = new URL(a.url);
    for (const method of ["GET", "HEAD"]) {
      const socket = connect(Number(port), hostname);
      open.push(socket);
      socket.write(`${head(method, "tunnel", "Transfer-Encoding: chunked\r\n")}ff\r\n${INNER}`);
      await once(socket, "data");
      socket.destroy();
    }
    const ask = () => replicas.call(a, "GET", `wolf-instances/${wolfId}/tunnel`);
    await eventually(ask, ({ status }) => status === 200);
    expect(strays()).toEqual([]);
  });
});
