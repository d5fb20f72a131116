/** What programs set, outside its bounds: ARGUMENT before anything starts, and nothing of it ever shows up at the peer. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { describe, expect, it } from "@jest/globals";
import type { Bounds } from "../src/bounds.ts";
import { createTunnel } from "../src/core-tunnel.ts";
import { forwardBounds } from "../src/http/forward.ts";
import { frontBounds } from "../src/http/front.ts";
import {
  type CloseOptions,
  createHttpAcceptor,
  createTunnelSet,
  type DialOptions,
  dialTunnel,
  dialTunnelSet,
  moveBack,
  type TunnelOptions,
} from "../src/index.ts";
import { defaultLimits, limitBounds, limitsOf } from "../src/limits.ts";
import {
  acceptorBounds,
  backoffBounds,
  checkTunnelOptions,
  closeBounds,
  dialBounds,
  dialSetBounds,
  moveBackBounds,
  setBounds,
  tunnelBounds,
} from "../src/options.ts";
import { ManualClock, memoryTransportPair, tunnelPair } from "../src/testing/index.ts";
import { failure, get } from "./support.ts";

/** What a table row refuses: beside its bounds, and what is no number at all. */
function wrong(name: string, [min, max]: Bounds): unknown[] {
  const values: unknown[] = [min - 1, Number.NaN, Number.POSITIVE_INFINITY, -5, "5", null, {}, 5n];
  if (max < Number.MAX_SAFE_INTEGER) values.push(max + 1);
  if (!name.endsWith("Ms")) values.push(min + 0.5);
  return values.filter(
    (value) => !(typeof value === "number" && value >= min && value <= max && Number.isInteger(value)),
  );
}

const rows = (table: Readonly<Record<string, Bounds>>) => Object.entries(table);
const cases = (table: Readonly<Record<string, Bounds>>) =>
  rows(table).flatMap(([name, bounds]) => wrong(name, bounds).map((value) => [name, value] as const));

/** The code with which a tunnel over memory refuses options, and that it has not begun. */
function refusal(options: TunnelOptions): string {
  let begun = false;
  const { left } = memoryTransportPair();
  const watched = Object.assign(Object.create(left), {
    start: () => {
      begun = true;
    },
  });
  try {
    createTunnel(watched, true, options);
  } catch (error) {
    expect(begun).toBe(false);
    return (error as Error).message;
  }
  return "none";
}

describe("limits outside their bounds", () => {
  it.each(cases(limitBounds))("are refused: %s of %p", (name, value) => {
    const message = refusal({ limits: { [name]: value } });
    expect(message).toMatch(/^ARGUMENT: /);
    expect(message).toContain(name);
  });

  it.each(rows(limitBounds))("may be as small and as large as the table says: %s", (name, [min, max]) => {
    const roomy = {
      messageBytesMax: 0x7fff_ffff,
      receiveBudgetBytes: Number.MAX_SAFE_INTEGER,
      windowInitialBytes: 1,
    };
    const small = { headBytesMax: 1024, dataBytesMax: 1024, noticeBytesMax: 1024 };
    for (const value of [min, max]) {
      const limits = { ...roomy, ...small, [name]: value };
      expect(limitsOf(limits)).toMatchObject({ [name]: value });
    }
  });

  it("are refused when they do not fit together, or do not exist", () => {
    expect(refusal({ limits: { messageBytesMax: 180_000 } })).toContain("messageBytesMax");
    expect(refusal({ limits: { windowInitialBytes: 1000, receiveBudgetBytes: 999 } })).toContain(
      "receiveBudgetBytes",
    );
    expect(refusal({ limits: { chanelsMax: 5 } as object })).toContain("chanelsMax");
    expect(refusal({ limits: 5 as unknown as object })).toContain("limits");
    expect(refusal({ limits: null as unknown as object })).toContain("limits");
  });

  it("are none where they are undefined", () => {
    const limits = { channelsMax: undefined } as unknown as TunnelOptions["limits"];
    expect(limitsOf(limits)).toEqual(defaultLimits);
  });
});

