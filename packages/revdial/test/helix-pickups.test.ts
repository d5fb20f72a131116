/** Which pick-up is whose, which is nobody's any more, and what is left when requests are given up. */
import type { ServerResponse } from "node:http";
import { describe, expect, it } from "@jest/globals";
import {
  ask,
  type HelixGateway,
  host,
  joined,
  pickUp,
  type RawPeer,
  rawControl,
  scriptedAgent,
  settled,
} from "./helix-support.ts";
import { collect, failure, get, signal, until } from "./support.ts";

const BINARY = 0x82;

describe("a pick-up", () => {
  it("that the agent says has failed fails its own request, as not sent, and no other", async () => {
    const made = await rawControl({ accept: { idleConnectionsMax: 0 } });
    const { control, tunnel, gateway } = made;
    const [first, second, third] = ["/a", "/b", "/c"].map((path) => ask(tunnel, path));
    await until(() => control.connPaths.length === 3);
    const fail = (connPath: string | undefined, err = "websocket: bad handshake") =>
      control.send(BINARY, `${JSON.stringify({ command: "pickup-failed", connPath, err })}\n`);
    fail(
      control.connPaths[1]?.replace("/revdial", "/api/v1/revdial"),
      "no\n0123456789abcdef0123456789abcdef",
    );
    expect(await failure(second as Promise<unknown>)).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(gateway.faults).toEqual([{ code: "pickup-failed", detail: "no?…" }]);
    // Again, of one that is over, of one that never was, and of nothing at all.
    fail(control.connPaths[1]);
    fail("/revdial?revdial.dialer=x&revdial.req=0000000000000000");
    fail("/revdial?revdial.dialer=x");
    fail(undefined);
    await settled(control);
    for (const [number, path] of [
      [0, "/a"],
      [2, "/c"],
    ] as const) {
      const data = await pickUp(made, number);
      await until(() => data.bytes.includes("\r\n\r\n"));
      data.send(BINARY, `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${path}`);
    }
    expect(await Promise.all([first, third])).toEqual(["200 /a", "200 /c"]);
    expect(gateway.faults).toHaveLength(1);
    expect(gateway.failures).toEqual([]);
  });

  it("that does not come in time fails its request as not sent; when it comes then, nobody waits", async () => {
    const made = await rawControl();
    const { control, tunnel, gateway } = made;
    const asking = failure(tunnel.request(get("/")));
    await until(() => control.connPaths.length === 1);
    await gateway.clock.advance(19_999);
    expect(gateway.exchange.pending).toBe(1);
    control.pong();
    await settled(control);
    await gateway.clock.advance(1);
    expect(await asking).toMatchObject({ code: "REFUSED", sent: "not-sent" });
    expect(gateway.faults).toEqual([{ code: "pickup-timeout", detail: "no pick-up within 20000 ms" }]);
    expect((await pickUp(made)).status).toBe(410);
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 0 });
  });

  it("of a request that was given up is not waited for, and its place is free once the agent has answered", async () => {
    const made = await rawControl({ pickupsInFlightMax: 1 });
    const { control, tunnel, gateway } = made;
    const abort = new AbortController();
    const given = failure(tunnel.request({ ...get("/given-up"), signal: abort.signal }));
    await until(() => control.connPaths.length === 1);
    abort.abort();
    expect(await given).toMatchObject({ code: "CANCELLED" });
    await until(() => gateway.exchange.pending === 0);
    const next = ask(tunnel, "/next");
    await until(() => gateway.exchange.pending === 1);
    expect((await pickUp(made)).status).toBe(410);
    expect(control.connPaths).toHaveLength(1);
    const connPath = control.connPaths[0] as string;
    control.send(BINARY, `${JSON.stringify({ command: "pickup-failed", connPath, err: "410" })}\n`);
    const data = await pickUp(made, 1);
    await until(() => data.bytes.includes("/next"));
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect(await next).toBe("200 ok");
    expect(gateway.faults).toEqual([]);
  });

  it.each<[string, (paths: string[]) => string, boolean]>([
    ["a second time", ([first = ""]) => first, true],
    ["without a request's number", ([first = ""]) => first.replace(/&.*/, ""), true],
    [
      "with the number of no request",
      ([first = ""]) => first.replace(/req=.*/, "req=0000000000000000"),
      true,
    ],
    ["of an unknown dialer", ([first = ""]) => first.replace(/dialer=[0-9a-f]+/, "dialer=00"), false],
  ])("that is handed over %s is closed with 4410", async (_what, pathOf, isFault) => {
    const made = await rawControl({ unchecked: true });
    const { control, tunnel, gateway } = made;
    const asking = ask(tunnel);
    const data = await pickUp(made);
    await until(() => data.bytes.includes("\r\n\r\n"));
    control.connPaths.push();
    const late = await pickUp({
      ...made,
      control: { ...control, connPaths: [pathOf(control.connPaths)] } as RawPeer,
    });
    await until(() => late.closeCode !== undefined);
    expect(late.closeCode).toBe(4410);
    expect(late.frames[0]?.payload.toString("latin1", 2)).toBe("given up");
    expect(gateway.faults.map(({ code }) => code)).toEqual(isFault ? ["pickup-late"] : []);
    data.send(BINARY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    expect(await asking).toBe("200 ok");
    expect(gateway.exchange.connections).toBe(1);
  });

  it("is waited for by the id of its own control connection alone", async () => {
    const { gateway, control, tunnel } = await rawControl();
    await rawControlOf(gateway);
    tunnel.request(get("/")).catch(() => undefined);
    await until(() => control.connPaths.length === 1);
    const query = new URLSearchParams(control.connPaths[0]?.split("?")[1]);
    const [dialer = "", id = ""] = [query.get("revdial.dialer") ?? "", query.get("revdial.req") ?? ""];
    expect(gateway.exchange.dialers).toBe(2);
    expect(gateway.exchange.dialer(dialer)).toEqual({ credential: "secret" });
    expect(gateway.exchange.dialer(id)).toBeUndefined();
    expect(gateway.exchange.awaits(dialer, id)).toBe(true);
    expect(gateway.exchange.awaits(dialer, undefined)).toBe(false);
    expect(gateway.exchange.awaits(dialer, dialer)).toBe(false);
    expect(gateway.exchange.awaits(id, id)).toBe(false);
  });

  it("is announced for no more connections than there may be; what waits gets one that becomes free", async () => {
    const waiting: ServerResponse[] = [];
    const { tunnel, agent, gateway } = await joined((_request, response) => void waiting.push(response), {
      connectionsMax: 3,
    });
    const asking = Array.from({ length: 10 }, () => ask(tunnel));
    await until(() => waiting.length === 3);
    expect(gateway.exchange).toMatchObject({ pending: 7, connections: 3 });
    for (let answered = 0; answered < 10; answered += 1) {
      await until(() => waiting.length > answered);
      waiting[answered]?.end("ok");
    }
    expect(await Promise.all(asking)).toEqual(Array(10).fill("200 ok"));
    expect(agent.brought).toBe(3);
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 3 });
  });
});

