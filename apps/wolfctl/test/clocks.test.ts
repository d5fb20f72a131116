/** How far the clock of a wolf's host is off, as `wolves show` has it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { paintFor } from "../src/output/style.ts";
import { wolfOne } from "../src/views/wolf-view.ts";
import { machine } from "./edges.ts";
import { aWolf, wolfId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const tunnel = { epoch: 3, since: "2026-11-26T21:29:00.000Z", rtt_ms: 12.3, protocol: "revdial" } as const;

describe("the clock of a host", () => {
  /** The line of it, with its colours; undefined where there is none. */
  function clockLine(clock_offset_ms: number | null | undefined): string | undefined {
    const wolf = aWolf(1, { tunnel: { ...tunnel, clock_offset_ms } });
    const shown = { wolf, sessions: [], moreSessions: false, line: null };
    const text = wolfOne(0).text(shown, { width: 80, paint: paintFor(true, {}) });
    return text.split("\n").find((line) => line.includes("clock"));
  }

  it("is said to be ahead or behind, and stands out from 30 s", () => {
    const plain = clockLine(29_999);
    expect(plain).toMatch(/29 s ahead/);
    expect(plain).not.toContain("\u001b[33m");
    for (const [ms, words] of [
      [120_000, "2 min ahead"],
      [-30_000, "30 s behind"],
    ] as const) {
      expect(clockLine(ms)).toContain(words);
      expect(clockLine(ms)).toContain("\u001b[33m");
    }
    expect(clockLine(0)).toContain("less than 1 s off");
  });

  it("is left out where it is not known, as with an earlier control plane", () => {
    expect([clockLine(null), clockLine(undefined)]).toEqual([undefined, undefined]);
    const away = { wolf: aWolf(1, { tunnel: null }), sessions: [], moreSessions: false, line: null };
    expect(wolfOne(0).text(away, { width: 80, paint: paintFor(false, {}) })).not.toContain("clock");
  });
});

describe("wolves show", () => {
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

  const answers = (clock_offset_ms: unknown) => {
    const body = { ...aWolf(1), tunnel: { ...tunnel, clock_offset_ms } };
    server.on("GET /api/v1/wolf-instances/gpu-1", { body });
    server.on(`GET /api/v1/wolf-instances/${wolfId(1)}/tunnel`, problem(503, "wolf-unreachable", "Gone."));
    server.on("GET /api/v1/sessions", { body: [] });
  };

  it("has the clock among what it says of the tunnel", async () => {
    answers(-130_000);
    const { code, out } = await here.run(["wolves", "show", "gpu-1"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^ *clock +2 min 10 s behind$/m);
    const json = JSON.parse((await here.run(["wolves", "show", "gpu-1", "-o", "json"])).out) as object;
    expect(JSON.stringify(json)).toContain('"clock_offset_ms":-130000');
  });

  it.each(["soon", 1.5, [30_000]])(
    "says that an answer is none of this API where it is %j",
    async (offset) => {
      answers(offset);
      const { code, out } = await here.run(["wolves", "show", "gpu-1"]);
      expect([code, out]).toEqual([1, ""]);
    },
  );
});
