/** What stands between the tunnel and this host's sockets: exchanges with an upstream that misbehaves. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { gpuTypeOf, readCards } from "./inventory/drm.ts";
import { askUpstream, UpstreamError } from "./upstream.ts";

const typeIn = (drm: string) => gpuTypeOf(readCards(drm).map(({ gpu }) => gpu));

let folder: string;
let server: Server | undefined;
const sockets = new Set<Socket>();

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "ag-"));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  if (server) await new Promise((resolve) => server?.close(resolve));
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** A server that answers each connection's first bytes with `reply`; undefined says nothing. */
async function upstream(reply: string | undefined): Promise<{ socketPath: string; heard: () => string }> {
  let heard = "";
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (reply !== undefined && heard.includes("\r\n\r\n")) socket.end(reply);
    });
  });
  const socketPath = path.join(folder, "up.sock");
  server.listen(socketPath);
  await once(server, "listening");
  return { socketPath, heard: () => heard };
}

const ask = (socketPath: string, more: object = {}) =>
  askUpstream({
    target: { socketPath },
    method: "POST",
    path: "/x",
    body: "ä",
    timeoutMs: 2000,
    replyBytesMax: 1000,
    ...more,
  });
const failing = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(UpstreamError);
  return (error as UpstreamError).code;
};

describe("an exchange with a local service", () => {
  it("sends the exact Content-Length in bytes, never chunked, never Expect, and closes", async () => {
    const { socketPath, heard } = await upstream("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    expect((await ask(socketPath)).body.toString()).toBe("{}");
    expect(heard().toLowerCase()).toContain("content-length: 2\r\n");
    expect(heard().toLowerCase()).toContain("connection: close");
    expect(heard().toLowerCase()).not.toMatch(/transfer-encoding|expect/);
  });

  it.each([
    ["a reply shorter than announced", "HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{}"],
    ["no reply at all", ""],
    ["no HTTP", "hello"],
    ["a reply that announces too much", "HTTP/1.0 200 OK\r\nContent-Length: 2000\r\n\r\n"],
    ["a reply that is too long", `HTTP/1.0 200 OK\r\n\r\n${"x".repeat(1001)}`],
    ["a status above 599", "HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\n{}"],
    ["a switch of protocols", "HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"],
    ["an unprintable type", "HTTP/1.1 200 OK\r\nContent-Type: a\tb\r\nContent-Length: 2\r\n\r\n{}"],
    ["an endless type", `HTTP/1.1 200 OK\r\nContent-Type: ${"a".repeat(256)}\r\nContent-Length: 2\r\n\r\n{}`],
    ["an endless head", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(20_000)}\r\n\r\n{}`],
    ["two different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
  ])("calls %s broken", async (_name, reply) => {
    const { socketPath } = await upstream(reply);
    expect(await failing(ask(socketPath))).toBe("upstream-reply-broken");
  });

  it("tells a service that is not there from one that says nothing", async () => {
    expect(await failing(ask(path.join(folder, "missing.sock")))).toBe("upstream-unreachable");
    await expect(ask(path.join(folder, "missing.sock"))).rejects.toThrow("(ENOENT)");
    const { socketPath } = await upstream(undefined);
    expect(await failing(ask(socketPath, { timeoutMs: 30 }))).toBe("upstream-timeout");
  });

  it("ends when the caller gives up", async () => {
    const { socketPath } = await upstream(undefined);
    const cancel = new AbortController();
    const asking = failing(ask(socketPath, { signal: cancel.signal }));
    cancel.abort();
    expect(await asking).toBe("cancelled");
    expect(await failing(ask(socketPath, { signal: cancel.signal }))).toBe("cancelled");
  });
});

describe("the GPU's vendor", () => {
  const card = (name: string, vendor: string) => {
    mkdirSync(path.join(folder, name, "device"), { recursive: true });
    writeFileSync(path.join(folder, name, "device", "vendor"), `${vendor}\n`);
  };

  it.each([
    ["0x10de", "nvidia"],
    ["0x1002", "amd"],
    ["0x8086", "intel"],
    ["0x1234", "none"],
  ])("%s is %s", (vendor, type) => {
    card("card0", vendor);
    expect(typeIn(folder)).toBe(type);
  });

  it("is the one that renders best of several, and none without any", () => {
    card("card0", "0x8086");
    card("card1", "0x10de");
    card("card1-HDMI-A-1", "0x1002");
    mkdirSync(path.join(folder, "card2"));
    expect(typeIn(folder)).toBe("nvidia");
    expect(typeIn(path.join(folder, "missing"))).toBe("none");
  });
});
