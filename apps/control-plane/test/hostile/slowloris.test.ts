/** Hundreds of connections that are slow on purpose: each is closed in its time, and honest callers are served meanwhile. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { exchange } from "./wire.ts";

/** Of each kind. */
const SLOW = 60;
const TRICKLE_MS = 20;

let plane: TestControlPlane;
let port: number;
let naive: Server;
let naivePort: number;

beforeAll(async () => {
  const serverLimits = { headersTimeoutMs: 400, requestTimeoutMs: 800 };
  plane = await startControlPlane({}, undefined, { serverLimits });
  port = Number(new URL(plane.url).port);
  // As many servers still are: it waits as long as a client likes.
  naive = createServer({ headersTimeout: 0, requestTimeout: 0 }, (request, response) => {
    request.resume().on("end", () => response.end());
  });
  naive.listen(0, "127.0.0.1");
  await once(naive, "listening");
  naivePort = (naive.address() as AddressInfo).port;
});
afterAll(async () => {
  naive.closeAllConnections();
  naive.close();
  await plane.stop();
});

interface Slow {
  socket: Socket;
  heard: () => string;
  closed: Promise<void>;
}

/** Says `first`, then one byte of `drip` after another, for ever. */
function slow(to: number, first: string, drip: string): Slow {
  const socket = connect(to, "127.0.0.1");
  let heard = "";
  let at = 0;
  socket.on("data", (chunk) => {
    heard += chunk;
  });
  socket.on("error", () => undefined);
  socket.on("connect", () => socket.write(first));
  const timer = setInterval(() => {
    if (drip !== "" && socket.writable) socket.write(drip[at++ % drip.length] ?? "");
  }, TRICKLE_MS);
  const closed = new Promise<void>((resolve) => {
    socket.once("close", () => {
      clearInterval(timer);
      resolve();
    });
  });
  return { socket, heard: () => heard, closed };
}

const post = (length: number) =>
  `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${plane.adminKey}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
const upgrade =
  "GET /api/v1/revdial?runnerid=wolf-a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

const attacks: readonly (readonly [name: string, first: () => string, drip: string])[] = [
  ["that say nothing", () => "", ""],
  ["whose first line never ends", () => "GET /", "a"],
  ["whose head never ends", () => "GET /healthz HTTP/1.1\r\nHost: x\r\n", "a:b\r\n"],
  ["whose body never ends", () => post(50_000), " "],
  [
    "whose chunks never end",
    () => post(0).replace("Content-Length: 0", "Transfer-Encoding: chunked"),
    "1\r\n \r\n",
  ],
  ["whose upgrade never ends", () => `${upgrade}Authorization: Bearer ${RUNNER_TOKEN}\r\nX: `, "y"],
];

const connections = (server: Server) =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));

describe("connections", () => {
  it("of every kind are all closed, and honest ones answered meanwhile", async () => {
    const attackers = attacks.flatMap(([name, first, drip]) =>
      Array.from({ length: SLOW }, () => ({ name, quiet: first() === "", ...slow(port, first(), drip) })),
    );
    await Promise.all(attackers.map(({ socket }) => once(socket, "connect")));
    const honest = await exchange(
      port,
      Buffer.from("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    );
    expect(honest.answers.map(({ status }) => status)).toEqual([200]);
    await Promise.all(attackers.map(({ closed }) => closed));
    // Whoever said something is told what was wrong with it.
    const untold = attackers.filter(
      ({ quiet, heard }) =>
        !(quiet && heard() === "") && !/^HTTP\/1\.1 4\d\d [\s\S]*application\/problem\+json/.test(heard()),
    );
    expect(untold.map(({ name, heard }) => [name, heard()])).toEqual([]);
  });

  it("of every kind stay open for as long as they like at a server without such limits", async () => {
    const attackers = attacks.map(([, first, drip]) => slow(naivePort, first(), drip));
    await Promise.all(attackers.map(({ socket }) => once(socket, "connect")));
    // For the time in which ours closes the same ones.
    const same = attacks.map(([, first, drip]) => slow(port, first(), drip));
    await Promise.all(same.map(({ closed }) => closed));
    expect(await connections(naive)).toBe(attacks.length);
    for (const { socket, closed } of attackers) {
      socket.destroy();
      await closed;
    }
  });
});
