import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { AgentCapabilities, AgentHeartbeat } from "@wolfpack/api-contract";
import { type AskWolf, UpstreamError, type WolfReply } from "@wolfpack/wolf-api";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import { createLogger } from "../../logger.ts";
import { type WolfWatch, watchWolf } from "./wolf-watch.ts";

const schema = {
  paths: {
    "/api/v1/sessions": { get: {} },
    "/api/v1/lobbies": { get: {} },
    "/api/v1/lobbies/create": { post: {} },
    "/api/v1/lobbies/stop": { post: {} },
  },
};

let clock: ManualClock;
let watch: WolfWatch;
let asked: string[];
let lobbies: () => Promise<WolfReply>;
let description: () => Promise<WolfReply>;
let beats: unknown[];
let capabilities: unknown[];

const json = (status: number, value: unknown): WolfReply => ({
  status,
  contentType: "application/json",
  body: Buffer.from(JSON.stringify(value)),
});
const answers = (reply: WolfReply) => async () => reply;
const fails = (error: UpstreamError) => () => Promise.reject(error);
const unreachable = new UpstreamError("upstream-unreachable", "nobody there");
const silent = () => new Promise<never>(() => undefined);

beforeEach(() => {
  clock = manualClock();
  asked = [];
  beats = [];
  capabilities = [];
  lobbies = answers(json(200, { success: true, lobbies: [] }));
  description = answers(json(200, schema));
});
afterEach(() => {
  watch.stop();
});

/** Whatever is under way among promises. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function start(): Promise<void> {
  const ask: AskWolf = ({ path }) => {
    asked.push(path);
    return path === "/api/v1/lobbies" ? lobbies() : description();
  };
  watch = watchWolf({
    ask,
    clock,
    log: createLogger("silent"),
    notify(type, payload) {
      if (type === "heartbeat") beats.push(AgentHeartbeat.parse(payload));
      else capabilities.push(AgentCapabilities.parse(payload));
    },
  });
  await settle();
}

async function advance(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}

describe("a watch of a Wolf", () => {
  it("says at once that it answers and what it can do, and every ten seconds that it still does", async () => {
    await start();
    expect(beats).toEqual([{ wolf: "ok" }]);
    expect(capabilities).toMatchObject([{ features: ["lobbies"], missing: [] }]);
    await advance(9999);
    expect(beats).toHaveLength(1);
    await advance(1);
    expect(beats).toEqual([{ wolf: "ok" }, { wolf: "ok" }]);
    expect(asked.filter((path) => path.endsWith("schema"))).toHaveLength(1);
  });

  it("says that nothing is there, and asks what it can do once something is", async () => {
    lobbies = fails(unreachable);
    await start();
    expect([beats, capabilities]).toEqual([
      [{ wolf: "unreachable", detail: "upstream-unreachable: nobody there" }],
      [],
    ]);
    lobbies = answers(json(200, {}));
    await advance(10_000);
    expect([beats.at(-1), capabilities.length]).toEqual([{ wolf: "ok" }, 1]);
  });

  it("asks anew what it can do after it was gone", async () => {
    await start();
    lobbies = fails(unreachable);
    await advance(10_000);
    lobbies = answers(json(200, {}));
    await advance(10_000);
    expect(capabilities).toHaveLength(2);
  });

  it("tells slow from stuck by the time that passes, and never slow after stuck", async () => {
    let timeout: (() => void) | undefined;
    lobbies = () =>
      new Promise((_resolve, reject) => {
        timeout = () => reject(new UpstreamError("upstream-timeout", "late"));
      });
    await start();
    expect(beats).toEqual([]);
    await advance(3000);
    expect(beats).toEqual([{ wolf: "slow", detail: "no answer within 3 s" }]);
    await advance(22_000);
    timeout?.();
    await settle();
    expect(beats.slice(1)).toEqual([{ wolf: "stuck", detail: "no answer within 25 s" }]);
    await advance(10_000);
    await advance(3000);
    expect(beats).toHaveLength(2);
  });

  it("calls an answer slow that came late", async () => {
    const { promise, resolve } = Promise.withResolvers<WolfReply>();
    lobbies = () => promise;
    await start();
    await advance(7000);
    resolve(json(200, {}));
    await settle();
    expect(beats.at(-1)).toEqual({ wolf: "slow", detail: "answered after 7 s" });
  });

  it("asks once more for what was cut, and takes the beginning of a list for an answer", async () => {
    const cut = (status?: number) => new UpstreamError("upstream-reply-broken", "cut", { status });
    lobbies = fails(cut(200));
    await start();
    expect(beats).toEqual([{ wolf: "ok" }]);
    lobbies = fails(cut());
    asked = [];
    await advance(10_000);
    expect(beats.at(-1)).toMatchObject({ wolf: "unreachable" });
    expect(asked).toEqual(["/api/v1/lobbies", "/api/v1/lobbies"]);
  });

  it("does not take another program for a Wolf, nor an older Wolf for another program", async () => {
    lobbies = answers(json(404, {}));
    description = answers(json(200, { paths: { "/api/v1/sessions": { get: {} } } }));
    await start();
    expect(beats[0]).toMatchObject({ wolf: "unreachable", detail: expect.stringContaining("404") });
    expect(beats.at(-1)).toEqual({ wolf: "ok" });
    expect(capabilities).toMatchObject([{ missing: expect.arrayContaining(["GET /api/v1/lobbies"]) }]);
  });

  it("asks three times for a description that cannot be read, and again a minute later", async () => {
    description = fails(new UpstreamError("upstream-reply-broken", "cut"));
    await start();
    expect(capabilities).toEqual([{ schema_hash: null, features: [], missing: [] }]);
    expect(asked.filter((path) => path.endsWith("schema"))).toHaveLength(3);
    description = answers(json(200, schema));
    for (let i = 0; i < 6; i += 1) await advance(10_000);
    expect(capabilities.at(-1)).toMatchObject({ features: ["lobbies"] });
  });

  it("looks at once when somebody's request says otherwise, and not when it says the same", async () => {
    await start();
    asked = [];
    watch.saw(true);
    expect(asked).toEqual([]);
    lobbies = fails(unreachable);
    watch.saw(false);
    watch.saw(false);
    await settle();
    expect(asked).toEqual(["/api/v1/lobbies"]);
    expect(beats.at(-1)).toMatchObject({ wolf: "unreachable" });
    lobbies = answers(json(200, {}));
    watch.saw(false);
    watch.saw(true);
    await settle();
    expect(beats.at(-1)).toEqual({ wolf: "ok" });
  });

  it("that was stopped asks and says nothing more, whatever is still under way", async () => {
    lobbies = silent;
    await start();
    watch.stop();
    watch.saw(false);
    await advance(60_000);
    expect([beats, asked]).toEqual([[], ["/api/v1/lobbies"]]);
  });
});
