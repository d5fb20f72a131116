/** `users show`, `change` and `enable`: by name or id, what is left out stays, and nobody else is meant. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { machine } from "./edges.ts";
import { aUser, aWolf, userId, wolfId } from "./objects.ts";
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
  server.on("GET /api/v1/users", ({ query }) => ({
    // A control plane of before gives all users, whatever the name.
    body: [aUser(1, { name: "ada" }), aUser(2, { name: "grace" })].filter(
      ({ name }) => query.get("name") !== "ada" || name === "ada",
    ),
  }));
  server.on(`GET /api/v1/users/${userId(2)}`, { body: aUser(2, { name: "grace", role: "operator" }) });
});
afterEach(() => here.remove());

const changes = () => server.asked.filter(({ method }) => method === "PATCH");

describe("users show", () => {
  it("shows one by name or by id, with quotas that are everybody's or their own", async () => {
    const { code, out } = await here.run(["users", "show", "ada"]);
    expect([code, server.asked[0]?.query.get("name")]).toEqual([0, "ada"]);
    expect(out).toMatch(/^ada\n {2}id +usr_0+1\n {2}role +user\n {2}state +enabled\n/);
    expect(out).toContain("at once: as everyone");
    server.on(`GET /api/v1/users/${userId(2)}`, {
      body: aUser(2, { name: "grace", disabled: true, sessions_max: 0, creates_per_minute: 30 }),
    });
    const grace = (await here.run(["users", "show", userId(2)])).out;
    expect(grace).toMatch(/state +disabled\n.*at once: 0\n.*per minute: 30\n/s);
    expect((await here.run(["users", "show", "grace", "-o", "name"])).out).toBe(`${userId(2)}\n`);
  });

  it("takes nobody else for who is meant, and says so with exit code 4", async () => {
    // Its answer has grace and ada, and neither is called that.
    expect(await here.run(["users", "show", "ad"])).toMatchObject({
      code: 4,
      out: "",
      err: "wolfctl: There is no user ad. (user-not-found)\n",
    });
    server.on(`GET /api/v1/users/${userId(9)}`, problem(404, "user-not-found", "There is none."));
    expect((await here.run(["users", "show", userId(9)])).code).toBe(4);
    server.on("GET /api/v1/users", problem(403, "forbidden", "Only admins."));
    expect((await here.run(["users", "show", "ada"])).code).toBe(3);
  });
});

describe("a user who is named in a filter", () => {
  const routes = {
    "--owner": "GET /api/v1/sessions",
    "--actor": "GET /api/v1/audit-events",
  };
  const of = { "--owner": "owner_id", "--actor": "actor_id" };
  const commands: [keyof typeof of, string[]][] = [
    ["--owner", ["sessions", "list"]],
    ["--actor", ["events"]],
    ["--actor", ["audit"]],
    ["--actor", ["audit", "export"]],
  ];
  const noWolf = problem(404, "wolf-not-found", "There is no such wolf instance.");
  beforeEach(() => {
    for (const route of [...Object.values(routes), "GET /api/v1/events"]) server.on(route, { body: [] });
    server.on("GET /api/v1/audit-events/export", {
      body: "",
      headers: { "content-type": "application/x-ndjson" },
    });
    for (const name of ["ada", "ad", "grace"]) server.on(`GET /api/v1/wolf-instances/${name}`, noWolf);
  });
  const askedFor = (flag: keyof typeof of) =>
    new Set(server.asked.map(({ query }) => query.get(of[flag])).filter((id) => id !== null));

  it.each(commands)("by %s of %j is found by name or id", async (flag, words) => {
    for (const who of ["ada", userId(1)])
      expect(await here.run([...words, flag, who])).toMatchObject({ code: 0 });
    expect(askedFor(flag)).toEqual(new Set([userId(1)]));
  });

  it.each(commands)("by %s of %j and is nobody ends with 4, and nothing is listed", async (flag, words) => {
    const { code, out, err } = await here.run([...words, flag, "ad"]);
    expect([code, out, askedFor(flag).size]).toEqual([4, "", 0]);
    expect(err).toMatch(/^wolfctl: There is (no user|neither a user nor a wolf) ad\. \(user-not-found\)\n$/);
  });

  it("may be a wolf for its agent, unless a user is called the same: then with 2 it asks for the id", async () => {
    server.on("GET /api/v1/wolf-instances/gpu-1", { body: aWolf(1) });
    expect((await here.run(["events", "--actor", "gpu-1"])).code).toBe(0);
    expect(askedFor("--actor")).toEqual(new Set([wolfId(1)]));
    server.on("GET /api/v1/wolf-instances/ada", { body: aWolf(2, { name: "ada" }) });
    expect(await here.run(["audit", "--actor", "ada"])).toMatchObject({
      code: 2,
      out: "",
      err: `wolfctl: Both a user and a wolf are called ada: say which is meant by its id, ${userId(1)} or ${wolfId(2)}.\n`,
    });
    expect((await here.run(["sessions", "list", "--owner", "ada"])).code).toBe(0);
  });

  it("may have a name that no wolf can have, and is asked for among users only", async () => {
    server.on("GET /api/v1/users", { body: [aUser(3, { name: "Ada L. / ops" })] });
    expect((await here.run(["events", "--actor", "Ada L. / ops"])).code).toBe(0);
    expect(askedFor("--actor")).toEqual(new Set([userId(3)]));
  });

  it("is oneself, or a wolf, for whoever may not look at users; anybody else ends with 3", async () => {
    server.on("GET /api/v1/users", problem(403, "forbidden", "Only admins."));
    server.on("GET /api/v1/me", { body: aUser(2, { name: "grace" }) });
    server.on("GET /api/v1/wolf-instances/gpu-1", { body: aWolf(1) });
    for (const words of [
      ["sessions", "list", "--owner", "grace"],
      ["events", "--actor", "grace"],
      ["events", "--actor", "gpu-1"],
    ])
      expect(await here.run(words)).toMatchObject({ code: 0 });
    expect(askedFor("--actor")).toEqual(new Set([userId(2), wolfId(1)]));
    for (const words of [
      ["sessions", "list", "--owner", "ada"],
      ["events", "--actor", "ada"],
    ])
      expect(await here.run(words)).toMatchObject({
        code: 3,
        err: "wolfctl: Only admins. (forbidden, request req-1)\n",
      });
  });

  it("is not taken for nobody where the control plane cannot say", async () => {
    server.on("GET /api/v1/users", problem(500, "internal", "No."));
    expect((await here.run(["events", "--actor", "ada"])).code).toBe(1);
    server.on("GET /api/v1/users", { body: [] });
    server.on("GET /api/v1/wolf-instances/ada", problem(503, "database-unavailable", "No."));
    expect((await here.run(["events", "--actor", "ada"])).code).toBe(5);
  });
});

describe("users change", () => {
  it("sends what was said and nothing else; default gives a quota back", async () => {
    server.on(`PATCH /api/v1/users/${userId(1)}`, ({ body }) => ({
      body: aUser(1, { name: "ada", ...(body as object) }),
    }));
    const { code, out } = await here.run(["users", "change", "ada", "--role", "operator"]);
    expect([code, out]).toEqual([0, `ada (${userId(1)}) is changed: operator.\n`]);
    await here.run(["users", "change", "ada", "--sessions-max", "5", "--creates-per-minute", "default"]);
    expect(changes().map(({ body }) => body)).toEqual([
      { role: "operator" },
      { sessions_max: 5, creates_per_minute: null },
    ]);
  });

  it.each([
    [[], "Nothing to change"],
    [["--sessions-max", "many"], "--sessions-max is a whole number"],
    [["--creates-per-minute", "-1"], ""],
    [["--role", "king"], "Allowed choices are"],
  ])("changes nothing with %j", async (flags, sentence) => {
    const { code, out, err } = await here.run(["users", "change", "ada", ...flags]);
    expect([code, out, changes()]).toEqual([2, "", []]);
    expect(err).toContain(sentence);
  });

  it("fails where the last admin would be none any more", async () => {
    server.on(`PATCH /api/v1/users/${userId(1)}`, problem(409, "last-admin", "It is the last admin."));
    expect(await here.run(["users", "change", "ada", "--role", "user"])).toMatchObject({ code: 1, out: "" });
  });
});

describe("users enable", () => {
  it("needs no question: nothing is lost by it", async () => {
    server.on(`PATCH /api/v1/users/${userId(2)}`, { body: aUser(2, { name: "grace" }) });
    const { code, out, edges } = await here.run(["users", "enable", userId(2)], { isTTY: true });
    expect([code, edges.questions, out]).toEqual([0, [], `grace (${userId(2)}) is enabled: user.\n`]);
    expect(changes()[0]?.body).toEqual({ disabled: false });
  });

  it("goes on to the next where one is not there", async () => {
    server.on(`PATCH /api/v1/users/${userId(2)}`, { body: aUser(2, { name: "grace" }) });
    const { code, out, err } = await here.run(["users", "enable", "nobody", "grace"]);
    expect([code, out]).toEqual([4, `grace (${userId(2)}) is enabled: user.\n`]);
    expect(err).toBe("wolfctl: nobody: There is no user nobody. (user-not-found)\n");
  });
});
