/** Who waits, by name: what people read is no id, and what they need for another command is there. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { QueueEntry } from "@wolfpack/api-contract";
import { machine } from "./edges.ts";
import { aSession, sessionId, userId } from "./objects.ts";
import { type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const waiting = (number: number, names: Partial<QueueEntry> = {}): QueueEntry => ({
  session_id: sessionId(number),
  owner_id: userId(number),
  position: number,
  priority: 4,
  queued_at: "2026-11-26T21:29:00.000Z",
  deadline: "2026-11-26T21:59:00.000Z",
  text: "None of 3 wolves fits: 3 full.",
  ...names,
});

let server: ScriptedServer;
let here: ReturnType<typeof machine>;
beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  here = machine(server.url);
});
afterEach(() => here.remove());

describe("wolfctl queue", () => {
  it("shows names of sessions and owners, and with --wide the ids too", async () => {
    server.on("GET /api/v1/queue", { body: [waiting(1, { name: "training-3", owner_name: "mara" })] });
    const { out } = await here.run(["queue"], { isTTY: true });
    expect(out).toContain("training-3");
    expect(out).not.toMatch(/(ses|usr)_/);
    const wide = (await here.run(["queue", "--wide"], { isTTY: true })).out;
    for (const text of ["training-3", "mara", sessionId(1)]) expect(wide).toContain(text);
    expect(wide).not.toContain("usr_");
    expect((await here.run(["queue", "-o", "name"])).out).toBe(`${sessionId(1)}\n`);
  });

  it("shows ids where a control plane of before says no names, or an owner is no more", async () => {
    server.on("GET /api/v1/queue", { body: [waiting(1), waiting(2, { name: "desk", owner_name: null })] });
    const { code, out } = await here.run(["queue", "--wide"], { isTTY: true });
    expect(code).toBe(0);
    for (const text of [sessionId(1), userId(1), "desk", userId(2)]) expect(out).toContain(text);
    expect(out).not.toMatch(/undefined|null/);
  });
});

describe("wolfctl queue beyond a page", () => {
  const entries = Array.from({ length: 450 }, (_unused, index) => waiting(index + 1));
  const serve = () =>
    server.on("GET /api/v1/queue", ({ query }) => {
      const from = entries.findIndex(({ session_id }) => session_id === query.get("cursor")) + 1;
      const body = entries.slice(from, from + Number(query.get("limit")));
      const next = `</api/v1/queue?limit=200&cursor=${body.at(-1)?.session_id}>; rel="next"`;
      return { body, headers: from + body.length < entries.length ? { link: next } : {} };
    });

  it("shows all that wait, each once", async () => {
    serve();
    const { code, out, err } = await here.run(["queue", "-o", "name"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out.trim().split("\n")).toEqual(entries.map(({ session_id }) => session_id));
  });

  it("shows as many as --limit says, and that there are more", async () => {
    serve();
    const { out, err } = await here.run(["queue", "-o", "name", "--limit", "250"]);
    expect(out.trim().split("\n")).toHaveLength(250);
    expect(err).toContain("There are more than 250: --limit all shows them.");
  });

  it.each(["0", "-1", "many"])("refuses --limit %s", async (limit) => {
    expect((await here.run(["queue", `--limit=${limit}`])).code).toBe(2);
  });
});

describe("wolfctl sessions show", () => {
  it("names the owner, and shows the id of one who is no more", async () => {
    const shown = async (owner_name: string | null) => {
      server.on(`GET /api/v1/sessions/${sessionId(1)}`, { body: aSession(1, { owner_name }) });
      return (await here.run(["sessions", "show", sessionId(1)])).out;
    };
    expect(await shown("mara")).toMatch(/owner +mara\n/);
    expect(await shown(null)).toMatch(new RegExp(`owner +${userId(1)}\n`));
  });
});
