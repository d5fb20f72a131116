/** The guard around a Wolf that is a function of this test: what reaches it, when, how often, and what the caller hears. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { lobbyRequest } from "../test/emulator-client.ts";
import { type AskWolf, createWolfGuard, type GuardOptions, UpstreamError, type WolfReply } from "./guard.ts";
import { WolfPolicy } from "./policy.ts";
import { classLimits } from "./routes.ts";

const utf8 = new TextEncoder();
const reply = (text: string, status = 200): WolfReply => ({
  status,
  contentType: undefined,
  body: utf8.encode(text),
});
const LIST = '{"success":true,"lobbies":[]}';
const broken = () => new UpstreamError("upstream-reply-broken", "cut");

type Asked = Parameters<AskWolf>[0] & {
  answer: (reply: WolfReply) => void;
  fail: (error: unknown) => void;
};

/** A Wolf that answers when the test says so. Its clock stands still, unless the test has one. */
function wolfByHand(rules: Partial<GuardOptions> & { open?: string[] } = {}) {
  const { open = [], ...options } = rules;
  const asked: Asked[] = [];
  const guard = createWolfGuard({
    ask: (request) =>
      new Promise((answer, fail) => {
        asked.push({ ...request, answer, fail });
      }),
    policy: WolfPolicy.parse({ open }),
    createsMax: 1,
    now: () => 0,
    ...options,
  });
  return { guard, asked };
}

interface Call {
  contentLength?: string;
  body?: string | readonly Uint8Array[] | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}
/** Callers that have not said when they leave: they do at the end of their test. */
let patient: AbortController[] = [];
afterEach(() => {
  for (const caller of patient) caller.abort();
  patient = [];
});
function aPatientOne(): AbortSignal {
  const caller = new AbortController();
  patient.push(caller);
  return caller.signal;
}

function request(method: string, path: string, { contentLength, body = "", signal }: Call = {}) {
  const chunks = typeof body === "string" ? (body === "" ? [] : [utf8.encode(body)]) : body;
  return {
    method,
    path: `/api/v1${path}`,
    contentLength,
    body: (async function* () {
      yield* chunks;
    })(),
    signal: signal ?? aPatientOne(),
  };
}
let lobbies = 0;
/** Each with a home of its own. */
const lobby = () =>
  JSON.stringify(lobbyRequest({ name: "a", runner_state_folder: `wolfpack/a${++lobbies}` }));
const STOP = '{"lobby_id":"136a065d"}';
const list = (call?: Call) => request("GET", "/lobbies", call);
const stop = (call?: Call) => request("POST", "/lobbies/stop", { body: STOP, ...call });
const create = (call?: Call) => request("POST", "/lobbies/create", { body: lobby(), ...call });
const PULL = "POST /api/v1/docker/images/pull";
const pull = () => request("POST", "/docker/images/pull", { body: '{"image_name":"x"}' });
const START = "POST /api/v1/runners/start";
const SESSIONS = "GET /api/v1/sessions";

