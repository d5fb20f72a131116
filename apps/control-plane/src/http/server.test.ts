import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { Problem } from "@wolfpack/api-contract";
import { ApiError } from "./problem.ts";
import { createHttpServer, type ServerLimits } from "./server.ts";
import type { Unread } from "./unread.ts";

const servers: Server[] = [];
let told: Unread[] = [];
afterEach(async () => {
  told = [];
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});

/** Sends bytes, then nothing more; resolves to the whole answer when the server closes. */
async function answerTo(bytes: string, limits: Partial<ServerLimits>, reads = false): Promise<string> {
  const server = createHttpServer(
    (request, response) => {
      response.setHeader("x-request-id", "of-the-listener");
      if (!reads) return void response.writeHead(200).write("half");
      request.resume().on("end", () => response.end());
    },
    limits,
    (unread) => void told.push(unread),
  );
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write(bytes);
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.on("error", () => undefined);
  await once(socket, "close");
  return answer;
}

const problemOf = (answer: string) => Problem.parse(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4)));
const codeOf = (answer: string) => problemOf(answer).code;

describe("the HTTP server", () => {
  it("ends a request whose headers come too slowly with a problem", async () => {
    const answer = await answerTo("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", {
      headersTimeoutMs: 100,
      requestTimeoutMs: 200,
    });
    expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(codeOf(answer)).toBe("request-timeout");
  });

  it("ends a request whose body comes too slowly with a problem", async () => {
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
    const answer = await answerTo(head, { headersTimeoutMs: 100, requestTimeoutMs: 200 }, true);
    expect(codeOf(answer)).toBe("request-timeout");
  });

  it("takes headers up to the limit and refuses one byte past it", async () => {
    const withHeader = (bytes: number) =>
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${"x".repeat(bytes)}\r\n\r\n`;
    expect(await answerTo(withHeader(800), { headerBytesMax: 1024 }, true)).toMatch(/^HTTP\/1\.1 200 /);
    expect(codeOf(await answerTo(withHeader(1100), { headerBytesMax: 1024 }, true))).toBe(
      "headers-too-large",
    );
  });

  it.each([
    ["no HTTP", "GARBAGE\r\n\r\n", 400, "malformed-http"],
    ["a head that ends nowhere", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", 408, "request-timeout"],
    [
      "too large a head",
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(1100)}\r\n\r\n`,
      431,
      "headers-too-large",
    ],
    ["a wish for a proxy", "CONNECT y:443 HTTP/1.1\r\nHost: y:443\r\n\r\n", 400, "malformed-http"],
    ["a head without Host", "GET / HTTP/1.1\r\n\r\n", 400, "malformed-http"],
    ["an unknown expectation", "GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 400, "malformed-http"],
  ])("tells of %s once, by the id of its answer", async (_what, bytes, status, code) => {
    const limits = { headerBytesMax: 1024, headersTimeoutMs: 100, requestTimeoutMs: 200 };
    const answer = await answerTo(bytes, limits);
    expect(told).toEqual([{ requestId: problemOf(answer).instance, status, code }]);
    expect(answer).toContain(`x-request-id: ${problemOf(answer).instance}\r\n`);
  });

  it("refuses what it is told to by its head alone, and has told of it", async () => {
    const server = createHttpServer(
      () => {
        throw new Error("never called");
      },
      {},
      (unread) => void told.push(unread),
      ({ url }) => {
        if (url === "/busy") throw new ApiError("draining", "No room.", { headers: { "retry-after": "7" } });
      },
    );
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/busy`, { method: "POST", body: "anything" });
    const { code, instance } = Problem.parse(await answer.json());
    expect([answer.status, code, answer.headers.get("retry-after")]).toEqual([503, "draining", "7"]);
    expect(told).toEqual([{ requestId: instance, status: 503, code: "draining" }]);
  });

  it("tells of nobody who connects and asks nothing", async () => {
    const answer = await answerTo("", { headersTimeoutMs: 100, requestTimeoutMs: 200 });
    expect(codeOf(answer)).toBe("request-timeout");
    expect(told).toEqual([]);
  });

  it("tells nothing of a request that the listener has, and ends it by the id that it has there", async () => {
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
    const answer = await answerTo(head, { headersTimeoutMs: 100, requestTimeoutMs: 200 }, true);
    expect(problemOf(answer).instance).toBe("of-the-listener");
    expect(told).toEqual([]);
  });

  it("writes no second answer into one that has begun", async () => {
    const answer = await answerTo("GET / HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n", {});
    expect(answer).not.toContain("problem+json");
  });

  it("cuts off whoever asks for much and reads nothing", async () => {
    const server = createHttpServer(
      (_request, response) => void response.end(Buffer.alloc(32 * 1024 * 1024)),
      {
        silenceTimeoutMs: 100,
      },
    );
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const cutOff = new Promise<void>((resolve) => {
      server.once("connection", (socket) => socket.once("close", () => resolve()));
    });
    // Nobody listens to its data: it is not read.
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await cutOff;
    socket.destroy();
  });
});
