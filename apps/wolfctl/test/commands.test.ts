/** Commands against a control plane that answers as it is told: what they ask, what they print, how they end. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { columnsOf } from "../src/output/printable.ts";
import { KEY, machine } from "./edges.ts";
import { aKey, aSession, aToken, aUser, aWolf, HOSTILE, sessionId, userId, wolfId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

let server: ScriptedServer;
let here: ReturnType<typeof machine>;

beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  server.asked.length = 0;
  here = machine(server.url);
});
afterEach(() => here.remove());

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const tooWide = (text: string) => text.split("\n").filter((line) => columnsOf(line) > 80);

describe("a list", () => {
  it("shows a key as bearer and everything within 80 columns", async () => {
    server.on("GET /api/v1/wolf-instances", {
      body: [
        aWolf(1),
        aWolf(2, {
          name: "n".repeat(63),
          gpu_model: "NVIDIA GeForce RTX 4090 with a name that does not end",
        }),
      ],
    });
    const { code, out, err } = await here.run(["wolves", "list"]);
    expect([code, err]).toEqual([0, ""]);
    expect(server.asked[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(tooWide(out)).toEqual([]);
    expect(out).toMatch(/^NAME +STATUS +GPU +SLOTS .*\ngpu-1 +online +nvidia +█░░░░ 2\/10 /);
    expect(out).not.toContain("\u001b");
  });

  it("follows pages until there are as many as wanted, and says that there are more", async () => {
    server.on("GET /api/v1/users", ({ query }) => {
      const from = Number((query.get("cursor") ?? userId(0)).slice(4));
      const limit = Number(query.get("limit"));
      const body = Array.from({ length: limit }, (_, index) => aUser(from + index + 1));
      return {
        body,
        headers: { link: `</api/v1/users?limit=${limit}&cursor=${userId(from + limit)}>; rel="next"` },
      };
    });
    const { out, err } = await here.run(["users", "list", "-o", "name", "--limit", "450"]);
    expect(out.trim().split("\n")).toHaveLength(450);
    expect(new Set(out.trim().split("\n")).size).toBe(450);
    expect(err).toContain("There are more than 450");
    expect(server.asked.map(({ query }) => query.get("limit"))).toEqual(["200", "200", "50"]);
  });

  it("of wolves has the control plane filter, so that one behind the limit is not missed", async () => {
    server.on("GET /api/v1/wolf-instances", ({ query }) => ({
      // As if a thousand others came before it.
      body: query.get("region") === "eu" && query.get("intent") === "cordoned" ? [aWolf(1001)] : [],
    }));
    const words = ["wolves", "list", "--region", "eu", "--intent", "cordoned", "-o", "name"];
    expect(await here.run(words)).toMatchObject({ code: 0, out: "gpu-1001\n", err: "" });
    await here.run(["wolves", "list"]);
    expect([...(server.asked.at(-1)?.query.keys() ?? [])]).toEqual(["limit"]);
    server.on("GET /api/v1/wolf-instances", problem(400, "invalid-request", "It does not fit."));
    expect((await here.run(["wolves", "list", "--region", ""])).code).toBe(2);
    expect(server.asked.at(-1)?.query.get("region")).toBe("");
  });

  it("does not follow a link that leads to where it came from", async () => {
    server.on("GET /api/v1/join-tokens", {
      body: [],
      headers: { link: '</api/v1/join-tokens?cursor=jtk_1>; rel="next"' },
    });
    expect((await here.run(["tokens", "list"])).code).toBe(0);
    expect(server.asked).toHaveLength(1);
  });

  it("is JSON or YAML as the API has it, names alone, or a sentence where there is nothing", async () => {
    const wolves = [aWolf(1), aWolf(2)];
    server.on("GET /api/v1/wolf-instances", { body: wolves });
    expect(JSON.parse((await here.run(["wolves", "list", "-o", "json"])).out)).toEqual(wolves);
    expect((await here.run(["-o", "yaml", "wolves", "list"])).out).toContain(
      `- id: ${wolfId(1)}\n  name: gpu-1\n`,
    );
    expect((await here.run(["wolves", "list", "-o", "name"])).out).toBe("gpu-1\ngpu-2\n");
    server.on("GET /api/v1/wolf-instances", { body: [] });
    expect(await here.run(["wolves", "list"])).toMatchObject({
      code: 0,
      out: "",
      err: "There are no wolves that fit.\n",
    });
    expect(await here.run(["wolves", "list", "-o", "json"])).toMatchObject({ out: "[]\n", err: "" });
  });
});

describe("what a host has written", () => {
  it("is harmless in errors, which are a sentence with its code and the request's id", async () => {
    server.on(
      "GET /api/v1/queue",
      problem(409, "intent-refused", `It is ${HOSTILE}`, { allowed: [HOSTILE] }),
    );
    const { code, out, err } = await here.run(["queue"]);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain("(intent-refused, request req-1)");
    expect(err).toContain("\\x1b[2J");
    expect(err.split("\n").filter((line) => unsafe.test(line))).toEqual([]);
  });

  it("is harmless in a clipboard on a terminal, and whole in a file", async () => {
    server.on(`GET /api/v1/sessions/${sessionId(1)}/clipboard`, { body: { text: `a\n${HOSTILE}` } });
    const shown = await here.run(["sessions", "clipboard", sessionId(1)], { isTTY: true });
    expect(shown.out).toMatch(/^a\n\\x1b\[2J/);
    const led = await here.run(["sessions", "clipboard", sessionId(1)]);
    expect(led.out).toBe(`a\n${HOSTILE}`);
  });

  it("is no screenshot unless it begins as an image, and none for a terminal", async () => {
    const route = `GET /api/v1/sessions/${sessionId(1)}/screenshot`;
    const file = path.join(here.home, "shot.png");
    server.on(route, { body: "<html>", headers: { "content-type": "image/png" } });
    const refused = await here.run(["sessions", "screenshot", sessionId(1), "--file", file]);
    expect([refused.code, existsSync(file)]).toEqual([1, false]);
    const png = Buffer.from("89504e470d0a1a0a0000", "hex");
    server.on(route, { body: png, headers: { "content-type": "image/png" } });
    expect((await here.run(["sessions", "screenshot", sessionId(1), "--file", file])).out).toContain("10 B");
    expect(readFileSync(file)).toEqual(png);
    expect((await here.run(["sessions", "screenshot", sessionId(1), "--file", "-"])).out).toBe(
      png.toString("latin1"),
    );
    expect(
      (await here.run(["sessions", "screenshot", sessionId(1), "--file", "-"], { isTTY: true })).code,
    ).toBe(2);
  });

  it("is given up where a reply does not end", async () => {
    server.on(`GET /api/v1/sessions/${sessionId(1)}/screenshot`, {
      body: Buffer.alloc(65 * 1024 * 1024),
      headers: { "content-type": "image/png" },
    });
    const { code, err } = await here.run(["sessions", "screenshot", sessionId(1)]);
    expect([code, err]).toEqual([5, expect.stringContaining("the reply is larger than 64 MiB")]);
  });
});

describe("a wolf is named", () => {
  it("by its name where the operation takes only an id", async () => {
    server.on("GET /api/v1/wolf-instances/gpu-1", { body: aWolf(1) });
    server.on(`POST /api/v1/wolf-instances/${wolfId(1)}/cordon`, { body: aWolf(1, { intent: "cordoned" }) });
    const { code, out } = await here.run(["wolves", "cordon", "gpu-1", "--reason", "a new driver"]);
    expect([code, out]).toEqual([0, "gpu-1 is cordoned.\n"]);
    expect(server.asked.at(-1)?.body).toEqual({ reason: "a new driver" });
  });

  it("for maintenance, with the reason that was given or none", async () => {
    const body = aWolf(1, { intent: "maintenance", connectivity: "lost", status: "offline" });
    server.on(`POST /api/v1/wolf-instances/${wolfId(1)}/maintenance`, { body });
    const told = await here.run(["wolves", "maintain", wolfId(1), "--reason", "a new fan"]);
    expect([told.code, told.out, told.err]).toEqual([0, "gpu-1 is maintenance (lost).\n", ""]);
    expect((await here.run(["wolf", "maintain", wolfId(1), "-o", "name"])).out).toBe("gpu-1\n");
    expect(server.asked.map((asked) => asked.body)).toEqual([{ reason: "a new fan" }, {}]);
    const refusal = problem(409, "intent-refused", "It is retired.", { allowed: ["active"] });
    server.on(`POST /api/v1/wolf-instances/${wolfId(1)}/maintenance`, refusal);
    expect(await here.run(["wolves", "maintain", wolfId(1)])).toMatchObject({
      code: 1,
      out: "",
      err: "wolfctl: It is retired. (intent-refused, request req-1)\n  allowed: active\n",
    });
  });

  it("several at once: each is tried, each failure is said, the first decides the exit code", async () => {
    server.on(
      `POST /api/v1/wolf-instances/${wolfId(1)}/uncordon`,
      problem(404, "wolf-not-found", "There is none."),
    );
    server.on(`POST /api/v1/wolf-instances/${wolfId(2)}/uncordon`, { body: aWolf(2) });
    const { code, out, err } = await here.run(["wolves", "uncordon", wolfId(1), wolfId(2)]);
    expect([code, out]).toEqual([4, "gpu-2 is online.\n"]);
    expect(err).toBe(`wolfctl: ${wolfId(1)}: There is none. (wolf-not-found, request req-1)\n`);
  });

  it("never by what would lead to another route", async () => {
    for (const name of ["..", "../sessions", "a/b", "a?b", ""]) {
      const { code } = await here.run(["wolves", "cordon", name]);
      expect([name, code]).toEqual([name, 2]);
    }
    expect(server.asked).toEqual([]);
  });
});

describe("what cannot be undone", () => {
  const destroying = [
    ["wolves", "drain", wolfId(1)],
    ["wolves", "retire", wolfId(1)],
    ["sessions", "stop", sessionId(1)],
    ["keys", "revoke", `key_${"0".repeat(26)}`],
    ["tokens", "revoke", `jtk_${"0".repeat(26)}`],
    ["users", "disable", userId(1)],
  ];

  it.each(destroying)("is refused without --yes where nobody can be asked: %s %s", async (...words) => {
    const { code, err } = await here.run(words);
    expect([code, server.asked]).toEqual([2, []]);
    expect(err).toContain("--yes");
  });

  it.each(destroying)("is not done where the answer is not yes: %s %s", async (...words) => {
    for (const answer of ["", "n", "yess", "nein"]) {
      const { code, err, edges } = await here.run(words, {
        isTTY: true,
        answers: [answer],
        env: { ...here.env, NO_COLOR: "1" },
      });
      expect([code, err]).toEqual([1, "wolfctl: Nothing was changed.\n"]);
      expect(edges.questions[0]).toMatch(/\?\s.*\[y\/N\] $/s);
      expect(tooWide(edges.questions[0] ?? "")).toEqual([]);
    }
    expect(server.asked).toEqual([]);
  });

  it("is done once it was said so", async () => {
    server.on(`DELETE /api/v1/sessions/${sessionId(1)}`, { status: 204 });
    expect((await here.run(["sessions", "stop", sessionId(1), "--yes", "--force"])).code).toBe(0);
    expect(server.asked[0]?.query.get("force")).toBe("true");
    expect((await here.run(["sessions", "stop", sessionId(1)], { isTTY: true, answers: ["y"] })).code).toBe(
      0,
    );
  });

  it("is drained until nothing is left, if so asked", async () => {
    const draining = (left: number) =>
      aWolf(1, {
        intent: "draining",
        drain: {
          started_at: "2026-11-26T21:00:00.000Z",
          deadline: "2026-11-26T22:00:00.000Z",
          sessions_at_start: 2,
          sessions_left: left,
          // biome-ignore lint/suspicious/noThenProperty: a word of the API
          then: "retired",
        },
      });
    const states = [draining(2), draining(2), draining(1), aWolf(1, { intent: "retired" })];
    server.on(`POST /api/v1/wolf-instances/${wolfId(1)}/drain`, { body: draining(2) });
    server.on(`GET /api/v1/wolf-instances/${wolfId(1)}`, () => ({ body: states.shift() }));
    const { code, out, err } = await here.run([
      "wolves",
      "drain",
      wolfId(1),
      "--yes",
      "--deadline",
      "30m",
      "--then",
      "retired",
      "--wait",
    ]);
    expect([code, out]).toEqual([0, "gpu-1 is draining, 2 left.\ngpu-1 is drained and retired.\n"]);
    expect(server.asked[0]?.body).toEqual(JSON.parse('{"deadline_seconds":1800,"then":"retired"}'));
    expect(err.match(/sessions? of 2 left/g)).toHaveLength(2);
  });
});

describe("creating a session", () => {
  it("asks for what the flags say, under one key for all tries", async () => {
    let tries = 0;
    server.on("POST /api/v1/sessions", (_asked, response) => {
      tries += 1;
      if (tries > 1) return { status: 201, body: aSession(1) };
      response.destroy();
      return undefined;
    });
    server.on(`GET /api/v1/wolf-instances/${wolfId(1)}`, { body: aWolf(1) });
    const flags = [
      "--gpu",
      "nvidia",
      "--label",
      "zone=a=b",
      "--where",
      "wolf:name!=x,y",
      "--where",
      "!spot",
      "--resolution",
      "1280x720@30",
      "--ttl",
      "8h",
      "--on-loss",
      "replace",
      "--no-queue",
      "--policy",
      "weighted",
      "--weight",
      "cost=2.5",
    ];
    const { code, out } = await here.run(["sessions", "create", ...flags]);
    expect([code, out]).toEqual([0, `${sessionId(1)} is running on gpu-1.\n`]);
    const [first, second] = server.asked;
    expect(first?.body).toEqual({
      gpu_type: "nvidia",
      labels: { zone: "a=b" },
      constraints: [
        { attribute: "wolf:name", op: "not-in", values: ["x", "y"] },
        { attribute: "spot", op: "absent", values: [] },
      ],
      resolution: { width: 1280, height: 720, refresh_rate: 30 },
      ttl_seconds: 28_800,
      disconnect_policy: "replace",
      policy: "weighted",
      weights: { cost: 2.5 },
      queue: false,
      wait_seconds: 60,
    });
    expect(first?.headers["idempotency-key"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(second?.headers["idempotency-key"]).toBe(first?.headers["idempotency-key"]);
  });

  it("says what would fit where nothing does", async () => {
    server.on(
      "POST /api/v1/sessions",
      problem(422, "placement-impossible", "No wolf has an intel GPU.", {
        counterfactuals: [{ text: "It would fit on nvidia." }, null, { text: 5 }],
      }),
    );
    const { code, err } = await here.run(["sessions", "create"]);
    expect([code, err]).toEqual([
      1,
      "wolfctl: No wolf has an intel GPU. (placement-impossible, request req-1)\n  It would fit on nvidia.\n",
    ]);
  });

  it.each([
    [["--ttl", "soon"], "--ttl is a time"],
    [["--resolution", "big"], "--resolution is a size"],
    [["--label", "zone"], "--label is name=value"],
    [["--where", "a=,"], ""],
    [["--where", "=a"], "--where is"],
    [["--wait", "10m"], "--wait is at most 120 s"],
    [["--priority", "-1"], ""],
    [["--gpu", "voodoo"], "Allowed choices are nvidia"],
    [["--weight", "cost=x"], "--weight is part=number"],
    [["--pin-file", "/nonexistent"], "it does not exist"],
    [["--nonsense"], "unknown option '--nonsense'"],
    [["extra"], "too many arguments"],
  ])("refuses %j before or by the control plane, with exit code 2", async (flags, sentence) => {
    server.on(
      "POST /api/v1/sessions",
      problem(400, "invalid-request", "The request does not fit.", {
        errors: [{ path: "body.x", message: "wrong" }],
      }),
    );
    const { code, out, err } = await here.run(["sessions", "create", ...flags]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(sentence);
  });

  it("takes a PIN from a file of its own, never from the command line", async () => {
    const file = path.join(here.home, "pin");
    writeFileSync(file, "12345\n");
    server.on("POST /api/v1/sessions", { status: 201, body: aSession(1, { wolf_instance_id: null }) });
    const { out, err } = await here.run(["sessions", "create", "--pin-file", file]);
    expect(server.asked[0]?.body).toMatchObject({ pin: "12345" });
    expect(out + err).not.toContain("12345");
  });
});

describe("extending a session", () => {
  const route = `POST /api/v1/sessions/${sessionId(1)}/extend`;

  it("says until when it lives, counted from now", async () => {
    const session = aSession(1, { expires_at: "2026-11-27T05:30:00.000Z" });
    server.on(route, { body: session });
    const { code, out } = await here.run(["sessions", "extend", sessionId(1), "--ttl", "8h"]);
    expect([code, out]).toEqual([0, `${sessionId(1)} lives until 2026-11-27T05:30:00.000Z.\n`]);
    expect(server.asked[0]?.body).toEqual({ ttl_seconds: 28_800 });
    const led = await here.run(["sessions", "extend", sessionId(1), "--ttl", "8h", "-o", "json"]);
    expect(JSON.parse(led.out)).toEqual(session);
  });

  it.each([
    [[sessionId(1)], "required option '--ttl <time>' not specified"],
    [[sessionId(1), "--ttl", "tomorrow"], "--ttl is a time such as"],
    [["desk", "--ttl", "8h"], "desk is no session's id"],
    [["--ttl", "8h"], "missing required argument 'session'"],
  ])("asks nobody where it is not said what is meant: %j", async (words, sentence) => {
    const { code, out, err } = await here.run(["sessions", "extend", ...words]);
    expect([code, out, server.asked]).toEqual([2, "", []]);
    expect(err).toContain(sentence);
  });

  it("fails where the session has ended", async () => {
    server.on(route, problem(409, "session-ended", "It has ended."));
    expect(await here.run(["sessions", "extend", sessionId(1), "--ttl", "1h"])).toMatchObject({
      code: 1,
      out: "",
      err: "wolfctl: It has ended. (session-ended, request req-1)\n",
    });
  });
});

describe("a secret that is shown once", () => {
  const made = { ...aKey(0), key: "wpk_made-and-shown-once" };

  it("is the only thing on stdout, or in a file that nobody else can read", async () => {
    server.on("POST /api/v1/api-keys", { status: 201, body: made });
    expect((await here.run(["keys", "create", "ci", "--scope", "read"])).out).toBe(
      "wpk_made-and-shown-once\n",
    );
    const file = path.join(here.home, "ci-key");
    const led = await here.run(["keys", "create", "ci", "--to", file, "-o", "json"]);
    expect(led.out + led.err).not.toContain("shown-once");
    expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual([
      "wpk_made-and-shown-once\n",
      0o600,
    ]);
    const asked = server.asked.length;
    expect(await here.run(["keys", "create", "ci", "--to", file])).toMatchObject({
      code: 2,
      err: expect.stringContaining("exists already"),
    });
    expect(server.asked).toHaveLength(asked);
  });

  it("comes with what to do on the host, without the token in a command line", async () => {
    const token = { ...aToken(0, { wolf_name: "gpu-9" }), token: "wjt_made-and-shown-once" };
    server.on("POST /api/v1/join-tokens", { status: 201, body: token });
    const { out, err } = await here.run(["tokens", "create", "--wolf", "gpu-9"]);
    expect(out).toBe("wjt_made-and-shown-once\n");
    expect(err).toContain("--wolf-id gpu-9");
    expect(err).toContain("--join-token-file /etc/wolfpack/join-token");
    expect(err).not.toContain("wjt_");
  });
});
