/**
 * Clients and origins that say what HTTP does not allow, or stop halfway. Each costs its own exchange: the chain serves the next
 * good request, has no channel left, and has lost none of its slots.
 */
import { createServer } from "node:http";
import type { Server, Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { type HostileAnswer, hostileClients, hostileOrigins } from "./hostile-http-cases.ts";
import { type Chain, chain } from "./probes/chain.ts";
import { get, ok, RawClient, rawOrigin } from "./raw-http.ts";
import { signal, until } from "./support.ts";

const limits = { channelsMax: 24 };
const ways = ["ends", "destroys", "resets"] as const;
const leave: Record<(typeof ways)[number], (socket: Socket) => void> = {
  ends: (socket) => void socket.end(),
  destroys: (socket) => void socket.destroy(),
  resets: (socket) => void socket.resetAndDestroy(),
};

let running: Chain<Server>;
const clients: RawClient[] = [];
const warnings: string[] = [];
const note = ({ name, message }: Error) => void (name === "RevdialWarning" && warnings.push(message));

beforeEach(() => void process.on("warning", note));

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy();
  process.off("warning", note);
  expect(warnings.splice(0)).toEqual([]);
});

function client(...said: string[]): RawClient {
  const made = new RawClient(running.port, ...said);
  clients.push(made);
  return made;
}

async function servesOn(): Promise<void> {
  const heard = await client(get("/good", "Connection: close")).rest();
  expect(heard).toMatch(/^HTTP\/1\.1 200 /);
  expect(heard).toMatch(/\r\n\r\ngood$/);
}

/** A handler that never ends holds its slot even when its channel is gone: as many requests as there are slots tell. */
async function hasAllSlots(hanging: () => number): Promise<void> {
  await running.idle();
  const before = hanging();
  for (let i = 0; i < limits.channelsMax; i += 1) client(get("/hang"));
  await until(() => hanging() === before + limits.channelsMax);
}

describe("a chain whose client says", () => {
  const urls: (string | undefined)[] = [];

  beforeAll(async () => {
    const origin = createServer((request, response) => {
      urls.push(request.url);
      request.resume();
      if (request.url !== "/hang") response.end(request.url === "/good" ? "good" : "ok");
    });
    running = await chain<Server>(origin, {}, { limits });
  });

  afterAll(() => running.stop());

  it.each(hostileClients.map(([what, said, status], at) => [what, said, status, ways[at % 3]] as const))(
    "%s serves on",
    async (_what, said, status, way = "ends") => {
      const hostile = client(said);
      if (status !== undefined)
        expect(await hostile.until(/^HTTP\/1\.1 \d+ /)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      await servesOn();
      leave[way](hostile.socket);
      await running.idle();
      await servesOn();
      expect(urls).not.toContain("/smuggled");
    },
  );

  it("any of these has all its slots in the end", () =>
    hasAllSlots(() => urls.filter((url) => url === "/hang").length));
});

describe("a chain whose origin says", () => {
  let hostile: HostileAnswer;
  let said = signal();
  let hanging = 0;

  beforeAll(async () => {
    const origin = rawOrigin((socket, head) => {
      if (head.startsWith("GET /good ")) return void socket.write(ok("good"));
      if (head.startsWith("GET /hang ")) {
        hanging += 1;
        return;
      }
      socket.write(hostile.says, "latin1", () => {
        if (hostile.after === "ends") socket.end();
        if (hostile.after === "resets") socket.resetAndDestroy();
        said.give();
      });
    });
    running = await chain(origin, {}, { limits });
  });

  afterAll(() => running.stop());

  it.each(hostileOrigins.map((one, at) => [one.what, one, ways[at % 3]] as const))(
    "%s serves on",
    async (_what, one, way = "ends") => {
      hostile = one;
      said = signal();
      const asking = client(one.asked ?? get("/bad"));
      await said.seen;
      await servesOn();
      leave[way](asking.socket);
      await running.idle();
      await servesOn();
    },
  );

  it("any of these has all its slots in the end", () => hasAllSlots(() => hanging));
});
