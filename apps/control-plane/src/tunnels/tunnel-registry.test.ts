import { describe, expect, it } from "@jest/globals";
import type { Tunnel } from "revdial";
import { TunnelRegistry } from "./tunnel-registry.ts";

const entry = (epoch: number, draining = false) => ({ tunnel: { draining } as Tunnel, epoch });

describe("the registry of tunnels", () => {
  it("dials the newest tunnel of a key, and none for an unknown one", () => {
    const registry = new TunnelRegistry();
    const [first, second] = [entry(1), entry(2)];
    expect(registry.register("a", first)).toBeUndefined();
    expect(registry.register("a", second)).toBe(first);
    expect(registry.dial("a")).toBe(second.tunnel);
    expect(registry.dial("b")).toBeUndefined();
    expect(registry.list()).toEqual([["a", second]]);
  });

  it("refuses a tunnel of an older or the same epoch and keeps the one it has", () => {
    const registry = new TunnelRegistry();
    const current = entry(5);
    registry.register("a", current);
    expect(registry.register("a", entry(4))).toBe(false);
    expect(registry.register("a", entry(5))).toBe(false);
    expect(registry.get("a")).toBe(current);
  });

  it("does nothing at a late removal of an older tunnel", () => {
    const registry = new TunnelRegistry();
    registry.register("a", entry(1));
    registry.register("a", entry(2));
    expect(registry.remove("a", 1)).toBe(false);
    expect(registry.dial("a")).toBeDefined();
    expect(registry.remove("a", 2)).toBe(true);
    expect(registry.remove("a", 2)).toBe(false);
    expect(registry.list()).toEqual([]);
  });

  it("does not dial a tunnel that takes no new requests, but still knows it", () => {
    const registry = new TunnelRegistry();
    registry.register("a", entry(1, true));
    expect(registry.dial("a")).toBeUndefined();
    expect(registry.get("a")?.epoch).toBe(1);
  });
});