/** All that can happen without an answer has happened. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
const refused = (code: string, status: number) => ({ ok: false, refusal: { code, status } });
const textOf = (got: { ok: boolean; body?: Uint8Array }) => new TextDecoder().decode(got.body);

describe("places", () => {
  it.each([
    ["read", list, classLimits.read.concurrentMax, classLimits.read.waitingMax, "queue-full"],
    ["change", stop, classLimits.change.concurrentMax, classLimits.change.waitingMax, "queue-full"],
    ["create", create, 3, classLimits.create.waitingMax, "create-queue-full"],
    ["pull", pull, 3, classLimits.pull.waitingMax, "queue-full"],
  ])(
    "of class %s are as many as the table says, and so are those who wait",
    async (_n, call, places, waiting, code) => {
      const { guard, asked } = wolfByHand({ createsMax: 3, open: [PULL] });
      const calls = Array.from({ length: Number(places) + waiting }, () => guard(call()));
      await settled();
      expect(asked).toHaveLength(Number(places));
      expect(await guard(call())).toMatchObject(refused(code, 503));
      asked[0]?.answer(reply('{"success":true,"lobby_id":"136a065d"}'));
      expect(await calls[0]).toMatchObject({ ok: true, status: 200 });
      await settled();
      expect(asked).toHaveLength(Number(places) + 1);
    },
  );

  it("of one class are not taken by another", async () => {
    const { guard, asked } = wolfByHand();
    for (let i = 0; i < 30; i += 1) void guard(create());
    await settled();
    expect(asked.map(({ path }) => path)).toEqual(["/api/v1/lobbies/create"]);
    const listed = guard(list());
    const stopped = guard(stop());
    await settled();
    for (const { path, answer } of asked) if (!path.endsWith("create")) answer(reply(LIST));
    expect([await listed, await stopped]).toMatchObject([{ status: 200 }, { status: 200 }]);
  });

  it("of creations and pulls are the same ones", async () => {
    const { guard, asked } = wolfByHand({ open: [PULL] });
    const pulled = guard(pull());
    const created = guard(create());
    await settled();
    expect(asked).toHaveLength(1);
    asked[0]?.answer(reply('{"layer_id":"1"}\r\n{"success":true}\r\n'));
    expect(await pulled).toMatchObject({ contentType: "application/x-ndjson" });
    await settled();
    asked[1]?.answer(reply('{"success":true,"lobby_id":"136a065d"}'));
    expect(await created).toMatchObject({ ok: true });
  });

  it.each([
    ["answered", (one: Asked) => one.answer(reply("{}"))],
    ["failed", (one: Asked) => one.fail(new UpstreamError("upstream-timeout", "late"))],
  ])("are kept for a caller that has gone, until Wolf has %s", async (_name, end) => {
    const { guard, asked } = wolfByHand();
    const gone = new AbortController();
    const first = guard(create({ signal: gone.signal }));
    await settled();
    gone.abort();
    expect(await first).toMatchObject(refused("cancelled", 499));
    const second = guard(create());
    await settled();
    expect(asked).toHaveLength(1);
    end(asked[0] as Asked);
    await settled();
    expect(asked).toHaveLength(2);
    asked[1]?.answer(reply("{}"));
    expect(await second).toMatchObject({ ok: true });
  });

  it("are not taken for a caller that gave up while it waited, or before", async () => {
    const { guard, asked } = wolfByHand();
    const gone = new AbortController();
    void guard(create());
    await settled();
    const waiting = guard(create({ signal: gone.signal }));
    await settled();
    gone.abort();
    expect(await waiting).toMatchObject(refused("cancelled", 499));
    expect(await guard(create({ signal: gone.signal }))).toMatchObject(refused("cancelled", 499));
    asked[0]?.answer(reply("{}"));
    await settled();
    expect(asked).toHaveLength(1);
  });

  it("are given back after an error that is none of Wolf's, which the caller gets", async () => {
    const { guard, asked } = wolfByHand();
    const first = guard(create());
    await settled();
    asked[0]?.fail(new TypeError("a fault"));
    await expect(first).rejects.toThrow("a fault");
    void guard(create());
    await settled();
    expect(asked).toHaveLength(2);
  });
});

describe("a body", () => {
  it.each(["abc", "", "-1", "+2", "1e3", "0x10", " 23", "23, 23", "9".repeat(20), "22", "24"])(
    "with a Content-Length of %j is refused before Wolf is asked",
    async (contentLength) => {
      const { guard, asked } = wolfByHand();
      expect(await guard(stop({ contentLength }))).toMatchObject(refused("content-length-invalid", 400));
      expect(asked).toEqual([]);
    },
  );

  it("with its own length passes, counted in bytes over all chunks", async () => {
    const { guard, asked } = wolfByHand();
    const bytes = utf8.encode(lobby().replace('"name":"a"', '"name":"Größe"'));
    // Cut within a character.
    const cut = bytes.indexOf(0xc3) + 1;
    const contentLength = String(bytes.length);
    void guard(create({ contentLength, body: [bytes.subarray(0, cut), bytes.subarray(cut)] }));
    await settled();
    expect(asked[0]?.body).toContain("Größe");
  });

  it.each([
    ["a byte that begins nothing", [0x22, 0xff, 0x22]],
    ["half a character", [0x22, 0xc3]],
    ["a surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ["a slash in two bytes", [0x22, 0xc0, 0xaf, 0x22]],
  ])("with %s is no UTF-8 and refused", async (_name, bytes) => {
    const { guard, asked } = wolfByHand();
    expect(await guard(stop({ body: [new Uint8Array(bytes)] }))).toMatchObject(refused("body-invalid", 400));
    expect(asked).toEqual([]);
  });

  it("of more than 64 KiB is not read on", async () => {
    const { guard } = wolfByHand();
    let read = 0;
    const body = (async function* () {
      for (; ; read += 1) yield new Uint8Array(16 * 1024);
    })();
    expect(await guard(stop({ body }))).toMatchObject(refused("body-too-large", 413));
    expect(read).toBe(4);
  });

  it("of a closed route is not read at all", async () => {
    const { guard } = wolfByHand();
    const body = (async function* () {
      yield await Promise.reject(new Error("it was read"));
    })();
    expect(await guard(request("POST", "/apps/add", { body }))).toMatchObject(refused("route-closed", 403));
  });

  it("that breaks off reaches no Wolf: the caller's fault is thrown, unless it gave up", async () => {
    const { guard, asked } = wolfByHand();
    const cut = (leave: () => void) =>
      (async function* () {
        yield utf8.encode(STOP.slice(0, 5));
        leave();
        throw new Error("cut");
      })();
    await expect(guard(stop({ body: cut(() => undefined) }))).rejects.toThrow("cut");
    const gone = new AbortController();
    const left = guard(stop({ body: cut(() => gone.abort()), signal: gone.signal }));
    expect(await left).toMatchObject(refused("cancelled", 499));
    expect(asked).toEqual([]);
  });
});

describe("Wolf is asked", () => {
  it("again for a GET whose reply was broken, at most 16 times in all", async () => {
    let tries = 0;
    const { guard } = wolfByHand({
      ask: () => {
        tries += 1;
        return tries < 16 ? Promise.reject(broken()) : Promise.resolve(reply(LIST));
      },
    });
    expect(await guard(list())).toMatchObject({ ok: true });
    expect(tries).toBe(16);
    tries = -1000;
    expect(await guard(list())).toMatchObject(refused("upstream-reply-broken", 502));
    expect(tries).toBe(-984);
  });

  it.each([
    ["a POST", stop, broken(), "upstream-reply-broken", 502],
    ["a GET that timed out", list, new UpstreamError("upstream-timeout", "late"), "upstream-timeout", 504],
    [
      "a GET that found nobody",
      list,
      new UpstreamError("upstream-unreachable", "no"),
      "upstream-unreachable",
      502,
    ],
  ])("once for %s", async (_name, call, error, code, status) => {
    const { guard, asked } = wolfByHand();
    const got = guard(call());
    await settled();
    asked[0]?.fail(error);
    expect(await got).toMatchObject(refused(code, status));
    expect(asked).toHaveLength(1);
  });

  it("within one timeout for all tries of a GET", async () => {
    let clock = 1000;
    const { guard, asked } = wolfByHand({ now: () => clock });
    const got = guard(list());
    for (const [tries, after] of [4000, 4000, 1999.5].entries()) {
      await settled();
      expect(asked).toHaveLength(tries + 1);
      clock += after;
      asked[tries]?.fail(broken());
    }
    await settled();
    expect(asked.map(({ timeoutMs }) => timeoutMs)).toEqual([10_000, 6000, 2000, 1]);
    clock += 1;
    asked[3]?.fail(broken());
    expect(await got).toMatchObject(refused("upstream-reply-broken", 502));
    expect(asked).toHaveLength(4);
  });

  it("within one timeout for the wait and the exchange of reads and changes; creations have their own", async () => {
    let clock = 0;
    const { guard, asked } = wolfByHand({ now: () => clock });
    const { read, change } = classLimits;
    for (let n = 0; n <= Number(read.concurrentMax); n += 1) void guard(list());
    for (let n = 0; n <= Number(change.concurrentMax); n += 1) void guard(stop());
    void guard(create());
    void guard(create());
    await settled();
    const before = asked.length;
    clock += 7000;
    for (const { path, answer } of asked.filter(
      ({ path }, n, all) => all.findIndex((one) => one.path === path) === n,
    ))
      answer(reply(path.endsWith("create") ? '{"success":true}' : LIST));
    await settled();
    expect(
      asked
        .slice(before)
        .map(({ timeoutMs }) => timeoutMs)
        .toSorted((a, b) => a - b),
    ).toEqual([3000, 3000, 25_000]);
  });

  it.each([
    ["read", list, "queue-full"],
    ["change", stop, "queue-full"],
    ["create", create, "create-queue-full"],
  ] as const)(
    "never for a %s that has waited too long for its place, which the next one gets",
    async (name, call, code) => {
      const short = { ...classLimits[name], concurrentMax: 1, waitMs: 1 };
      const { guard, asked } = wolfByHand({ limits: { ...classLimits, [name]: short } });
      void guard(call());
      await settled();
      expect(await guard(call())).toMatchObject(refused(code, 503));
      expect(asked).toHaveLength(1);
      asked[0]?.answer(reply(LIST));
      await settled();
      void guard(call());
      await settled();
      expect(asked).toHaveLength(2);
    },
  );

  it("with the timeout of the class", async () => {
    const { guard, asked } = wolfByHand({ createsMax: 2, open: [PULL] });
    for (const call of [list, stop, create, pull]) void guard(call());
    await settled();
    expect(asked.map(({ timeoutMs }) => timeoutMs).toSorted((a, b) => a - b)).toEqual([
      10_000, 10_000, 25_000, 600_000,
    ]);
  });

  it("no more once the caller has left, and its place is free then", async () => {
    const limits = { ...classLimits, read: { ...classLimits.read, concurrentMax: 1 } };
    const { guard, asked } = wolfByHand({ limits });
    const gone = new AbortController();
    const got = guard(list({ signal: gone.signal }));
    await settled();
    gone.abort();
    expect(await got).toMatchObject(refused("cancelled", 499));
    asked[0]?.fail(broken());
    await settled();
    expect(asked).toHaveLength(1);
    void guard(list());
    await settled();
    expect(asked).toHaveLength(2);
  });

  it("with the table's path and the body written anew", async () => {
    const { guard, asked } = wolfByHand();
    void guard(request("POST", "/%6cobbies/stop", { body: ' { "lobby_id" : "136a065d" } ' }));
    await settled();
    expect(asked).toMatchObject([{ method: "POST", path: "/api/v1/lobbies/stop", body: STOP }]);
  });
});

describe("a home", () => {
  it("is given to one sandbox, whatever became of it, and again only when Wolf was not there", async () => {
    const { guard, asked } = wolfByHand();
    const body = lobby();
    const first = guard(create({ body }));
    await settled();
    asked[0]?.fail(new UpstreamError("upstream-unreachable", "no"));
    expect(await first).toMatchObject(refused("upstream-unreachable", 502));
    const second = guard(create({ body }));
    await settled();
    asked[1]?.answer(reply("{}", 500));
    expect(await second).toMatchObject({ ok: true, status: 500 });
    expect(await guard(create({ body }))).toMatchObject(refused("state-folder-refused", 403));
    expect(asked).toHaveLength(2);
    void guard(create());
    await settled();
    expect(asked).toHaveLength(3);
  });
});

describe("a reply", () => {
  const answered = async (call: ReturnType<typeof list>, wolf: WolfReply | Error, rules: object = {}) => {
    let given = wolf;
    const guard = createWolfGuard({
      ask: async () => {
        const now = given;
        given = reply(LIST); // Whatever is asked for again.
        if (now instanceof Error) throw now;
        return now;
      },
      policy: WolfPolicy.parse({ open: [SESSIONS, PULL, START], ...rules }),
      createsMax: 1,
    });
    return guard(call);
  };

  it.each([
    ["is no JSON", reply("not found")],
    ["is cut", reply(LIST.slice(0, -1))],
    ["is empty", reply("")],
    ["is empty though a failure", reply("", 500)],
    ["is no UTF-8", { ...reply(""), body: new Uint8Array([0x22, 0xfe, 0x22]) }],
  ])("that %s counts as broken: a GET is repeated, a POST fails", async (_name, wolf) => {
    expect(textOf(await answered(list(), wolf))).toBe(LIST);
    expect(await answered(stop(), wolf)).toMatchObject(refused("upstream-reply-broken", 502));
  });

  it.each([10, 33_000])("is read to its end, %i characters as well", async (length) => {
    const long = (filled: string) => reply(`{"a":"${"x".repeat(length)}"${filled}}`);
    expect(textOf(await answered(list(), long(',"b":\u0000')))).toBe(LIST);
    expect(await answered(stop(), long(","))).toMatchObject(refused("upstream-reply-broken", 502));
    expect(await answered(stop(), long(""))).toMatchObject({ ok: true });
  });

  it.each([" {} \r\n", "[]", '"text"', "null"])("that is JSON like %j passes as it came", async (text) => {
    expect(textOf(await answered(stop(), reply(text)))).toBe(text);
  });

  it("of 404 without a body is Wolf's word for a route it does not have", async () => {
    expect(await answered(list(), reply("", 404))).toMatchObject({ ok: true, status: 404 });
  });

  it("goes on with Wolf's status, and with a type where Wolf gives none", async () => {
    const got = await answered(stop(), reply('{"success":false,"error":"Invalid lobby ID"}', 500));
    expect(got).toMatchObject({ ok: true, status: 500, contentType: "application/json" });
  });

  it("loses keys and PINs, also behind escapes, and keeps the digits of its ids", async () => {
    const sessions = '{"sessions":[{"client_id":10594003729173467913,"aes_key":"K","\\u0070in":[1],"x":1}]}';
    expect(textOf(await answered(request("GET", "/sessions"), reply(sessions)))).toBe(
      '{"sessions":[{"client_id":"10594003729173467913","x":1}]}',
    );
    const kept = await answered(request("GET", "/sessions"), reply(sessions), { secrets: true });
    expect(textOf(kept)).toBe(sessions);
  });

  it("of lines has to end in success", async () => {
    const lines = (...last: string[]) => reply(['{"layer_id":"1"}', ...last, ""].join("\r\n"));
    expect(await answered(pull(), lines('{"success":true}'))).toMatchObject({ ok: true });
    for (const wolf of [lines(), lines('{"success":false}'), lines('{"succ'), reply("")])
      expect(await answered(pull(), wolf)).toMatchObject(refused("upstream-reply-broken", 502));
    expect(await answered(pull(), reply('{"success":false,"error":"x"}', 500))).toMatchObject({
      status: 500,
    });
  });

  it("that never comes is a yes that nobody confirmed where Wolf has no other, and nowhere else", async () => {
    const start = request("POST", "/runners/start", {
      body: JSON.stringify({
        stop_stream_when_over: true,
        session_id: "1",
        runner: JSON.parse(lobby()).runner as object,
      }),
    });
    const got = await answered(start, broken());
    expect([got, textOf(got)]).toMatchObject([{ status: 202 }, '{"success":true,"confirmed":false}']);
    expect(await answered(stop(), broken())).toMatchObject(refused("upstream-reply-broken", 502));
  });
});
