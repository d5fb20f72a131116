/** What the agent serves of screens, through tunnels in memory and a real screen service. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { GuardPolicy } from "@wolfpack/api-contract";
import { defaultWolfPolicy, WolfPolicy } from "@wolfpack/wolf-api";
import { RevdialError } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { createForwarder, type ForwardOptions } from "./forward.ts";
import { createLogger } from "./logger.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { screenLimits } from "./screen-places.ts";

const sessionOf = (n: number) => `ses_0000000000000000000000000${n}`;
const own = sessionOf(0);
const MIB = 1024 * 1024;
const { sessionMax, sessionWaitingMax, hostBytesMax, hostWaitingMax } = screenLimits;
/** As long as none has been answered, each may be as large as can be. */
const hostMax = Math.floor(hostBytesMax / (20 * MIB));

let screens: Server;
/** Requests that wait for their answer. */
let asked: ServerResponse[];
let asking: () => void;
let pair: TunnelPair;
let metrics: Metrics;
let lines: Record<string, unknown>[];

beforeEach(async () => {
  asked = [];
  asking = () => undefined;
  screens = createServer((_request, response) => {
    asked.push(response);
    asking();
  }).listen(0, "127.0.0.1");
  await once(screens, "listening");
  pair = tunnelPair();
  metrics = createMetrics();
  lines = [];
});

afterEach(async () => {
  pair.left.destroy();
  pair.right.destroy();
  screens.closeAllConnections();
  await new Promise((resolve) => screens.close(resolve));
});

async function serve(more: Partial<ForwardOptions> = {}): Promise<void> {
  const { port } = screens.address() as AddressInfo;
  pair.left.serve(
    createForwarder({
      wolf: () => Promise.reject(new Error("Wolf is never asked here")),
      screen: () => ({ host: "127.0.0.1", port }),
      log: createLogger("info", { write: (line) => void lines.push(JSON.parse(line)) }),
      metrics,
      policy: defaultWolfPolicy,
      createsMax: 1,
      ...more,
    }),
  );
  await pair.ready;
}

