import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { AGENT_SERVICE, GuardPolicy, POLICY_PATH } from "@wolfpack/api-contract";
import { defaultWolfPolicy, policyDocument, refusedHeader } from "@wolfpack/wolf-api";
import { startWolfEmulator, type WolfEmulator } from "@wolfpack/wolf-api/emulator";
import { type Tunnel, type TunnelRequest, tunnelFetch } from "revdial";
import type { ForwardTarget } from "revdial/http";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { aSession } from "../../../test/a-session.ts";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { newId } from "../../ids.ts";
import { createLogger } from "../../logger.ts";
import { createScreen } from "../../sessions/screen.ts";
import type { Session } from "../../sessions/session-store.ts";
import { lobbyRequest } from "../../sessions/session-tag.ts";
import { sandboxStandIn } from "./sandbox-stand-in.ts";
import { pipeStandIn, type StandIn, WolfGuards, wolfStandIn } from "./stand-in.ts";

let clock: ManualClock;
let lines: string[];
let pair: TunnelPair;
let notices: [type: string, json: unknown][];
let heard: () => void;
const log = createLogger("trace", { write: (line) => void lines.push(line) });

beforeEach(() => {
  clock = manualClock();
  lines = [];
  notices = [];
  heard = () => undefined;
});
afterEach(async () => {
  pair.right.destroy();
  await pair.left.closed;
});

/** The control plane's end of a tunnel whose other end this stand-in serves. */
async function serve(standIn: StandIn, pipe: ForwardTarget): Promise<Tunnel> {
  pair = tunnelPair();
  pair.right.onNotice((type, payload) => {
    notices.push([type, JSON.parse(Buffer.from(payload).toString())]);
    heard();
  });
  pair.left.serve(standIn(pipe, pair.left));
  await pair.ready;
  return pair.right;
}

async function noticeOf(type: string): Promise<unknown> {
  for (;;) {
    const found = notices.find(([name]) => name === type);
    if (found) return found[1];
    await new Promise<void>((resolve) => {
      heard = resolve;
    });
  }
}

