import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { type FetchInit, refusedHeader, WolfApiError, type WolfClientOptions, wolfClient } from "./client.ts";
import { classLimits } from "./routes.ts";
import type { CreateLobbyRequest } from "./schemas.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const lobbyId = "136a065d-a12f-4297-a211-16842d5d7103";
const request: CreateLobbyRequest = {
  profile_id: "user",
  name: "ses_1",
  multi_user: true,
  stop_when_everyone_leaves: false,
  video_settings: {
    width: 1920,
    height: 1080,
    refresh_rate: 60,
    wayland_render_node: "software",
    runner_render_node: "software",
    video_producer_buffer_caps: "video/x-raw",
  },
  audio_settings: { channel_count: 2 },
  runner_state_folder: "wolfpack/ses_1",
  runner: { type: "docker", name: "desk", image: "img", mounts: [], env: [], devices: [], ports: [] },
};
const listed = {
  id: lobbyId,
  name: "ses_1",
  runner: { type: "docker", env: ["A=b"] },
  connected_sessions: [],
};

/** A server that answers one request after the other as it is told, the last answer for ever. */
const answers: Answer[] = [];
const seen: {
  method: string | undefined;
  url: string | undefined;
  body: string;
  type: string | undefined;
}[] = [];
const server = createServer(async (incoming, response) => {
  let body = "";
  for await (const chunk of incoming.setEncoding("utf8")) body += String(chunk);
  seen.push({ method: incoming.method, url: incoming.url, body, type: incoming.headers["content-type"] });
  const answer = answers.length > 1 ? answers.shift() : answers[0];
  answer?.(incoming, response);
});
let baseUrl: string;

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});
beforeEach(() => {
  answers.length = 0;
  seen.length = 0;
});

const realFetch = ({ deadlineMs: _deadline, ...init }: FetchInit = {}) => init;
function client(options: Partial<WolfClientOptions> = {}) {
  return wolfClient({ fetch: (url, init) => fetch(url, realFetch(init)), baseUrl, ...options });
}
const json =
  (body: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    void response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));
const cut: Answer = (_request, response) => {
  response.writeHead(200, { "content-length": "1000" }).write('{"success":true,"lobbies":[');
  setImmediate(() => response.destroy());
};
const silence: Answer = () => undefined;

async function failureOf(promise: Promise<unknown>): Promise<WolfApiError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(WolfApiError);
  return error as WolfApiError;
}

describe("a reply that is broken", () => {
  const broken: [string, Answer][] = [
    ["an empty body", json("")],
    ["half a document", json('{"success":true,"lobbies":[')],
    ["a body cut by the connection", cut],
    ["a page", json("<html>")],
    ["no success field", json({ lobbies: [] })],
    ["lobbies that are no list", json({ success: true, lobbies: {} })],
    ["a lobby without id", json({ success: true, lobbies: [{ ...listed, id: undefined }] })],
    ["an id that is an object", json({ success: true, lobbies: [{ ...listed, connected_sessions: [{}] }] })],
    ["a number", json("1")],
    ["65 levels", json(`{"success":true,"lobbies":${"[".repeat(65)}${"]".repeat(65)}}`)],
    ["bytes that are no UTF-8", (_request, response) => void response.end(Buffer.from([0x7b, 0xff, 0x7d]))],
    ["more than 4 MiB", json(`{"success":true,"lobbies":[],"x":"${"x".repeat(4 * 1024 * 1024)}"}`)],
  ];

  it.each(broken)("with %s is asked for again once and then reported", async (_name, answer) => {
    answers.push(answer);
    expect(await failureOf(client().listLobbies())).toMatchObject({
      code: "WOLF_REPLY_BROKEN",
      mayHaveRun: true,
    });
    expect(seen).toHaveLength(2);
  });

  it.each(broken)("with %s is forgotten when the second answer is whole", async (_name, answer) => {
    answers.push(answer, json({ success: true, lobbies: [listed] }));
    expect(await client().listLobbies()).toHaveLength(1);
  });

  it.each(broken)("with %s is never asked for again when something was to be done", async (_name, answer) => {
    answers.push(answer);
    expect(await failureOf(client().createLobby(request))).toMatchObject({
      code: "WOLF_REPLY_BROKEN",
      mayHaveRun: true,
    });
    expect(seen).toHaveLength(1);
  });

  it("is one whose new lobby has no usable id", async () => {
    answers.push(json({ success: true, lobby_id: "../x" }));
    expect((await failureOf(client().createLobby(request))).code).toBe("WOLF_REPLY_BROKEN");
  });
});

