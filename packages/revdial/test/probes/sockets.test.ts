/** Upgrades, byte streams and targets that cannot be reached, over the whole way. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import { afterEach, describe, expect, it } from "@jest/globals";
import { forwardTo } from "../../src/http/index.ts";
import { stopServer } from "../gateway.ts";
import { collect, failure, get, signal, until } from "../support.ts";
import { ask, type Chain, chain, type WayOptions, ways } from "./chain.ts";

let running: Chain | undefined;
const stops: (() => unknown)[] = [];

afterEach(async () => {
  await running?.stop();
  running = undefined;
  for (const stop of stops.splice(0).reverse()) await stop();
});

const upgradeHead = "GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/** Sends back what comes, and says a last word after the other side has said its own. */
function echo(socket: Duplex): void {
  socket.on("data", (chunk) => socket.write(chunk));
  socket.on("end", () => socket.end(" after the end"));
}

function client(port: number): Socket {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  stops.push(() => socket.destroy());
  return socket;
}

describe.each(ways)("over %s", (_name, way) => {
  async function start(listener: RequestListener, options?: WayOptions): Promise<Chain> {
    running = await chain(createServer(listener), { way, ...options });
    return running;
  }

  it("an upgrade echoes bytes that came with its head, and those after the client's half-close", async () => {
    const { port, origin } = await start(() => undefined);
    origin.on("upgrade", (_request, socket, head) => {
      socket.write(switching);
      socket.write(head);
      echo(socket);
    });
    const socket = client(port);
    socket.end(`${upgradeHead}early`);
    const said = String(await collect(socket));
    expect(said).toMatch(/^HTTP\/1\.1 101 /);
    expect(said).toMatch(/\r\n\r\nearly after the end$/);
  });

  it("what a client says after the origin's half-close of an upgraded connection arrives", async () => {
    const heard = signal<string>();
    const { port, origin } = await start(() => undefined);
    origin.on("upgrade", async (_request, socket) => {
      socket.end(`${switching}bye`);
      heard.give(String(await collect(socket)));
    });
    const socket = client(port);
    socket.write(upgradeHead);
    expect(String(await collect(socket))).toMatch(/bye$/);
    socket.end("after your end");
    expect(await heard.seen).toBe("after your end");
  });

  it.each(["client", "origin"])(
    "an upgraded connection that its %s breaks is over on both sides",
    async (side) => {
      const atOrigin = signal<Socket>();
      const { port, origin, tunnel } = await start(() => undefined);
      origin.on("upgrade", (_request, socket) => {
        socket.write(switching);
        atOrigin.give(socket as Socket);
      });
      const near = client(port);
      near.write(upgradeHead);
      await once(near, "data");
      const far = await atOrigin.seen;
      const closed = [near, far].map(async (socket) => {
        socket.on("error", () => undefined).on("end", () => socket.end());
        socket.resume();
        await once(socket, "close");
      });
      (side === "client" ? near : far).resetAndDestroy();
      await Promise.all(closed);
      await until(() => tunnel.load === 0);
    },
  );

  it("a refused upgrade is an ordinary answer, and what follows on its connection goes nowhere", async () => {
    let requests = 0;
    const { port, origin, tunnel } = await start((_request, response) => {
      requests += 1;
      response.end();
    });
    const seen: unknown[] = [];
    origin.on("upgrade", (_request, socket, head) => {
      seen.push(String(head));
      socket.on("data", (chunk: Buffer) => void seen.push(String(chunk)));
      socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    });
    const socket = client(port);
    socket.write(`${upgradeHead}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n`);
    const said = String(await collect(socket));
    expect(said).toMatch(/^HTTP\/1\.1 403 /);
    expect(said).toMatch(/\r\n\r\n(2\r\n)?no(\r\n0\r\n\r\n)?$/);
    expect(said.match(/HTTP\/1\.1/g)).toHaveLength(1);
    await until(() => tunnel.load === 0);
    expect({ requests, seen }).toEqual({ requests: 0, seen: [""] });
  });

  it("an origin on a Unix socket is asked, upgraded and connected", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "revdial-"));
    stops.push(() => rm(folder, { recursive: true }));
    const { port, origin, tunnel } = await start((request, response) => void request.pipe(response), {
      socketPath: path.join(folder, "origin"),
    });
    origin.on("upgrade", (_request, socket) => {
      socket.write(switching);
      echo(socket);
    });
    const { sent, response } = ask(port, { method: "POST" });
    sent.end("asked");
    expect(String(await collect(await response))).toBe("asked");
    const upgraded = client(port);
    upgraded.write(upgradeHead);
    upgraded.once("data", () => upgraded.end());
    expect(String(await collect(upgraded))).toMatch(/^HTTP\/1\.1 101 .* after the end$/s);
    const stream = await tunnel.connect("web");
    stream.end("GET / HTTP/1.0\r\n\r\n");
    expect(String(await collect(stream))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("a named TCP target is a byte stream with half-close, beside the origin", async () => {
    const server = createTcpServer({ allowHalfOpen: true }, echo);
    const { host, port } = await listening(server);
    const { tunnel } = await start((_request, response) => void response.end(), {
      services: { screen: forwardTo({ host, port }) },
    });
    const stream = await tunnel.connect("screen");
    const sent = Buffer.alloc(1_000_000, "0123456789abc");
    stream.end(sent);
    expect(String(await collect(stream))).toBe(`${sent} after the end`);
    await until(() => tunnel.load === 0);
    expect((await tunnel.request({ ...get("/"), service: "web" })).status).toBe(200);
  });

  it("a target that refuses or hangs costs its own channel, and a client can leave before it is given up", async () => {
    const refusing = await closedPort();
    const hanging = await hangingPort();
    const to = (port: number, connectTimeoutMs: number) =>
      forwardTo({ host: "127.0.0.1", port }, { connectTimeoutMs });
    const { tunnel } = await start((_request, response) => void response.end("fine"), {
      services: { refuses: to(refusing, 5000), hangs: to(hanging, 200), waits: to(hanging, 600_000) },
    });
    const leaving = new AbortController();
    const asked = (service: string, upgrade?: string) =>
      failure(tunnel.request({ ...get("/"), service, upgrade, signal: leaving.signal }));
    const left = [asked("waits"), asked("waits", ""), asked("waits", "echo")];
    const gone = ["refuses", "hangs"].flatMap((service) => [
      asked(service),
      asked(service, ""),
      asked(service, "echo"),
    ]);
    // Meanwhile everybody else is served.
    for (let n = 0; n < 20; n += 1) {
      const { body } = await tunnel.request({ ...get("/"), service: "web" });
      expect(String(await collect(body))).toBe("fine");
    }
    for (const error of await Promise.all(gone))
      expect(error).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(tunnel.load).toBe(left.length);
    leaving.abort();
    for (const error of await Promise.all(left)) expect(error.code).toBe("CANCELLED");
  });
});

