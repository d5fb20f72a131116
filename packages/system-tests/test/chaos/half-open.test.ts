/**
 * Links whose packets vanish, both ways and one way only, with each agent in a network namespace of its own: nobody is told, and both
 * sides find out within the design's bound, by what they write themselves.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { WolfInstance } from "@wolfpack/api-contract";
import { downsOf, type TunnelDown } from "../../src/chaos/suite.ts";
import { Stack } from "../../src/stack.ts";
import { type CutLink, type Direction, makeNamespace, type Namespace, whyNoLink } from "./namespace.ts";

/** A peer is dead after 14.5 s of silence, and less than 15 s. */
const DETECTED_MS_MAX = 15_000;
const cuts: readonly [name: string, directions: readonly Direction[]][] = [
  ["both-ways", ["inward", "outward"]],
  ["to-agent", ["inward"]],
  ["from-agent", ["outward"]],
  ["not-at-all", []],
];

const why = whyNoLink();
if (why !== undefined)
  process.stderr.write(`skipped: half-open links, for no network namespace can be made here: ${why}\n`);
const withLinks = why === undefined ? describe : describe.skip;

withLinks("a tunnel whose packets vanish", () => {
  const places: Namespace[] = [];
  const links = new Map<string, CutLink>();
  const downs = new Map<string, TunnelDown[]>();
  let stack: Stack;
  let dataDir: string;
  let crashes: string[];

  const wolf = async (name: string): Promise<WolfInstance> => {
    const [found] = (await stack.client().listWolves({ query: { name } })).body;
    if (found === undefined) throw new Error(`there is no wolf ${name}`);
    return found;
  };
  const connectivityOf = async (name: string): Promise<string[]> => {
    const { body } = await stack.client().listEvents({
      query: { kind: "wolf.connectivity", wolf_instance_id: (await wolf(name)).id, limit: 200 },
    });
    return body.map(({ detail }) => String(detail.to));
  };
  const isThere = async (name: string) => {
    const { connectivity, reconciled } = await wolf(name);
    return connectivity === "connected" && reconciled === true;
  };

  beforeAll(async () => {
    dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-half-open-"));
    crashes = [];
    stack = await Stack.start({
      dataDir,
      port: 0,
      hosts: [],
      // Not on loopback: agents come from namespaces of their own.
      env: { HOST: "0.0.0.0" },
      say: () => undefined,
      onCrash: (name) => void crashes.push(name),
    });
    const { port } = new URL(stack.baseUrl);
    for (const [name] of cuts) {
      const place = makeNamespace();
      places.push(place);
      const link = place.link();
      links.set(name, link);
      await stack.startHost({
        name,
        gpu: "nvidia",
        maxSandboxes: 2,
        apiUrl: `http://${link.near}:${port}`,
        agentThrough: place.through,
      });
    }
    for (const [name] of cuts) await stack.until(`${name} has joined`, () => isThere(name));
    for (const [name, directions] of cuts) links.get(name)?.drop(directions);
    for (const [name, directions] of cuts)
      if (directions.length > 0)
        await stack.until(`the loss of ${name} is known to both`, async () => {
          const found = downsOf(stack.logFolder, name, (await wolf(name)).id);
          downs.set(name, found);
          const heard = new Set(found.map(({ by }) => by));
          return heard.size === 2 && (await connectivityOf(name)).includes("suspect");
        });
    for (const link of links.values()) link.heal();
    for (const [name] of cuts) await stack.until(`${name} is back`, () => isThere(name), 45_000);
  }, 150_000);

  afterAll(async () => {
    await stack?.stop();
    for (const place of places) place.remove();
    rmSync(dataDir, { recursive: true, force: true });
    expect(crashes).toEqual([]);
  }, 60_000);

  it("both ways is found dead by both sides, each within 15 s", () => {
    const found = downs.get("both-ways") ?? [];
    expect(found.map(({ by, code }) => [by, code])).toEqual([
      ["control plane", "DEAD_PEER"],
      ["agent", "DEAD_PEER"],
    ]);
    for (const { silentMs } of found) expect(silentMs).toBeLessThan(DETECTED_MS_MAX);
  });

  it.each([
    ["to-agent", "agent"],
    ["from-agent", "control plane"],
  ] as const)("one way only (%s) is found dead by the side that hears nothing, within 15 s", (name, by) => {
    const found = downs.get(name) ?? [];
    const deaf = found.filter((down) => down.by === by);
    expect(deaf).toMatchObject([{ code: "DEAD_PEER" }]);
    expect(deaf[0]?.silentMs).toBeLessThan(DETECTED_MS_MAX);
    // The other one hears of it, or finds it by itself.
    expect(found.filter((down) => down.by !== by)).toMatchObject([
      { code: expect.stringMatching(/^(TRANSPORT_LOST|DEAD_PEER)$/) },
    ]);
  });

  it.each(cuts.filter(([, directions]) => directions.length > 0).map(([name]) => name))(
    "makes the wolf suspect and never lost, and it is back when packets come again (%s)",
    async (name) => {
      expect(await connectivityOf(name)).toEqual(["connected", "suspect", "connected"]);
      expect((await wolf(name)).tunnel?.epoch).toBe(2);
    },
  );

  it("costs the others nothing: a link beside it keeps its tunnel", async () => {
    expect(await connectivityOf("not-at-all")).toEqual(["connected"]);
    expect((await wolf("not-at-all")).tunnel?.epoch).toBe(1);
  });
});