describe("a refusal", () => {
  it.each([400, 500, 503])("with status %i carries Wolf's words and may have run", async (status) => {
    answers.push(json({ success: false, error: "Lobby setup timed out" }, status));
    expect(await failureOf(client().createLobby(request))).toMatchObject({
      code: "WOLF_REFUSED",
      status,
      wolfMessage: "Lobby setup timed out",
      mayHaveRun: true,
    });
    expect(seen).toHaveLength(1);
  });

  it("in a 200 is a refusal too", async () => {
    answers.push(json({ success: false, error: "no" }));
    expect((await failureOf(client().stopLobby({ lobby_id: lobbyId }))).code).toBe("WOLF_REFUSED");
  });

  it.each([
    ["an empty 404, as Wolf answers unknown routes", json("", 404), false],
    ["plain text", json("Chunked encoding not supported", 500), true],
    ["success true", json({ success: true, lobbies: [] }, 500), true],
  ])("may be %s", async (_name, answer, mayHaveRun) => {
    answers.push(answer);
    expect(await failureOf(client().listLobbies())).toMatchObject({ code: "WOLF_REFUSED", mayHaveRun });
    expect(seen).toHaveLength(1);
  });

  it("has its words cut at 300 characters", async () => {
    answers.push(json({ success: false, error: "x".repeat(10_000) }, 500));
    expect((await failureOf(client().listLobbies())).wolfMessage).toHaveLength(300);
  });

  it("by way of a redirect is not followed anywhere as an answer", async () => {
    const error = await failureOf(
      wolfClient({
        fetch: async () => new Response(null, { status: 302, headers: { location: "http://other/" } }),
      }).listLobbies(),
    );
    expect(error).toMatchObject({ code: "WOLF_REFUSED", status: 302 });
  });

  it.each([
    ["upstream-timeout", 504, "WOLF_TIMEOUT", true],
    ["upstream-reply-broken", 502, "WOLF_REPLY_BROKEN", true],
    ["upstream-unreachable", 502, "WOLF_UNREACHABLE", false],
    ["body-invalid", 400, "WOLF_REFUSED", false],
    ["route-closed", 403, "WOLF_REFUSED", false],
  ])("of the agent in front of Wolf, %s, is told apart", async (refusal, status, code, mayHaveRun) => {
    answers.push(json({ code: refusal }, status, { [refusedHeader]: refusal }));
    expect(await failureOf(client().createLobby(request))).toMatchObject({ code, status, mayHaveRun });
  });
});

