/** `placements preview`: where a session would go, told for people and for programs. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { machine } from "./edges.ts";
import { aPreview, aSession, aWolf, wolfId } from "./objects.ts";
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
  server.on(`GET /api/v1/wolf-instances/${wolfId(1)}`, { body: aWolf(1) });
  server.on(`GET /api/v1/wolf-instances/${wolfId(2)}`, problem(403, "forbidden", "Not yours."));
});
afterEach(() => here.remove());

const ROUTE = "POST /api/v1/placements/preview";
const explanation = aSession(1).placement;
const waits = aPreview({
  outcome: "queued",
  wolf_instance_id: null,
  queue_position: 3,
  explanation: {
    ...explanation,
    outcome: "not-now",
    ranked: [],
    removed: [
      { filter: "capacity", count: 2 },
      { filter: "region", count: 1 },
    ],
    counterfactuals: [
      {
        change: "slots",
        value: null,
        wolf_instance_id: wolfId(1),
        text: `It would fit if ${wolfId(1)} had a free slot.`,
      },
    ],
    text: "No wolf has a free slot.",
  },
});
const impossible = aPreview({
  outcome: "impossible",
  wolf_instance_id: null,
  explanation: {
    ...explanation,
    outcome: "impossible",
    candidates: 0,
    ranked: [],
    removed: [],
    text: "No wolf has an intel GPU.",
  },
});

describe("a preview", () => {
  it("names the wolf that it would run on, with all that was looked at", async () => {
    const ranked = [
      { wolf_instance_id: wolfId(1), load: 0.2, score: 0.8, parts: { load: 0.8 } },
      { wolf_instance_id: wolfId(2), load: 0.5, score: 0.5, parts: {} },
    ];
    server.on(ROUTE, { body: aPreview({ explanation: { ...explanation, ranked } }) });
    const { code, out, err } = await here.run(["placements", "preview", "--gpu", "nvidia", "--vram", "8192"]);
    expect([code, err]).toEqual([0, ""]);
    expect(server.asked[0]?.body).toEqual({ gpu_type: "nvidia", resources: { vram_mb: 8192 } });
    expect(out).toMatch(/^It would run on gpu-1\.\n\nWhy\n {2}gpu-1 has the lowest load \(2 of 10\)\.\n/);
    expect(out).toMatch(/gpu_type +1 +another kind of GPU\n/);
    // Whose name it may not know stays an id.
    expect(out).toMatch(new RegExp(`→ +gpu-1 +20 % +0\\.80 +room 0\\.80\\n +${wolfId(2)} +50 % +0\\.50`));
  });

  it("says that it would wait, where in the queue, and what would have to change", async () => {
    server.on(ROUTE, { body: waits });
    const { code, out } = await here.run(["placements", "preview"]);
    expect([code, server.asked[0]?.body]).toEqual([0, {}]);
    expect(out).toMatch(/^It would wait in the queue, as number 3\.\n/);
    expect(out).toMatch(/capacity +2 +no free slot\n +region +1 +another region\n/);
    expect(out).toContain(
      "What would have to change\n- It would fit if gpu-1 had a free slot.\n".replace("- ", "  - "),
    );
    server.on(ROUTE, { body: { ...waits, queue_position: null } });
    expect((await here.run(["placements", "preview"])).out).toMatch(/^It would wait in the queue\.\n/);
  });

  it("says of each wolf why a better score stands lower, where not all are as wished", async () => {
    const row = { wolf_instance_id: wolfId(1), load: 0.5, score: 0.5, parts: {} };
    const tiers = ["as-wished", "other-region", "degraded", "degraded-other-region"] as const;
    const ranked = [...tiers.map((tier) => ({ ...row, tier })), row];
    const shown = async (some: typeof explanation.ranked) => {
      server.on(ROUTE, { body: aPreview({ explanation: { ...explanation, ranked: some } }) });
      return (await here.run(["placements", "preview", "--wide"])).out;
    };
    const out = await shown(ranked);
    expect(out).toMatch(/ WOLF +TIER +LOAD +SCORE/);
    for (const words of ["as wished", "another region", "degraded", "degraded, another region", "–"])
      expect(out).toMatch(new RegExp(` gpu-1 +${words} +50 % +0\\.50`));
    for (const same of [[row], [{ ...row, tier: "as-wished" as const }]])
      expect(await shown(same)).not.toContain("TIER");
  });

  it("asks with the priority, and whether it would wait, as it would be made", async () => {
    server.on(ROUTE, { body: waits });
    await here.run(["placements", "preview", "--priority", "2", "--no-queue"]);
    expect(server.asked[0]?.body).toEqual({ priority: 2, queue: false });
    expect(await here.run(["placements", "preview", "--priority", "high"])).toMatchObject({ code: 2 });
  });

  it.each([
    ["quota-exceeded", 20, 20, "you may have no more sessions at once (20 of 20; quota-exceeded)"],
    ["rate-limited", 31, 30, "you may create no more within a minute (31 of 30; rate-limited)"],
    ["queue-full", 9, 9, "there is no room, and no more may wait in the queue (9 of 9; queue-full)"],
    ["no-capacity", null, null, "there is no room, and it is not to wait (no-capacity)"],
    ["moon-full", null, null, "The moon is full (moon-full)"],
  ] as const)("says that it would be refused, and by what: %s", async (code, current, limit, words) => {
    const refusal = { code: code as "no-capacity", current, limit, text: "The moon is full" };
    server.on(ROUTE, { body: { ...waits, outcome: "refused", queue_position: null, refusal } });
    const { code: exit, out } = await here.run(["placements", "preview"]);
    expect([exit, out.split("\n")[0]]).toEqual([0, `It would be refused: ${words}.`]);
    expect(await here.run(["placements", "preview", "-o", "name"])).toMatchObject({ code: 0, out: "" });
  });

  it("says that no wolf could ever take it: an answer, and no failure", async () => {
    server.on(ROUTE, { body: impossible });
    const { code, out, err } = await here.run(["placements", "preview", "--gpu", "intel"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(
      /^No wolf that is known could ever take it\.\n\nWhy\n {2}No wolf has an intel GPU\.\n/,
    );
    expect(out).not.toMatch(/Left out|Ranked|What would have to change/);
  });

  it("is the API's own for programs; by name alone the wolf, or nothing where it would wait", async () => {
    for (const preview of [aPreview(), waits, impossible]) {
      server.on(ROUTE, { body: preview });
      expect(JSON.parse((await here.run(["placements", "preview", "-o", "json"])).out)).toEqual(preview);
      expect(await here.run(["placements", "preview", "-o", "name"])).toMatchObject({
        code: 0,
        out: preview.outcome === "placed" ? "gpu-1\n" : "",
        err: "",
      });
    }
  });

  it("asks nobody where a flag is wrong, and says which field the control plane refuses", async () => {
    expect((await here.run(["placements", "preview", "--vram", "much"])).err).toContain("--vram is a whole");
    expect(server.asked).toEqual([]);
    const errors = [{ path: "body.region_required", message: "needs a region" }];
    server.on(ROUTE, problem(400, "invalid-request", "The request does not fit.", { errors }));
    expect(await here.run(["placements", "preview", "--region-required"])).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("\n  body.region_required: needs a region\n"),
    });
  });
});
