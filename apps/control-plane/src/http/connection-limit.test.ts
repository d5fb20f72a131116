import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { Log } from "../logger.ts";
import { DESCRIPTORS_KEPT, descriptorsMax, limitConnections } from "./connection-limit.ts";

const sockets: Socket[] = [];
let stop = async () => {};
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await stop();
});

async function limited(descriptors: number) {
  const lines: { refused: number; connections_max: number }[] = [];
  const timers: (() => void)[] = [];
  const clock = {
    now: () => new Date(0),
    elapsedMs: () => 0,
    setTimer: (_ms: number, run: () => void) => {
      timers.push(run);
      return { cancel: () => undefined };
    },
  };
  const log = { error: (about: { refused: number; connections_max: number }) => lines.push(about) };
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined).pipe(socket);
  });
  limitConnections(server, { descriptors, clock, log: log as unknown as Log });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stop = async () => {
    server.close();
    await once(server, "close");
  };
  async function come(): Promise<{ socket: Socket; taken: boolean }> {
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.write("x");
    const taken = await new Promise<boolean>((resolve) => {
      socket.once("data", () => resolve(true));
      socket.once("close", () => resolve(false));
    });
    return { socket, taken };
  }
  return { server, lines, timers, come };
}

describe("connections when file descriptors run out", () => {
  it("are refused beyond the limit, and taken again when there is room; those that were there go on", async () => {
    const { lines, timers, come } = await limited(DESCRIPTORS_KEPT + 16);
    const first = await come();
    for (let count = 1; count < 16; count += 1) expect((await come()).taken).toBe(true);
    for (let count = 0; count < 3; count += 1) expect((await come()).taken).toBe(false);
    expect(lines).toMatchObject([{ refused: 1, connections_max: 16 }]);
    timers.shift()?.();
    expect(lines).toMatchObject([{ refused: 1 }, { refused: 2 }]);
    first.socket.write("y");
    await once(first.socket, "data");
    first.socket.end();
    await once(first.socket, "close");
    expect((await come()).taken).toBe(true);
    timers.shift()?.();
    expect(lines).toHaveLength(2);
  });

  it("have some places however small the limit is", async () => {
    expect((await limited(10)).server.maxConnections).toBe(16);
  });

  it("know the limit of the process as the kernel writes it", () => {
    const row = "Max open files            20000                524288               files     \n";
    expect(descriptorsMax(() => `Limit  Soft Limit  Hard Limit  Units\n${row}`)).toBe(20_000);
    expect(
      descriptorsMax(() => "Max open files            unlimited            unlimited            files\n"),
    ).toBeUndefined();
    expect(
      descriptorsMax(() => {
        throw new Error("ENOENT");
      }),
    ).toBeUndefined();
  });
});
