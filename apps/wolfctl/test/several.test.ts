/** A command for several objects, and one that watches: programs find as many documents as there are objects or looks. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { parseAllDocuments } from "yaml";
import { machine, type Options } from "./edges.ts";
import { aSession, aWolf, HOSTILE, keyId, sessionId, tokenId, wolfId } from "./objects.ts";
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

type Form = "json" | "yaml";
const forms = ["json", "yaml"] as const;
const documentsOf: Record<Form, (text: string) => unknown[]> = {
  // Whatever begins at the margin begins the next one, as jq reads it.
  json: (text) =>
    text
      .split(/(?<=^[}\]])\n+(?=.)/m)
      .filter((one) => one.trim() !== "")
      .map((one) => JSON.parse(one)),
  yaml: (text) => {
    const found = parseAllDocuments(text);
    if (!Array.isArray(found)) return [];
    expect(found.flatMap(({ errors }) => errors)).toEqual([]);
    return found.map((one) => one.toJS());
  },
};
async function documents(form: Form, words: readonly string[], options: Partial<Options> = {}) {
  const { code, out, err } = await here.run([...words, "--yes", "-o", form], options);
  return { code, err, found: documentsOf[form](out) };
}

describe.each(forms)("several objects as %s", (form) => {
  it("are one document each, in the order in which they were named", async () => {
    const wolves = [2, 1].map((number) => aWolf(number, { intent: "cordoned", labels: { a: HOSTILE } }));
    for (const wolf of wolves) server.on(`POST /api/v1/wolf-instances/${wolf.id}/cordon`, { body: wolf });
    const { code, found } = await documents(form, ["wolves", "cordon", wolfId(2), wolfId(1)]);
    expect([code, found]).toEqual([0, wolves]);
    expect((await documents(form, ["wolves", "cordon", wolfId(1)])).found).toEqual([wolves[1]]);
  });

  it("are one document each where a session has ended, still stops, or could not be stopped", async () => {
    const stopping = aSession(2, { status: "stopping" });
    server.on(`DELETE /api/v1/sessions/${sessionId(1)}`, { status: 204 });
    server.on(`DELETE /api/v1/sessions/${sessionId(2)}`, { status: 202, body: stopping });
    server.on(
      `DELETE /api/v1/sessions/${sessionId(3)}`,
      problem(404, "session-not-found", "There is no such session."),
    );
    const stop = ["sessions", "stop", ...[1, 2, 3].map(sessionId)];
    const { code, err, found } = await documents(form, stop);
    expect(code).toBe(4);
    expect(err).toBe(
      `wolfctl: ${sessionId(3)}: There is no such session. (session-not-found, request req-1)\n`,
    );
    expect(found).toEqual([
      { id: sessionId(1), status: "stopped" },
      stopping,
      {
        object: sessionId(3),
        error: {
          code: "session-not-found",
          detail: "There is no such session. (session-not-found, request req-1)",
          exit_code: 4,
        },
      },
    ]);
  });

  it("are a document also where there is one alone, and it fails", async () => {
    server.on(`DELETE /api/v1/sessions/${sessionId(1)}`, problem(403, "forbidden", "Not yours."));
    const { code, err, found } = await documents(form, ["sessions", "stop", sessionId(1)]);
    expect([code, err]).toEqual([3, "wolfctl: Not yours. (forbidden, request req-1)\n"]);
    expect(found).toMatchObject([{ object: sessionId(1), error: { code: "forbidden", exit_code: 3 } }]);
    const gone = await scriptedServer();
    await gone.stop();
    const env = { ...here.env, WOLFPACK_URL: gone.url };
    expect((await documents(form, ["sessions", "stop", sessionId(1)], { env })).found).toMatchObject([
      { error: { code: "network-failed", exit_code: 5 } },
    ]);
  });

  it.each([
    ["keys", "api-keys", keyId],
    ["tokens", "join-tokens", tokenId],
  ] as const)("are one document each where %s are revoked", async (group, route, id) => {
    for (const number of [1, 2]) server.on(`DELETE /api/v1/${route}/${id(number)}`, { status: 204 });
    expect((await documents(form, [group, "revoke", id(1), id(2)])).found).toEqual([
      { id: id(1), revoked: true },
      { id: id(2), revoked: true },
    ]);
    expect((await here.run([group, "revoke", id(1), "--yes", "-o", "name"])).out).toBe(`${id(1)}\n`);
  });

  it("are one document for each look of --watch that found something new", async () => {
    const looks = [[aWolf(1)], [aWolf(1)], [aWolf(1, { intent: "cordoned" })], []];
    const given = [...looks];
    let left = looks.length;
    server.on("GET /api/v1/wolf-instances", () => ({ body: given.shift() ?? [] }));
    const { code, found } = await documents(form, ["wolves", "list", "--watch"], {
      onPause(edges) {
        left -= 1;
        if (left === 0) edges.stop.abort();
      },
    });
    expect([code, found]).toEqual([130, [looks[0], looks[2], looks[3]]]);
  });
});