describe("options of a tunnel outside their bounds", () => {
  it.each(cases(tunnelBounds))("are refused: %s of %p", (name, value) => {
    expect(refusal({ [name]: value })).toMatch(new RegExp(`^ARGUMENT: ${name} `));
  });

  it.each([
    ["an incarnation of 1.5", { incarnation: 1.5 }],
    ["an incarnation below 0", { incarnation: -1 }],
    ["an incarnation beyond 2^53", { incarnation: 2 ** 60 }],
    ["an incarnation beyond 2^64", { incarnation: 2n ** 64n }],
    ["an incarnation in words", { incarnation: "one" }],
    ["an agent that is a number", { agent: 5 }],
    ["an agent of 256 bytes", { agent: "é".repeat(128) }],
    ["20 features of 255 bytes", { features: Array.from({ length: 20 }, () => "f".repeat(255)) }],
    ["a feature of 256 bytes", { features: ["f".repeat(256)] }],
    ["a feature without a name", { features: [""] }],
    ["300 features", { features: Array.from({ length: 300 }, () => "f") }],
    ["features in a text", { features: "a,b" }],
    ["a clock without timers", { clock: { now: () => 0 } }],
    ["a listener that cannot be called", { onHandlerError: "log" }],
  ])("are refused: %s", (_name, options) => {
    expect(refusal(options as TunnelOptions)).toMatch(/^ARGUMENT: /);
  });

  it.each([
    ["none at all", undefined],
    [
      "undefined ones",
      { pingIntervalMs: undefined, agent: undefined, features: undefined, incarnation: undefined },
    ],
    [
      "the largest there are",
      { incarnation: 2n ** 64n - 1n, agent: "a".repeat(255), pingIntervalMs: 0x7fff_ffff },
    ],
    ["a fraction of a millisecond", { pingIntervalMs: 10.5 }],
  ])("are taken: %s", (_name, options) => {
    checkTunnelOptions((options ?? {}) as TunnelOptions);
  });

  it("leave the largest HELLO that they allow readable", async () => {
    const names = Array.from({ length: 14 }, (_, n) => `${n}`.padEnd(255, "f"));
    const { left, right, ready } = tunnelPair({ both: { agent: "a".repeat(255), features: names } });
    await ready;
    expect(right.peer?.features).toEqual(names);
    left.destroy();
    await right.closed;
  });
});

describe("options of dialling outside their bounds", () => {
  it.each([...cases(dialBounds), ...cases(tunnelBounds)])(
    "are refused before anything is sent: %s of %p",
    async (name, value) => {
      const error = await failure(dialTunnel("ws://127.0.0.1:1/", { [name]: value }));
      expect(error).toMatchObject({ code: "ARGUMENT", message: expect.stringContaining(name) });
    },
  );

  it.each([
    ["a transport that does not exist", { transport: "carrier pigeon" }],
    ["limits outside their bounds", { limits: { messageBytesMax: Number.NaN } }],
  ])("are refused: %s", async (_name, options) => {
    const error = await failure(dialTunnel("ws://127.0.0.1:1/", options as DialOptions));
    expect(error.code).toBe("ARGUMENT");
    expect(() => dialTunnelSet("ws://127.0.0.1:1/", { connections: 1, ...(options as DialOptions) })).toThrow(
      "ARGUMENT",
    );
  });
});

