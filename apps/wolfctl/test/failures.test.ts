/** How commands end when things are not as they should be: exit codes, second tries, watching through an outage, Ctrl-C. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { columnsOf } from "../src/output/printable.ts";
import { machine } from "./edges.ts";
import { aSession, aWolf } from "./objects.ts";
import { type Answer, problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

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

describe("the exit code", () => {
  it.each([
    [401, "unauthenticated", 3],
    [403, "forbidden", 3],
    [403, "quota-exceeded", 1],
    [404, "wolf-not-found", 4],
    [400, "invalid-request", 2],
    [409, "wolf-has-sessions", 1],
    [500, "internal", 1],
    [503, "wolf-unreachable", 5],
    [504, "wolf-timeout", 5],
  ])("of %i %s is %i", async (status, code, exitCode) => {
    server.on("GET /api/v1/queue", problem(status, code, "No."));
    const ran = await here.run(["queue"]);
    expect([ran.code, ran.out]).toEqual([exitCode, ""]);
    expect(ran.err).toContain(`wolfctl: No. (${code}, request req-1)\n`);
  });

  it("of a server that is none of ours is 1, and the sentence asks whether that is its address", async () => {
    server.on("GET /api/v1/queue", {
      status: 502,
      body: "<html>bad gateway</html>",
      headers: { "content-type": "text/html" },
    });
    const { code, err } = await here.run(["queue"]);
    expect([code, err]).toEqual([
      1,
      expect.stringContaining("answered 502 in words that are not Wolfpack's"),
    ]);
    server.on("GET /api/v1/queue", { body: { hello: "world" } });
    expect((await here.run(["queue"])).err).toContain("what this version does not understand");
  });

  it("of a server that is not there is 5, and the sentence says why and where", async () => {
    const gone = await scriptedServer();
    await gone.stop();
    const { code, err } = await here.run(["queue"], { env: { ...here.env, WOLFPACK_URL: gone.url } });
    expect([code, err]).toEqual([
      5,
      `wolfctl: ${gone.url} cannot be reached: nothing listens there. (network-failed)\n`,
    ]);
    const unknown = await here.run(["queue"], {
      env: { ...here.env, WOLFPACK_URL: "http://no-such-host.invalid" },
    });
    expect([unknown.code, unknown.err]).toEqual([
      5,
      expect.stringMatching(/its name is not known|name service/),
    ]);
  });

  it("of a server that speaks no TLS is 5, and the question what is meant ends its sentence", async () => {
    const env = { ...here.env, WOLFPACK_URL: server.url.replace("http:", "https:") };
    const { code, err } = await here.run(["queue"], { env });
    expect([code, err]).toEqual([5, expect.stringMatching(/is it http:\/\/\? \(network-failed\)\n$/)]);
  });

  it("of nothing at all is 2 with help, of --help and --version 0", async () => {
    expect(await here.run([])).toMatchObject({ code: 2, out: expect.stringContaining("Usage: wolfctl") });
    expect(await here.run(["--help"])).toMatchObject({ code: 0, err: "" });
    expect(await here.run(["--version"])).toMatchObject({ code: 0, out: "0.1.0\n" });
    expect((await here.run(["wolvs"])).err).toContain("Did you mean wolves?");
    expect((await here.run(["\u001b[31mx"])).err).not.toContain("\u001b");
  });

  it("of a second page that leads elsewhere is not 0: redirects are not followed with a key", async () => {
    server.on("GET /api/v1/queue", { status: 302, headers: { location: "http://127.0.0.1:1/" } });
    const { code } = await here.run(["queue"]);
    expect(code).not.toBe(0);
  });
});

describe("an error on a terminal", () => {
  const long = `There is ${"no room for it and nothing else to be said, ".repeat(8)}that is all`;
  const WOLVES = ["wlf_00000000000000000000000001", "wlf_00000000000000000000000002"];
  beforeEach(() => {
    server.on("GET /api/v1/queue", problem(409, "intent-refused", long, { allowed: ["x".repeat(200)] }));
    for (const id of WOLVES)
      server.on(`POST /api/v1/wolf-instances/${id}/cordon`, problem(409, "intent-refused", long));
  });
  const failing: [string, string[]][] = [
    ["of the control plane", ["queue"]],
    ["of one of several", ["wolves", "cordon", ...WOLVES]],
    ["of a flag", ["audit", "list", "--action", "nonsense"]],
    ["of a name", ["wolves", "show", `${"a name ".repeat(30)}`]],
  ];

  it.each(failing)("%s takes lines of at most 80 columns, and no fewer words", async (_of, words) => {
    const env = { ...here.env, NO_COLOR: "1" };
    const wide = await here.run(words, { isTTY: false, env });
    const { code, err } = await here.run(words, { isTTY: true, columns: 80, env });
    expect([code, wide.code > 0]).toEqual([wide.code, true]);
    expect(err.split("\n").filter((line) => columnsOf(line) > 80)).toEqual([]);
    expect(err.split("\n").length).toBeGreaterThan(wide.err.split("\n").length);
    const letters = (text: string) => text.replace(/\s/g, "");
    expect(letters(err)).toBe(letters(wide.err));
  });

  it.each(failing)("%s stays one line where a program reads it", async (_of, words) => {
    const { err } = await here.run(words, { isTTY: false, columns: 80 });
    const firsts = err.split("\n").filter((line) => line.startsWith("wolfctl: "));
    expect(firsts).toHaveLength(words[1] === "cordon" ? 2 : 1);
    for (const line of firsts) expect(line.length).toBeGreaterThan(80);
  });

  it("leaves what is printed for programs alone, also where stderr is the same terminal", async () => {
    const region = "r".repeat(200);
    server.on("GET /api/v1/wolf-instances", { body: [aWolf(1, { region })] });
    const { out, err } = await here.run(["wolves", "list", "-o", "json"], { isTTY: true, columns: 80 });
    expect([JSON.parse(out), err]).toEqual([[aWolf(1, { region })], ""]);
  });
});

describe("what passes", () => {
  it("is asked for again, as the server says, when nothing is done twice by it", async () => {
    const answers = [
      { ...problem(429, "rate-limited", "Too much."), headers: { "retry-after": "2" } },
      { ...problem(503, "draining", "Shuts down."), headers: { "retry-after": "1" } },
      { body: [] },
    ];
    server.on("GET /api/v1/queue", () => answers.shift() ?? {});
    const { code, edges } = await here.run(["queue"]);
    expect([code, edges.pauses]).toEqual([0, [2000, 1000]]);
  });

  it("is told to the person where it lasts, or where the server wants to be left alone for long", async () => {
    server.on("GET /api/v1/queue", problem(503, "database-unavailable", "No database."));
    expect(await here.run(["queue"])).toMatchObject({ code: 5, edges: { pauses: [1000, 1000] } });
    server.on("GET /api/v1/queue", {
      ...problem(429, "rate-limited", "Too much."),
      headers: { "retry-after": "3600" },
    });
    expect(await here.run(["queue"])).toMatchObject({ code: 5, edges: { pauses: [] } });
  });

  it("is not asked for again where it would be done twice", async () => {
    server.on(
      "POST /api/v1/wolf-instances/wlf_00000000000000000000000001/readmit",
      problem(503, "database-unavailable", "No."),
    );
    await here.run(["wolves", "readmit", "wlf_00000000000000000000000001"]);
    expect(server.asked).toHaveLength(1);
  });
});

describe("--watch", () => {
  const AT = "2026-11-26T21:29:00.000Z";
  const watched = (isTTY: boolean, pauses: number, more: string[] = []) => {
    let left = pauses;
    return here.run(["wolves", "list", "--watch", "5", ...more], {
      isTTY,
      env: { ...here.env, NO_COLOR: "1" },
      onPause(edges) {
        left -= 1;
        if (left === 0) edges.stop.abort();
      },
    });
  };

  it("draws over what was there on a terminal, until Ctrl-C", async () => {
    server.on("GET /api/v1/wolf-instances", { body: [aWolf(1)] });
    const { code, out, edges } = await watched(true, 3);
    expect([code, edges.pauses]).toEqual([130, [5000, 5000, 5000]]);
    expect(out.split("\u001b[H\u001b[J")).toHaveLength(4);
  });

  it("prints what has changed where there is no terminal", async () => {
    const states = [[aWolf(1)], [aWolf(1)], [aWolf(1, { intent: "cordoned" })]];
    server.on("GET /api/v1/wolf-instances", () => ({ body: states.shift() ?? [] }));
    const { out } = await watched(false, 3);
    expect(out.match(/^NAME/gm)).toHaveLength(2);
    expect(out).toContain("cordoned");
    expect(out).not.toContain("\u001b");
  });

  it.each(["table", "json", "yaml", "name"])(
    "prints nothing as %s while only time and figures go on",
    async (format) => {
      let seconds = 0;
      server.on("GET /api/v1/wolf-instances", () => {
        seconds += 10;
        const last_heartbeat = new Date(seconds * 1000).toISOString();
        const tunnel = { epoch: 3, since: last_heartbeat, rtt_ms: seconds, protocol: "revdial" } as const;
        const changes = { last_heartbeat, updated_at: last_heartbeat, tunnel: { ...tunnel, since: AT } };
        return { body: [aWolf(1, changes)] };
      });
      const { out } = await watched(false, 5, ["-o", format]);
      expect(out.match(/gpu-1/g)).toHaveLength(1);
    },
  );

  it("waits for a control plane that restarts, says so once, and goes on", async () => {
    let asked = 0;
    server.on("GET /api/v1/wolf-instances", (_asked, response) => {
      asked += 1;
      if (asked === 1 || asked > 7) return { body: [aWolf(asked)] };
      response.destroy();
      return undefined;
    });
    const { out, err } = await watched(false, 9);
    expect(err.match(/Tries again/g)).toHaveLength(1);
    expect(out).toContain("gpu-8");
  });

  it("waits also where a proxy answers in place of the control plane", async () => {
    const answers: Answer[] = [{ body: [aWolf(1)] }, { status: 502, body: "<html>" }];
    server.on("GET /api/v1/wolf-instances", () => answers.shift() ?? { body: [aWolf(2)] });
    const { code, out, err } = await watched(false, 4);
    expect([code, err.match(/Tries again/g)?.length]).toEqual([130, 1]);
    expect(out).toContain("gpu-2");
  });

  it("ends where it fails at once, or where what fails does not pass", async () => {
    server.on("GET /api/v1/wolf-instances", problem(503, "draining", "Shuts down."));
    expect((await watched(false, 9)).code).toBe(5);
    const answers = [{ body: [aWolf(1)] }, problem(401, "unauthenticated", "Revoked.")];
    server.on("GET /api/v1/wolf-instances", () => answers.shift() ?? {});
    expect((await watched(false, 9)).code).toBe(3);
    expect((await here.run(["queue", "--watch", "0"])).code).toBe(2);
  });
});

describe("Ctrl-C", () => {
  it("ends a call that is not answered, with 130 and without a word", async () => {
    const stop = new AbortController();
    server.on("GET /api/v1/queue", () => {
      stop.abort();
      return new Promise(() => undefined);
    });
    expect(await here.run(["queue"], { stop })).toMatchObject({ code: 130, out: "", err: "" });
  });

  it("while a question is asked does nothing", async () => {
    const stop = new AbortController();
    stop.abort();
    const { code } = await here.run(["wolves", "drain", "gpu-1"], { isTTY: true, stop, answers: ["y"] });
    expect([code, server.asked]).toEqual([130, []]);
  });
});

describe("what a control plane of a later version says", () => {
  const newer = (word: string) => ({
    ...aWolf(1),
    status: "degraded",
    health: word,
    health_reasons: [{ code: word, detail: "3 of 4" }],
    gpu_type: word,
    host: undefined,
    cooling: { of: "later" },
  });

  it.each(["table", "json", "yaml", "name"])(
    "is shown as %s, with words that are not known here",
    async (format) => {
      server.on("GET /api/v1/wolf-instances", { body: [newer("fan-stuck")] });
      const { code, out } = await here.run(["wolves", "list", "-o", format]);
      expect(code).toBe(0);
      expect(out).toContain(format === "name" ? "gpu-1" : "fan-stuck");
    },
  );

  it("is shown without its control characters, also in colour", async () => {
    const word = "fan\u001b[2J\u0007\u009b31m";
    server.on("GET /api/v1/wolf-instances", { body: [newer(word)] });
    for (const format of ["table", "json", "yaml"]) {
      const { code, out } = await here.run(["wolves", "list", "-o", format], { isTTY: true });
      expect([format, code]).toEqual([format, 0]);
      for (const harmful of ["\u001b[2J", "\u0007", "\u009b"]) expect(out).not.toContain(harmful);
    }
  });

  it("is shown where it is a session's status, and a problem keeps its code", async () => {
    server.on("GET /api/v1/sessions", { body: [{ ...aSession(1), status: "hibernating" }] });
    server.on("GET /api/v1/wolf-instances", { body: [aWolf(1)] });
    const { code, out } = await here.run(["sessions", "list", "--all"], { isTTY: true });
    expect([code, out]).toEqual([0, expect.stringContaining("hibernating")]);
    server.on("GET /api/v1/queue", problem(409, "fleet-asleep", "It is night."));
    expect((await here.run(["queue"])).err).toContain("It is night. (fleet-asleep");
  });

  it("is refused where it is more than a word, and what is sent is checked as ever", async () => {
    server.on("GET /api/v1/wolf-instances", { body: [{ ...aWolf(1), max_sandboxes: "many" }] });
    expect((await here.run(["wolves", "list"])).err).toContain("what this version does not understand");
    server.asked.length = 0;
    expect((await here.run(["wolves", "list", "--status", "melting"])).code).toBe(2);
    expect(server.asked).toEqual([]);
  });
});