describe("a request that gets no reply", () => {
  it("has more time than the agent gives Wolf, so that the agent's word comes before the caller gives up", async () => {
    const given: FetchInit[] = [];
    const wolf = wolfClient({
      fetch: async (_url, init = {}) => {
        given.push(init);
        return new Response('{"success":true,"lobbies":[],"lobby_id":"x"}');
      },
    });
    await wolf.listLobbies();
    await wolf.stopLobby({ lobby_id: lobbyId });
    await wolf.createLobby(request).catch(() => undefined);
    const slack = (["read", "change", "create"] as const).map(
      (name, i) => (given[i]?.deadlineMs ?? 0) - classLimits[name].timeoutMs,
    );
    expect(slack).toEqual([5000, 5000, 5000]);
  });

  it("is a timeout, after which it may have run", async () => {
    answers.push(silence);
    const error = await failureOf(client({ createTimeoutMs: 20 }).createLobby(request));
    expect(error).toMatchObject({
      code: "WOLF_TIMEOUT",
      mayHaveRun: true,
      message: "no answer within 20 ms",
    });
  });

  it("or only the beginning of one, is a timeout as well, and not asked for again", async () => {
    answers.push((_request, response) => void response.writeHead(200).write("{"));
    expect((await failureOf(client({ timeoutMs: 50 }).listLobbies())).code).toBe("WOLF_TIMEOUT");
    expect(seen).toHaveLength(1);
  });

  it("because the caller gave up, is unreachable and keeps the caller's reason", async () => {
    const reason = new Error("enough");
    const giveUp = new AbortController();
    answers.push(() => giveUp.abort(reason));
    const failure = failureOf(client().listLobbies(giveUp.signal));
    expect(await failure).toMatchObject({ code: "WOLF_UNREACHABLE", cause: reason });
  });

  it("because the caller gave up while it arrived, is not asked for again", async () => {
    const giveUp = new AbortController();
    answers.push((_request, response) => void response.writeHead(200).write("{"));
    const api = client({
      fetch: async (url, init) => {
        const response = await fetch(url, realFetch(init));
        giveUp.abort();
        return response;
      },
    });
    expect((await failureOf(api.listLobbies(giveUp.signal))).code).toBe("WOLF_UNREACHABLE");
    expect(seen).toHaveLength(1);
  });

  it("because the connection broke, may have run", async () => {
    answers.push((incoming) => void incoming.socket.destroy());
    expect(await failureOf(client().createLobby(request))).toMatchObject({
      code: "WOLF_UNREACHABLE",
      mayHaveRun: true,
    });
    expect(seen).toHaveLength(1);
  });

  it("because nobody listens, has certainly not run", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, "close");
    const api = client({ baseUrl: `http://127.0.0.1:${port}` });
    expect(await failureOf(api.createLobby(request))).toMatchObject({
      code: "WOLF_UNREACHABLE",
      mayHaveRun: false,
    });
  });

  it.each([
    ["not sent", { sent: "not-sent", code: "CLOSED" }, "WOLF_UNREACHABLE", false],
    ["perhaps sent", { sent: "may-have-run", code: "CLOSED" }, "WOLF_UNREACHABLE", true],
    ["over its deadline", { sent: "may-have-run", code: "DEADLINE" }, "WOLF_TIMEOUT", true],
    ["over its deadline before it was sent", { sent: "not-sent", code: "DEADLINE" }, "WOLF_TIMEOUT", false],
    ["something odd", { sent: 1 }, "WOLF_UNREACHABLE", true],
  ])("believes a transport that says: %s", async (_name, fields, code, mayHaveRun) => {
    const cause = Object.assign(new Error("tunnel"), fields);
    const api = client({ fetch: () => Promise.reject(cause) });
    expect(await failureOf(api.createLobby(request))).toMatchObject({ code, mayHaveRun, cause });
  });

  it.each([[undefined], [null], ["text"]])(
    "is an error also when the transport throws %p",
    async (thrown) => {
      const api = client({ fetch: () => Promise.reject(thrown) });
      expect(await failureOf(api.listLobbies())).toMatchObject({
        code: "WOLF_UNREACHABLE",
        mayHaveRun: true,
      });
    },
  );

  it("does not loop over causes that lead in a circle", async () => {
    const cause = new Error("circle");
    cause.cause = cause;
    expect((await failureOf(client({ fetch: () => Promise.reject(cause) }).listLobbies())).code).toBe(
      "WOLF_UNREACHABLE",
    );
  });
});

describe("a request that does not fit its schema", () => {
  it("is rejected before anything is sent", async () => {
    const bad = { ...request, runner: { ...request.runner, ports: ["http"] } };
    await expect(client().createLobby(bad)).rejects.toThrow("is not host:container");
    await expect(client().stopLobby({ lobby_id: "../" })).rejects.toThrow("is not a lobby id");
    expect(seen).toHaveLength(0);
  });
});

describe("the client", () => {
  it("creates, lists and stops with the paths and bodies of Wolf's API", async () => {
    answers.push(
      json({ success: true, lobby_id: lobbyId, new_field: 1 }),
      json({ success: true, lobbies: [listed] }),
      json({ success: true }),
    );
    const api = client();
    expect(await api.createLobby(request)).toEqual({ lobby_id: lobbyId });
    expect(await api.listLobbies()).toEqual([listed]);
    await api.stopLobby({ lobby_id: lobbyId, pin: [1, 2] });
    expect(seen).toEqual([
      {
        method: "POST",
        url: "/api/v1/lobbies/create",
        body: JSON.stringify(request),
        type: "application/json",
      },
      { method: "GET", url: "/api/v1/lobbies", body: "", type: undefined },
      {
        method: "POST",
        url: "/api/v1/lobbies/stop",
        body: JSON.stringify({ lobby_id: lobbyId, pin: [1, 2] }),
        type: "application/json",
      },
    ]);
  });

  it("keeps every digit of session ids that come as bare numbers, and unknown fields", async () => {
    answers.push(
      json(`{"success":true,"lobbies":[{"id":"${lobbyId}","name":"n","runner":{"type":"new","x":1},
        "connected_sessions":["10594003729173467913",10594003729173467913,7],"later":{"a":1}}]}`),
    );
    expect(await client().listLobbies()).toEqual([
      {
        id: lobbyId,
        name: "n",
        runner: { type: "new", x: 1 },
        connected_sessions: ["10594003729173467913", "10594003729173467913", "7"],
        later: { a: 1 },
      },
    ]);
  });

  it("reads a Wolf's description of itself", async () => {
    answers.push(json({ openapi: "3.1.0", paths: { "/api/v1/lobbies": {} } }));
    expect(await client().openApiSchema()).toEqual({ openapi: "3.1.0", paths: { "/api/v1/lobbies": {} } });
  });
});