async function ask(
  path: string,
  {
    service = "screen",
    method = "GET",
    signal,
  }: { service?: string; method?: string; signal?: AbortSignal } = {},
) {
  const { status, headers, body } = await pair.right.request({
    service,
    method,
    path,
    headers: [["x-request-id", "r-1"]],
    ...(signal === undefined ? {} : { signal }),
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const fields = new Map(headers);
  return {
    status,
    refused: fields.get("x-wolfpack-refused"),
    type: fields.get("content-type"),
    bytes: Buffer.concat(chunks),
  };
}

/** So many requests have arrived at the screen service. */
async function arrived(count: number): Promise<void> {
  while (asked.length < count) await new Promise<void>((resolve) => (asking = resolve));
}

const turns = async () => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe("a sandbox", () => {
  it.each([
    ["screen", `/${sessionOf(1)}/screenshot`],
    ["screen", `/${own}x/screenshot`],
    ["wolf", `/${own}/screenshot`],
    ["wolf", "/api/v1/lobbies"],
    ["constructor", `/${own}/screenshot`],
  ])("refuses %s %s with a code, a count and a line of the log", async (service, path) => {
    await serve({ sessionId: own });
    expect(await ask(path, { service })).toMatchObject({
      status: 404,
      refused: "service-unknown",
      type: "application/problem+json",
    });
    expect(metrics.counters().filter(({ value }) => value > 0)).toMatchObject([
      { labels: { code: "service-unknown" } },
    ]);
    expect(lines).toMatchObject([
      { msg: "refused", code: "service-unknown", request_id: "r-1", service, path },
    ]);
    expect(asked).toEqual([]);
  });

  it("serves its own screen", async () => {
    await serve({ sessionId: own });
    const shot = ask(`/${own}/screenshot`);
    await arrived(1);
    asked[0]?.end("png");
    expect(await shot).toMatchObject({ status: 200, bytes: Buffer.from("png") });
  });
});

describe("screens", () => {
  it("of another session are not shown through a link that a sandbox made", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "fw-"));
    for (const n of [0, 1]) mkdirSync(path.join(folder, sessionOf(n)));
    const theirs = createServer((_request, response) => response.end("theirs"));
    await once(theirs.listen(path.join(folder, sessionOf(1), "screen.sock")), "listening");
    symlinkSync(`../${sessionOf(1)}/screen.sock`, path.join(folder, own, "screen.sock"));
    await serve({ screen: (id) => ({ socketPath: path.join(folder, id, "screen.sock") }) });
    expect(await ask(`/${sessionOf(1)}/screenshot`)).toMatchObject({ bytes: Buffer.from("theirs") });
    expect(await ask(`/${own}/screenshot`)).toMatchObject({ refused: "upstream-unreachable" });
    await new Promise((resolve) => theirs.close(resolve));
    rmSync(folder, { recursive: true });
  });

  it("of one session are looked at two at a time; a few wait, more are refused", async () => {
    await serve();
    const shots = Array.from({ length: sessionMax + sessionWaitingMax }, () => ask(`/${own}/screenshot`));
    await arrived(sessionMax);
    expect(await ask(`/${own}/clipboard`)).toMatchObject({ status: 503, refused: "queue-full" });
    const other = ask(`/${sessionOf(1)}/screenshot`);
    await arrived(sessionMax + 1);
    await turns();
    expect(asked).toHaveLength(sessionMax + 1);
    asked.pop()?.end();
    expect(await other).toMatchObject({ status: 200 });
    for (let answered = 0; answered < shots.length; answered += 1) {
      await arrived(1);
      asked.shift()?.end("png");
    }
    for (const shot of shots) expect(await shot).toMatchObject({ status: 200 });
  });

  it("of one host are looked at as long as their largest answers fit into 96 MiB; some wait, more are refused", async () => {
    await serve();
    const sessions = Array.from(
      { length: (hostMax + hostWaitingMax) / sessionMax },
      (_, n) => `ses_000000000000000000000000${String(n).padStart(2, "0")}`,
    );
    const shots = sessions.flatMap((id) => [ask(`/${id}/screenshot`), ask(`/${id}/screenshot`)]);
    await arrived(hostMax);
    expect(await ask("/ses_00000000000000000000000099/screenshot")).toMatchObject({
      status: 503,
      refused: "queue-full",
    });
    expect(asked).toHaveLength(hostMax);
    for (let answered = 0; answered < shots.length; answered += 1) {
      await arrived(1);
      asked.shift()?.end("png");
    }
    for (const shot of shots) expect(await shot).toMatchObject({ status: 200 });
  });

  it("of callers that gave up, waiting or not, take no place from others", async () => {
    await serve();
    const gone = new AbortController();
    const given = Array.from({ length: sessionMax + sessionWaitingMax }, () =>
      ask(`/${own}/screenshot`, { signal: gone.signal }).catch((error: unknown) => error),
    );
    await arrived(sessionMax);
    gone.abort();
    for (const error of await Promise.all(given)) expect(error).toBeInstanceOf(RevdialError);
    asked.length = 0;
    const shot = ask(`/${own}/screenshot`);
    await arrived(1);
    asked[0]?.end("png");
    expect(await shot).toMatchObject({ status: 200 });
  });

  it("that are answered but not yet read still take their place", async () => {
    await serve();
    const replies = [];
    for (let n = 0; n < sessionMax; n += 1) {
      const reply = pair.right.request({ service: "screen", method: "GET", path: `/${own}/screenshot` });
      await arrived(1);
      asked.shift()?.end(Buffer.alloc(4 * MIB));
      replies.push(await reply);
    }
    const third = ask(`/${own}/screenshot`);
    await turns();
    expect(asked).toEqual([]);
    for await (const chunk of replies[0]?.body ?? []) expect(chunk.byteLength).toBeGreaterThan(0);
    await arrived(1);
    asked[0]?.end("png");
    expect(await third).toMatchObject({ status: 200 });
  });

  it("that are answered and small leave the host's room to others, though nobody reads them", async () => {
    await serve();
    for (let n = 0; n < 2 * hostMax; n += 1) {
      const reply = pair.right.request({
        service: "screen",
        method: "GET",
        path: `/${sessionOf(n)}/screenshot`,
      });
      await arrived(1);
      asked.shift()?.end(Buffer.alloc(MIB));
      expect(await reply).toMatchObject({ status: 200 });
    }
  });

  it("without a body, though one was announced, show nothing of the agent's memory", async () => {
    await serve();
    const reply = ask(`/${own}/screenshot`);
    await arrived(1);
    asked[0]?.socket?.end("HTTP/1.1 204 No Content\r\nContent-Length: 1000\r\n\r\n");
    expect((await reply).bytes).toHaveLength(0);
  });

  it.each([
    ["screenshot", 20 * MIB, 200],
    ["screenshot", 20 * MIB + 1, 502],
    ["clipboard", 256 * 1024, 200],
    ["clipboard", 256 * 1024 + 1, 502],
  ])("answer %s with %i bytes: %i", async (what, bytes, status) => {
    await serve();
    const reply = ask(`/${own}/${what}`);
    await arrived(1);
    asked[0]?.end(Buffer.alloc(bytes));
    expect(await reply).toMatchObject({
      status,
      refused: status === 200 ? undefined : "reply-too-large",
    });
  });

  it.each([
    ["screenshot", "20 MiB"],
    ["clipboard", "256 KiB"],
  ])("say of %s that is too large how large it may be, announced or not", async (what, most) => {
    await serve();
    for (const isAnnounced of [true, false]) {
      const reply = ask(`/${own}/${what}`);
      await arrived(1);
      const origin = asked.shift();
      if (isAnnounced) origin?.setHeader("content-length", 50_000_000);
      else origin?.setHeader("transfer-encoding", "chunked");
      // Whoever reads no further hangs up.
      origin?.on("error", () => undefined);
      origin?.end(Buffer.alloc(50_000_000));
      const { bytes, refused } = await reply;
      expect([refused, JSON.parse(bytes.toString())]).toMatchObject([
        "reply-too-large",
        { status: 502, detail: `The screen service's answer is larger than ${most}.` },
      ]);
    }
  });
});

