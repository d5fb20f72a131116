/** `users show`, `change` and `enable`: by name or id, what is left out stays, and nobody else is meant. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { machine } from "./edges.ts";
import { aUser, userId } from "./objects.ts";
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
      err: "wolfctl: There is no user ad.\n",
    });
    server.on(`GET /api/v1/users/${userId(9)}`, problem(404, "user-not-found", "There is none."));
    expect((await here.run(["users", "show", userId(9)])).code).toBe(4);
    server.on("GET /api/v1/users", problem(403, "forbidden", "Only admins."));
    expect((await here.run(["users", "show", "ada"])).code).toBe(3);
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
    expect(err).toBe("wolfctl: nobody: There is no user nobody.\n");
  });
});
