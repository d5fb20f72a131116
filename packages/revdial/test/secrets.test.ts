/** What a program logs of a tunnel, and of what leads to one: no credential, no tunnel key, however deep the log looks. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer } from "node:http";
import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createTunnelSet, dialTunnel, dialTunnelSet, type Tunnel } from "../src/index.ts";
import { tunnelPair } from "../src/testing/index.ts";
import { listen, stopServer } from "./gateway.ts";
import { type HttpGateway, httpGateway } from "./http-gateway.ts";
import { failure, get, signal, until } from "./support.ts";

const SECRET = "top-secret-token";
const headers = { authorization: `Bearer ${SECRET}` };

let gateway: HttpGateway | undefined;

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

/** Everything that a log could make of it, as far as it goes. */
function logged(value: unknown): string {
  const all = {
    depth: Number.POSITIVE_INFINITY,
    maxArrayLength: null,
    maxStringLength: null,
    showHidden: true,
  };
  const own = { ...all, customInspect: false };
  return [inspect(value), inspect(value, all), inspect(value, own), json(value)].join("\n");
}

/** Of what has a circle, JSON shows nothing. */
function json(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return "";
  }
}

/** A gateway that notes the key of every tunnel over HTTP. */
async function noting(): Promise<{ url: string; keys: Set<string> }> {
  gateway = await httpGateway();
  const keys = new Set<string>();
  gateway.server.prependListener("request", ({ headers: { "revdial-tunnel": key } }) => {
    if (typeof key === "string") keys.add(key);
  });
  return { url: gateway.url, keys };
}

describe.each(["websocket", "http"] as const)("a tunnel over %s", (transport) => {
  it("shows its transport, state and load to a log, and neither credential nor key", async () => {
    const { url, keys } = await noting();
    const told: unknown[] = [];
    const listener = (message: unknown) => void told.push(message);
    subscribe("revdial:tunnel", listener);
    subscribe("revdial:channel", listener);
    const dialled = await dialTunnel(url, { transport, headers });
    const tunnel = gateway?.tunnels[0] as Tunnel;
    const arrived = signal<unknown>();
    const hold = signal();
    tunnel.serve(async (request, reply) => {
      arrived.give([request, reply]);
      await hold.seen;
      return { status: 204 };
    });
    const asked = dialled.request(get("/"));
    const set = createTunnelSet();
    set.add(dialled);
    const seen: unknown[] = [dialled, tunnel, set, set.members, told, gateway?.acceptor, await arrived.seen];
    seen.push(dialled.dispatcher("wolf"), set.dispatcher("wolf"));
    await until(() => tunnel.rttMs !== undefined);
    expect(keys.size).toBe(transport === "http" ? 1 : 0);
    const text = seen.map(logged).join("\n");
    for (const secret of [SECRET, ...keys]) expect(text.includes(secret)).toBe(false);
    expect(inspect(dialled)).toBe(`CoreTunnel { transport: '${transport}', state: 'ready', load: 1 }`);
    expect(JSON.parse(JSON.stringify({ tunnel }))).toEqual({
      tunnel: { transport, state: "ready", load: 1 },
    });
    expect(JSON.parse(JSON.stringify(set))).toEqual({ members: 1, load: 1 });
    void dialled.close();
    expect(inspect(dialled)).toContain("draining");
    hold.give();
    await asked;
    await dialled.closed;
    expect(logged(dialled)).toContain("ended");
    unsubscribe("revdial:tunnel", listener);
    unsubscribe("revdial:channel", listener);
  });

  it("shows no credential in an error, of a dial that fails or of an exchange that is cut", async () => {
    const server = createServer((_request, response) => response.writeHead(401).end("no"));
    const errors: unknown[] = [await failure(dialTunnel(await listen(server), { transport, headers }))];
    const url = "ws://127.0.0.1:1/";
    errors.push(await failure(dialTunnel(url, { transport, headers })));
    errors.push(await failure(dialTunnel(url, { transport, headers: { authorization: `${SECRET}\n` } })));
    await stopServer(server);
    const noted = await noting();
    const dialled = await dialTunnel(noted.url, { transport, headers });
    gateway?.tunnels[0]?.serve(() => new Promise(() => undefined));
    const cut = failure(dialled.request(get("/")));
    await until(() => gateway?.tunnels[0]?.load === 1);
    gateway?.server.closeAllConnections();
    gateway?.tunnels[0]?.destroy();
    errors.push(await cut);
    const text = errors.map(logged).join("\n");
    for (const secret of [SECRET, ...noted.keys]) expect(text.includes(secret)).toBe(false);
    await dialled.closed;
  });
});

it("a set that dials shows how many members it has, and no credential", async () => {
  const { url, keys } = await noting();
  const up = signal();
  const set = dialTunnelSet(url, { connections: 2, transport: "http", headers, onMember: () => up.give() });
  await up.seen;
  await until(() => set.members.length === 2 && keys.size === 2);
  const text = logged(set);
  for (const secret of [SECRET, ...keys]) expect(text.includes(secret)).toBe(false);
  expect(inspect(set)).toBe("Members { members: 2, load: 0 }");
  set.destroy();
  await set.closed;
});

it("a tunnel that has not heard its peer yet says that it is opening", async () => {
  const { left, right } = tunnelPair();
  expect(JSON.stringify(left)).toBe('{"transport":"memory","state":"opening","load":0}');
  left.destroy();
  await right.closed;
});