describe("what an agent says of itself", () => {
  it("is the policy of its guard, with the places of this host", async () => {
    const policy = WolfPolicy.parse({ close: ["POST /api/v1/lobbies/stop"], mount_folders: ["/srv/games"] });
    await serve({ policy, createsMax: 7 });
    const { status, bytes, type } = await ask("/policy", { service: "agent" });
    const shown = JSON.parse(bytes.toString());
    expect([status, type]).toEqual([200, "application/json"]);
    expect(GuardPolicy.parse(shown)).toEqual(shown);
    expect(shown).toMatchObject({ mount_folders: ["/srv/games"], limits: { create: { concurrent_max: 7 } } });
    expect(shown.open).not.toContain("POST /api/v1/lobbies/stop");
  });

  it("is nothing else, changes by nothing, and is not said by a sandbox", async () => {
    await serve();
    const service = "agent";
    expect(await ask("/policy/", { service })).toMatchObject({ status: 404, refused: "route-unknown" });
    expect(await ask("/policy?x=1", { service })).toMatchObject({ status: 404, refused: "route-unknown" });
    for (const method of ["POST", "PUT", "DELETE", "HEAD"])
      expect(await ask("/policy", { service, method })).toMatchObject({
        status: 405,
        refused: "method-not-allowed",
      });
    const sandbox = tunnelPair();
    pair.left.destroy();
    pair = sandbox;
    await serve({ sessionId: own });
    expect(await ask("/policy", { service })).toMatchObject({ status: 404, refused: "service-unknown" });
  });
});
