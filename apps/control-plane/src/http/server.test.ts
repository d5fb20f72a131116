import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { Problem } from "@wolfpack/api-contract";
import { createHttpServer, type ServerLimits } from "./server.ts";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});

/** Sends bytes, then nothing more; resolves to the whole answer when the server closes. */
async function answerTo(bytes: string, limits: Partial<ServerLimits>, reads = false): Promise<string> {
  const server = createHttpServer((request, response) => {
    if (!reads) return void response.writeHead(200).write("half");
    request.resume().on("end", () => response.end());
  }, limits);
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

const codeOf = (answer: string) =>
  Problem.parse(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))).code;

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
