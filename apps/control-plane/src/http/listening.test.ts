import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type Listening, listenOn } from "./listening.ts";

const open: Listening[] = [];
afterEach(() => Promise.all(open.splice(0).map((listening) => listening.close())));

async function listening(server: Server, port = 0): Promise<Listening> {
  const one = await listenOn(server, { port, host: "127.0.0.1" });
  open.push(one);
  return one;
}

const answering = (text: string) => createServer((_request, response) => response.end(text));
const ask = async (port: number) => {
  const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
  return answer.text();
};

describe("a server that listens", () => {
  it("answers whatever socket the system chose for a connection", async () => {
    const { port } = await listening(answering("here"));
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(port)));
    expect(new Set(answers)).toEqual(new Set(["here"]));
  });

  it("refuses a port on which somebody listens, also one of us, and leaves that one alone", async () => {
    const { port } = await listening(answering("first"));
    await expect(listening(answering("second"), port)).rejects.toMatchObject({ code: "EADDRINUSE" });
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(port)));
    expect(new Set(answers)).toEqual(new Set(["first"]));
  });

  it("closes when the last request is answered, takes nothing new, and its port is free then", async () => {
    const asked = Promise.withResolvers<() => void>();
    const server = createServer((_request, response) => asked.resolve(() => response.end("late")));
    const { port, close } = await listenOn(server, { port: 0, host: "127.0.0.1" });
    const late = ask(port);
    const answer = await asked.promise;
    const closed = close();
    await expect(ask(port)).rejects.toThrow();
    answer();
    expect(await late).toBe("late");
    await closed;
    expect((await listening(answering("again"), port)).port).toBe(port);
  });

  it("cuts what is left on any of its sockets, also what was upgraded", async () => {
    const server = answering("here");
    server.on("upgrade", (_request, socket) => socket.write("HTTP/1.1 101 X\r\n\r\n"));
    const { port, close, cut } = await listenOn(server, { port: 0, host: "127.0.0.1" });
    const held = Array.from({ length: 20 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
    const upgraded = held.map((socket) => new Promise((resolve) => socket.once("data", resolve)));
    for (const socket of held)
      socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    await Promise.all(upgraded);
    const closed = close();
    cut();
    await closed;
  });

  it("drops what is more than the server may have, on all its sockets together, and says so", async () => {
    const server = answering("here");
    server.maxConnections = 5;
    let dropped = 0;
    server.on("drop", () => {
      dropped += 1;
    });
    const { port } = await listening(server);
    const held = Array.from({ length: 20 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    while (dropped < 15) await new Promise((resolve) => setImmediate(resolve));
    expect(dropped).toBe(15);
    for (const socket of held) socket.destroy();
  });
});
