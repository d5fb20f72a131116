import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { importOrReload, isPartMissing, PartMissing } from "./part.ts";

const gone = () => Promise.reject(new TypeError("Failed to fetch dynamically imported module: /a.js"));

describe("a part of a page", () => {
  let reloads = 0;
  let kept: Map<string, string>;
  let stays: jest.Spied<typeof fetch>;
  const names = ["location", "sessionStorage"] as const;
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const);
  const put = (name: string, value: unknown) =>
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

  beforeEach(() => {
    reloads = 0;
    kept = new Map();
    put("location", { reload: () => (reloads += 1) });
    put("sessionStorage", {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
    });
    stays = jest.spyOn(globalThis, "fetch").mockResolvedValue(new Response("a page"));
  });

  afterEach(() => {
    stays.mockRestore();
    for (const [name, descriptor] of before)
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
  });

  /** Long enough for everything that waits for nothing. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  it("is what was loaded", async () => {
    expect(await importOrReload(async () => 7)).toBe(7);
    expect(reloads).toBe(0);
  });

  it("that is gone has the page loaded anew, and shows nothing of what goes away", async () => {
    let settled = false;
    importOrReload(gone).finally(() => {
      settled = true;
    });
    await settle();
    expect([reloads, settled]).toEqual([1, false]);
  });

  it("that is gone after that as well is a failure, not a circle", async () => {
    void importOrReload(gone);
    await settle();
    await expect(importOrReload(gone)).rejects.toBeInstanceOf(PartMissing);
    expect(reloads).toBe(1);
  });

  it("is a failure while nothing answers: the page would be lost altogether", async () => {
    stays.mockRejectedValue(new TypeError("Failed to fetch"));
    await expect(importOrReload(gone)).rejects.toBeInstanceOf(PartMissing);
    stays.mockResolvedValue(new Response("", { status: 503 }));
    await expect(importOrReload(gone)).rejects.toBeInstanceOf(PartMissing);
    expect(reloads).toBe(0);
  });

  it("is a failure where the browser remembers nothing", async () => {
    put("sessionStorage", undefined);
    await expect(importOrReload(gone)).rejects.toBeInstanceOf(PartMissing);
    expect(reloads).toBe(0);
  });

  it("is known to be missing by what browsers say", () => {
    expect(isPartMissing(new PartMissing("x"))).toBe(true);
    expect(isPartMissing(new TypeError("Failed to fetch dynamically imported module: /a.js"))).toBe(true);
    expect(isPartMissing(new TypeError("error loading dynamically imported module"))).toBe(true);
    expect(isPartMissing(new TypeError("Importing a module script failed."))).toBe(true);
    expect(isPartMissing(new TypeError("x is undefined"))).toBe(false);
    expect(isPartMissing("a text")).toBe(false);
  });
});