describe("in the place of a wolf's agent", () => {
  let wolf: WolfEmulator;
  let tunnel: Tunnel;
  let guards: WolfGuards;
  const target = () => {
    const { hostname, port } = new URL(`http://${wolf.address}`);
    return { host: hostname, port: Number(port) };
  };
  beforeEach(async () => {
    wolf = await startWolfEmulator({ listen: { port: 0 } });
    guards = new WolfGuards();
    tunnel = await serve(wolfStandIn(guards.of("wlf_1"), { clock, log }), target());
  });
  afterEach(() => wolf.close());

  const ask = (request: Partial<TunnelRequest>) => {
    const { method = "GET", path = "/", body, headers } = request;
    const given = { method, ...(headers && { headers: headers.map(([n, v]): [string, string] => [n, v]) }) };
    return tunnelFetch(tunnel, request.service ?? "wolf")(`http://wolf${path}`, {
      ...given,
      ...(body === undefined ? {} : { body: body as Uint8Array }),
    });
  };

  it("passes on what the control plane needs", async () => {
    const reply = await ask({ path: "/api/v1/lobbies" });
    expect([reply.status, await reply.json()]).toEqual([200, { success: true, lobbies: [] }]);
  });

  it("says what its guard lets through, without asking anybody, and takes no other", async () => {
    await noticeOf("capabilities");
    const before = wolf.requests.length;
    const reply = await ask({ service: AGENT_SERVICE, path: POLICY_PATH });
    expect([reply.status, GuardPolicy.parse(await reply.json())]).toEqual([
      200,
      policyDocument(defaultWolfPolicy, 1),
    ]);
    const refused = [
      await ask({ service: AGENT_SERVICE, path: POLICY_PATH, method: "POST" }),
      await ask({ service: AGENT_SERVICE, path: "/" }),
    ];
    expect(refused.map(({ headers }) => headers.get(refusedHeader))).toEqual([
      "service-unknown",
      "service-unknown",
    ]);
    expect(wolf.requests).toHaveLength(before);
  });

  it("gives no home out twice, over whatever connection of its agent", async () => {
    const create = () =>
      ask({
        path: "/api/v1/lobbies/create",
        method: "POST",
        body: Buffer.from(JSON.stringify(lobbyRequest(aSession(), "software"))),
      });
    expect((await create()).status).toBe(200);
    pair.right.destroy();
    await pair.left.closed;
    tunnel = await serve(wolfStandIn(guards.of("wlf_1"), { clock, log }), target());
    const again = await create();
    expect([again.status, again.headers.get(refusedHeader)]).toEqual([403, "state-folder-refused"]);
    pair.right.destroy();
    await pair.left.closed;
    // Another wolf has homes of its own.
    tunnel = await serve(wolfStandIn(guards.of("wlf_2"), { clock, log }), target());
    expect((await create()).status).toBe(200);
  });

  it("asks Wolf nothing that its guard refuses, and says so as an agent does", async () => {
    await noticeOf("capabilities");
    const before = wolf.requests.length;
    const refused = [
      [{ path: "/api/v1/events" }, 403, "route-closed"],
      [{ path: "/api/v1/sessions" }, 403, "route-closed"],
      [{ path: "/api/v1/../x" }, 400, "path-invalid"],
      [{ path: "/api/v1/lobbies?a=b" }, 400, "query-invalid"],
      [{ path: "/api/v1/unknown" }, 404, "route-unknown"],
      [{ path: "/api/v1/lobbies", method: "DELETE" }, 405, "method-not-allowed"],
      [{ path: "/api/v1/lobbies/create", method: "POST", body: Buffer.from("{}") }, 400, "body-invalid"],
      [
        { path: "/api/v1/lobbies/stop", method: "POST", body: Buffer.alloc(70_000, 32) },
        413,
        "body-too-large",
      ],
      [{ path: "/ses_1/screenshot", service: "screen" }, 404, "service-unknown"],
    ] as const;
    for (const [request, status, code] of refused) {
      const reply = await ask(request);
      const problem = (await reply.json()) as { code: string; instance: string };
      expect([reply.status, reply.headers.get(refusedHeader), problem.code]).toEqual([status, code, code]);
      expect(lines.filter((line) => line.includes(problem.instance))).toHaveLength(1);
    }
    expect(wolf.requests.length).toBe(before);
  });

  it("says how Wolf does, and what it can do", async () => {
    expect(await noticeOf("heartbeat")).toEqual({ wolf: "ok" });
    expect(await noticeOf("capabilities")).toMatchObject({ features: expect.arrayContaining(["lobbies"]) });
  });

  it("says at once that Wolf is gone when a request finds nobody, and answers that nobody is there", async () => {
    await noticeOf("capabilities");
    notices = [];
    await wolf.close();
    const reply = await ask({ path: "/api/v1/lobbies" });
    expect([reply.status, reply.headers.get(refusedHeader)]).toEqual([502, "upstream-unreachable"]);
    expect(await noticeOf("heartbeat")).toMatchObject({ wolf: "unreachable" });
  });

  it("asks nothing any more once the tunnel has ended", async () => {
    await noticeOf("capabilities");
    pair.right.destroy();
    await pair.left.closed;
    const before = wolf.requests.length;
    clock.advance(60_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect([wolf.requests.length, clock.pending]).toEqual([before, 0]);
  });
});

describe("in the place of a sandbox's agent", () => {
  const session = { id: newId("ses"), status: "running", wolfId: null } as Session;
  const png = Buffer.from("89504e470d0a1a0a00", "hex");
  let server: Server;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let tunnel: Tunnel;

  beforeEach(async () => {
    server = createServer((request, response) => answer(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    tunnel = await serve(sandboxStandIn(session.id, { clock, log }), { host: "127.0.0.1", port });
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const screen = () => createScreen({ sandbox: () => tunnel, wolf: () => undefined });
  const code = (asked: Promise<unknown>) =>
    asked.then(
      () => "answered",
      (error: { code: string }) => error.code,
    );

  it("brings a screenshot from where Helix has it", async () => {
    answer = ({ method, url }, response) => {
      expect([method, url]).toEqual(["GET", "/screenshot"]);
      response.setHeader("content-type", "image/png").end(png);
    };
    const { type, bytes } = await screen().screenshot(session);
    expect([type, Buffer.from(bytes).equals(png)]).toEqual(["image/png", true]);
  });

  it("reads a clipboard in Helix's words, of whatever kind", async () => {
    const cases = [
      ["application/json", '{"type":"text","data":"hé"}', "hé"],
      ["application/json", '{"type":"image","data":"aGk="}', ""],
      ["text/plain", "", ""],
      ["text/plain; charset=utf-8", "plain", "plain"],
    ] as const;
    for (const [type, body, wanted] of cases) {
      answer = (_request, response) => response.setHeader("content-type", type).end(body);
      expect(await screen().readClipboard(session)).toEqual({ text: wanted });
    }
  });

  it("writes a clipboard in Helix's words", async () => {
    let written = "";
    answer = (request, response) =>
      void text(request).then((body) => {
        written = body;
        response.end();
      });
    await screen().writeClipboard(session, { text: "é" });
    expect(JSON.parse(written)).toEqual({ type: "text", data: "é" });
  });

  it("takes nothing for a clipboard that is none", async () => {
    for (const body of ["[]", "null", "{", '{"type":"text"}', '{"type":"text","data":1}', '{"data":"x"}']) {
      answer = (_request, response) => response.setHeader("content-type", "application/json").end(body);
      expect(await code(screen().readClipboard(session))).toBe("screen-failed");
    }
  });

  it("says that it failed when the service does, and nothing of what that said", async () => {
    answer = (_request, response) => response.writeHead(500, { "content-type": "text/html" }).end("<b>");
    expect(await code(screen().screenshot(session))).toBe("screen-failed");
    expect(await code(screen().readClipboard(session))).toBe("screen-failed");
    answer = (request) => request.socket.destroy();
    expect(await code(screen().screenshot(session))).toBe("screen-failed");
  });

  it("says of an answer that is too large how large it may be", async () => {
    answer = (_request, response) => {
      // Whoever reads no further hangs up.
      response.on("error", () => undefined);
      response.setHeader("content-type", "image/png").end(Buffer.alloc(50_000_000));
    };
    const detail = (failing: Promise<unknown>) => failing.catch((error: Error) => error.message);
    expect(await detail(screen().screenshot(session))).toBe(
      "The screen service's answer is larger than 20 MiB.",
    );
    expect(await detail(screen().readClipboard(session))).toBe(
      "The screen service's answer is larger than 256 KiB.",
    );
  });

  it("gives up in time for its word to arrive, and gives the places back", async () => {
    const asked = Promise.withResolvers<void>();
    let waiting = 0;
    answer = () => {
      waiting += 1;
      if (waiting === 2) asked.resolve();
    };
    const both = [screen().screenshot(session), screen().screenshot(session)].map(code);
    await asked.promise;
    clock.advance(10_000);
    expect(await Promise.all(both)).toEqual(["wolf-timeout", "wolf-timeout"]);
    answer = (_request, response) => response.end(png);
    expect(await code(screen().screenshot(session))).toBe("answered");
  });

  it("serves its own screen and nothing else", async () => {
    const asks = [
      ["wolf", "GET", "/api/v1/lobbies", 404, "service-unknown"],
      ["screen", "GET", `/${newId("ses")}/screenshot`, 404, "service-unknown"],
      ["screen", "GET", `/${session.id}/exec`, 404, "route-unknown"],
      ["screen", "GET", `/${session.id}/screenshot?format=x`, 404, "route-unknown"],
      ["screen", "POST", `/${session.id}/screenshot`, 405, "method-not-allowed"],
      ["screen", "DELETE", `/${session.id}/clipboard`, 405, "method-not-allowed"],
      ["screen", "POST", `/${session.id}/clipboard`, 400, "body-invalid"],
    ] as const;
    answer = () => expect("asked").toBe("not asked");
    for (const [service, method, path, status, refused] of asks) {
      const reply = await tunnelFetch(tunnel, service)(`http://x${path}`, { method });
      expect([reply.status, reply.headers.get(refusedHeader)]).toEqual([status, refused]);
    }
    const large = await tunnelFetch(tunnel, "screen")(`http://x/${session.id}/clipboard`, {
      method: "POST",
      body: Buffer.alloc(65 * 1024),
    });
    expect(large.status).toBe(413);
  });
});

describe("in the place of a service's agent", () => {
  it("passes everything of that service on, and nothing of another", async () => {
    const server = createServer((request, response) => response.end(`${request.method} ${request.url}`));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const tunnel = await serve(pipeStandIn("moonlight", { log }), { host: "127.0.0.1", port });
    const reply = await tunnelFetch(tunnel, "moonlight")("http://x/api/a?b=c", { method: "PUT" });
    expect(await reply.text()).toBe("PUT /api/a?b=c");
    expect((await tunnelFetch(tunnel, "wolf")("http://x/")).status).toBe(404);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