/** A second control connection of the same gateway. */
async function rawControlOf(gateway: HelixGateway): Promise<void> {
  await scriptedAgent(gateway.url, await host(() => undefined));
}

describe("requests that are aborted", () => {
  it.each<[string, (made: Awaited<ReturnType<typeof rawControl>>) => Promise<unknown>]>([
    ["before they are announced", ({ gateway }) => until(() => gateway.exchange.pending > 0)],
    ["when they are announced", ({ control }) => until(() => control.connPaths.length > 0)],
    [
      "when they have been sent",
      async (made) => {
        const data = await pickUp(made);
        await until(() => data.bytes.includes("\r\n\r\n"));
      },
    ],
    [
      "within their answer",
      async (made) => {
        const data = await pickUp(made);
        data.send(BINARY, "HTTP/1.1 200 OK\r\n\r\nsome");
        await settled(data);
      },
    ],
  ])("%s leave nothing behind", async (_when, wait) => {
    const made = await rawControl({ pickupsInFlightMax: 2 });
    const abort = new AbortController();
    const asking = Array.from({ length: 5 }, async () => {
      const { body } = await made.tunnel.request({ ...get("/"), signal: abort.signal });
      return await collect(body);
    });
    const over = Promise.all(asking.map((one) => failure(one)));
    await wait(made);
    abort.abort();
    await over;
    const { exchange } = made.gateway;
    await until(() => made.tunnel.load + exchange.pending + exchange.connections === 0);
    await made.gateway.clock.advance(20_000);
    expect(made.gateway.exchange).toMatchObject({ pending: 0, connections: 0 });
  });

  it("at random, 2,000 at 32 parallel, give no answer to another caller, and lose none", async () => {
    const { tunnel, gateway, agent } = await joined((request, response) => {
      const answer = `${request.url} ${"x".repeat(Number(request.url?.slice(1)) % 3000)}`;
      // Some at once, some later, in two parts.
      if (Number(request.url?.slice(1)) % 3 === 0) return void response.end(answer);
      response.write(answer.slice(0, 5));
      setImmediate(() => setImmediate(() => response.end(answer.slice(5))));
    });
    let next = 0;
    let random = 1;
    const dice = (sides: number) => {
      random = (random * 48_271) % 0x7fff_ffff;
      return random % sides;
    };
    const outcomes = { answered: 0, aborted: 0 };
    const one = async (number: number) => {
      const abort = new AbortController();
      if (dice(4) === 0) {
        let turns = dice(12);
        const turn = () => (turns-- > 0 ? void setImmediate(turn) : abort.abort());
        turn();
      }
      try {
        const said = await ask(tunnel, `/${number}`, { signal: abort.signal });
        expect(said).toBe(`200 /${number} ${"x".repeat(number % 3000)}`);
        outcomes.answered += 1;
      } catch (error) {
        expect(abort.signal.aborted && (error as { code?: string }).code).toBe("CANCELLED");
        outcomes.aborted += 1;
      }
    };
    const worker = async () => {
      for (let number = next++; number < 2000; number = next++) await one(number);
    };
    await Promise.all(Array.from({ length: 32 }, worker));
    expect(outcomes.answered + outcomes.aborted).toBe(2000);
    expect(outcomes.aborted).toBeGreaterThan(100);
    await until(() => gateway.exchange.pending === 0 && tunnel.load === 0);
    await until(() => agent.open.size === gateway.exchange.connections);
    expect(gateway.exchange.connections).toBeLessThanOrEqual(64);
    expect(tunnel.draining).toBe(false);
    const over = signal();
    tunnel.closed.then(() => over.give());
    tunnel.destroy();
    await over.seen;
    expect(gateway.exchange).toMatchObject({ pending: 0, connections: 0, dialers: 0 });
  });
});
