import { describe, expect, it } from "@jest/globals";
import type { WolfInstance } from "@wolfpack/api-contract";
import { regionsWith } from "./regions.ts";

const slots = { max: 4, claimed: 1, other: 0 };
const wolf = (name: string, replica: string | null, over: Partial<WolfInstance> = {}) =>
  ({
    name,
    region: "eu",
    intent: "active",
    connectivity: "connected",
    connected_sandboxes: 1,
    max_sandboxes: 4,
    capacity: { slots },
    tunnel: { epoch: 1, since: "", rtt_ms: null, replica },
    ...over,
  }) as unknown as WolfInstance;

describe("regions", () => {
  it("count whose tunnels each replica holds", () => {
    const [region] = regionsWith([wolf("a", "rep_1"), wolf("b", "rep_2"), wolf("c", "rep_1")]);
    expect(region?.tunnels).toBe(3);
    expect([...(region?.heldBy ?? [])]).toEqual([
      ["rep_1", 2],
      ["rep_2", 1],
    ]);
  });

  it.each([
    ["has no tunnel", { tunnel: null }],
    ["is suspect", { connectivity: "suspect" as const }],
    ["has a tunnel of an earlier version's replica", { tunnel: { epoch: 1, since: "", rtt_ms: null } }],
  ])("count none for a wolf that %s", (_, over) => {
    const [region] = regionsWith([wolf("a", "rep_1", over)]);
    expect([...(region?.heldBy ?? [])]).toEqual([]);
  });

  it("leave out what is retired", () => {
    expect(regionsWith([wolf("a", "rep_1", { intent: "retired" })])).toEqual([]);
  });
});
