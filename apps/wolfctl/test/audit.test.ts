/** The audit log by name: from its entries, and looked up where a control plane of before does not say names. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { machine } from "./edges.ts";
import { anAuditEvent, aUser, sessionId, userId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const ROUTE = "GET /api/v1/audit-events";
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

const shown = async () => (await here.run(["audit", "--wide"])).out;
const asked = () => server.asked.map(({ path }) => path);

describe("wolfctl audit", () => {
  it("names who did what to whom, and asks for nobody's name", async () => {
    server.on(ROUTE, { body: [anAuditEvent(1, { actor_name: "ops", object_name: "training-3" })] });
    const out = await shown();
    for (const text of ["session.stop", "ops", "training-3"]) expect(out).toContain(text);
    expect(out).not.toMatch(/(ses|usr)_/);
    expect(asked()).toEqual(["/api/v1/audit-events"]);
  });

  it("asks for every action that the log tells of, also one that no call is, and for no other", async () => {
    server.on(ROUTE, { body: [] });
    for (const action of ["session.stop", "agent.takeover"]) {
      server.asked.length = 0;
      expect((await here.run(["audit", "--action", action])).code).toBe(0);
      expect(server.asked.map(({ query }) => query.get("action"))).toEqual([action]);
    }
    server.asked.length = 0;
    expect((await here.run(["audit", "--action", "agent.takeovers"])).err).toContain("agent.takeover");
    expect(server.asked).toEqual([]);
  });

  it("shows ids of what has no name any more", async () => {
    server.on(ROUTE, { body: [anAuditEvent(1, { actor_name: null, object_name: null })] });
    const out = await shown();
    for (const text of [sessionId(1), userId(1)]) expect(out).toContain(text);
    expect(asked()).toEqual(["/api/v1/audit-events"]);
  });

  it("looks names up where a control plane of before says none, as far as this key may", async () => {
    server.on(ROUTE, { body: [anAuditEvent(1)] });
    server.on("GET /api/v1/users", { body: [aUser(1)] });
    expect(await shown()).toContain("user-1");
    server.on("GET /api/v1/users", problem(403, "forbidden", "Not yours."));
    expect(await shown()).toContain(userId(1));
  });
});