describe("options of an end outside their bounds", () => {
  const bad: (readonly [string, unknown])[] = [
    ...cases(closeBounds),
    ["code", "CLOSED"],
    ["code", "PROTOCOL_VERSION"],
    ["reason", 5],
  ];

  it.each(bad)("are refused, and nothing ends: %s of %p", async (name, value) => {
    const { left, right, ready } = tunnelPair();
    await ready;
    const set = createTunnelSet();
    set.add(left);
    const options = { [name]: value } as CloseOptions;
    for (const closing of [left, set]) expect(() => closing.close(options)).toThrow("ARGUMENT");
    expect(left.draining).toBe(false);
    right.serve(() => ({ status: 204 }));
    expect((await left.request(get("/"))).status).toBe(204);
    left.destroy();
    await right.closed;
  });

  it("arrive as they are, to the largest", async () => {
    for (const [retryAfterMs, heard] of [
      [0xffff_ffff, 0xffff_ffff],
      [0.5, 1],
    ]) {
      const { left, right, ready } = tunnelPair();
      await ready;
      await left.close({ retryAfterMs: retryAfterMs as number });
      expect(await right.closed).toMatchObject({ code: "DRAINING", retryAfterMs: heard });
    }
  });
});

describe("options of sets outside their bounds", () => {
  it.each(cases(setBounds))("are refused: %s of %p", (name, value) => {
    expect(() => createTunnelSet({ [name]: value })).toThrow(new RegExp(`^ARGUMENT: ${name} `));
  });

  it.each([
    ...cases(dialSetBounds),
    ...cases(backoffBounds),
    ...cases(setBounds),
    ["connections", undefined] as const,
  ])("are refused before anything is dialled: %s of %p", (name, value) => {
    const dial = () => Promise.reject(new Error("not to be dialled"));
    const begin = () => dialTunnelSet("ws://127.0.0.1:1/", { connections: 1, dial, [name]: value });
    expect(begin).toThrow(new RegExp(`^ARGUMENT: ${name} `));
  });
});

describe("options of an acceptor and of moving back outside their bounds", () => {
  it.each(cases(acceptorBounds))("are refused: %s of %p", (name, value) => {
    expect(() => createHttpAcceptor({ [name]: value })).toThrow("ARGUMENT");
  });

  it.each(cases(moveBackBounds))("are refused: %s of %p", async (name, value) => {
    const { left, right } = tunnelPair();
    const dial = () => Promise.reject(new Error("not to be dialled"));
    const error = await failure(moveBack({ dial, tunnel: left, clock: new ManualClock(), [name]: value }));
    expect(error.code).toBe("ARGUMENT");
    left.destroy();
    await right.closed;
  });

  it("are refused by an acceptor before it answers", () => {
    const acceptor = createHttpAcceptor();
    const server = createServer();
    // No request is needed: options are looked at first.
    const open = () => acceptor.open(undefined as never, undefined as never, { pingIntervalMs: 0 });
    expect(open).toThrow("ARGUMENT");
    server.close();
  });
});

describe("the bounds", () => {
  const documented: [string, Readonly<Record<string, Bounds>>][] = [
    ["tunnel.ts", tunnelBounds],
    ["tunnel.ts", closeBounds],
    ["dialling.ts", dialBounds],
    ["http-accept.ts", acceptorBounds],
    ["move-back.ts", moveBackBounds],
    ["dial-set.ts", dialSetBounds],
    ["backoff.ts", backoffBounds],
    ["tunnel-set.ts", setBounds],
    ["http/front.ts", frontBounds],
    ["http/forward.ts", forwardBounds],
  ];

  it.each(
    documented.flatMap(([file, table]) => rows(table).map(([name, bounds]) => [file, name, bounds] as const)),
  )("are in the documentation: %s, %s", (file, name, [min, max]) => {
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8");
    const doc = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*${name}\\??: number`, "g");
    const comments = [...source.matchAll(doc)].map(
      ([, comment]) => comment?.replaceAll(/\n\s*\*/g, "") ?? "",
    );
    const [to, from] = [max.toLocaleString("en"), min > 0 ? `rom ${min.toLocaleString("en")} to ` : ""];
    expect(comments.filter((comment) => comment.includes(to) && comment.includes(from))).toHaveLength(1);
  });
});
