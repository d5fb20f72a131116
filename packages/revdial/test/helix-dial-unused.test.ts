/** Data connections that a server asks for and then does not use: what becomes of them, and of those that come after. */
import { describe, expect, it } from "@jest/globals";
import type { HelixDialOptions } from "../src/helix/dial.ts";
import type { RequestHandler } from "../src/index.ts";
import { ManualClock } from "../src/testing/index.ts";
import { dial, serve } from "./helix-dialled.ts";
import type { Data } from "./helix-server.ts";
import { until } from "./support.ts";

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

async function dialled(options: Partial<HelixDialOptions> = {}) {
  const clock = new ManualClock();
  const server = await serve();
  const { control, tunnel } = await dial(server, { clock, ...options });
  return { clock, control, tunnel, next: (): Promise<Data> => server.dial(control) };
}

describe("a data connection on which no request comes", () => {
  it.each<[number, Partial<HelixDialOptions>]>([
    [30_000, {}],
    [7000, { unusedTimeoutMs: 7000 }],
  ])("is closed after %i ms, with the options %j", async (ms, options) => {
    const { clock, next } = await dialled(options);
    const data = await next();
    await clock.advance(ms - 1);
    expect(data.over).toBe(false);
    await clock.advance(1);
    expect(await data.closed).toBe(1000);
  });

  it("but for the beginning of one is closed as well", async () => {
    const { clock, next } = await dialled();
    const data = await next();
    data.send("GET / HTTP/1.1\r\nHost: lo");
    await clock.advance(30_000);
    expect(await data.closed).not.toBe(1006);
  });

  it("before the limit is not closed by it later, while its answer takes longer", async () => {
    const { promise, resolve } = Promise.withResolvers<{ status: number }>();
    let asked = 0;
    const handler: RequestHandler = () => {
      asked += 1;
      return promise;
    };
    const { clock, control, next } = await dialled({ handler });
    const data = await next();
    data.send(get("/slow"));
    await until(() => asked === 1);
    for (let passed = 0; passed < 60_000; passed += 20_000) {
      control.keepAlive();
      await clock.advance(20_000);
    }
    resolve({ status: 204 });
    await until(() => data.text.startsWith("HTTP/1.1 204 "));
    expect(data.over).toBe(false);
  });

  it("makes room after 5 s, the oldest first, and not before: its request may be on its way", async () => {
    const { clock, next } = await dialled({ connectionsMax: 2 });
    const oldest = await next();
    await clock.advance(1000);
    const newer = await next();
    await clock.advance(3999);
    await expect(next()).rejects.toThrow("there are 2 data connections already");
    await clock.advance(1);
    const third = await next();
    expect(await oldest.closed).toBe(1000);
    await expect(next()).rejects.toThrow("there are 2 data connections already");
    expect([newer.over, third.over]).toEqual([false, false]);
    expect(await newer.ask("GET", "/")).toMatchObject({ status: 200 });
  });

  it("leaves nothing behind when its tunnel ends", async () => {
    const { clock, next, tunnel } = await dialled();
    const data = await next();
    tunnel.destroy();
    await data.closed;
    await until(() => clock.pending === 0);
  });
});

describe("128 data connections that nobody uses", () => {
  it("do not keep the agent from bringing the next, nor from answering on it", async () => {
    const { clock, next } = await dialled();
    const unused: Data[] = [];
    for (let number = 0; number < 128; number += 1) unused.push(await next());
    await clock.advance(5000);
    const data = await next();
    expect(await data.ask("GET", "/next")).toMatchObject({ status: 200, body: "GET /next " });
    expect(await unused[0]?.closed).toBe(1000);
    await clock.advance(25_000);
    expect(new Set(await Promise.all(unused.map(({ closed }) => closed)))).toEqual(new Set([1000]));
  });
});