async function listening(server: Server): Promise<{ host: string; port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await stopServer(server);
  return port;
}

const BACKLOG = 1;

/** Listens and takes nothing: connects hang once its queue is full. */
const hangingProgram = `
  require("node:net").createServer().listen({ host: "127.0.0.1", port: 0, backlog: ${BACKLOG} }, function () {
    process.stdout.write(String(this.address().port));
  });
  process.stdin.resume().once("end", () => process.exit());
`;

async function hangingPort(): Promise<number> {
  const child = spawn(process.execPath, ["-e", hangingProgram], { stdio: ["pipe", "pipe", "inherit"] });
  const exit = once(child, "exit");
  stops.push(() => child.kill("SIGKILL") && exit);
  const [bytes] = await once(child.stdout, "data");
  const port = Number(String(bytes));
  child.kill("SIGSTOP");
  // Linux takes one more than it was told. Who comes after them waits.
  for (let waiting = 1; waiting <= BACKLOG + 1; waiting += 1) {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => undefined);
    stops.push(() => socket.destroy());
    while ((await queuedAt(port)) < waiting);
  }
  return port;
}

/** Connections that a listener has not taken yet, by the kernel's own count. */
async function queuedAt(port: number): Promise<number> {
  const address = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const table = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((line) => line.trim().split(/\s+/));
  const listener = table.find(([, local, , state]) => local === address && state === "0A");
  const [, received] = listener?.[4]?.split(":") ?? [];
  if (received === undefined) throw new Error(`nobody listens on port ${port}`);
  return Number.parseInt(received, 16);
}
