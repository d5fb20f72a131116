import { describe, expect, it } from "@jest/globals";
import { HELD_BY_FIELD, heldByText } from "@wolfpack/api-contract";
import { RevdialError, type Tunnel, type TunnelEnd } from "revdial";
import {
  type Connections,
  createConnections,
  type Dialling,
  Places,
  SPREAD_TRIES_MAX,
} from "./connections.ts";
import { createLogger } from "./logger.ts";

const at = (replica: string, of: number) => ({ replica, of });

describe("the places of an agent's tunnels", () => {
  const placesOf = (...held: (ReturnType<typeof at> | undefined)[]) => {
    const places = new Places();
    for (const [index, one] of held.entries()) places.put(index, one);
    return places;
  };

  it("call the later of two at one replica doubled, while another replica has none", () => {
    const [first, second] = [at("a", 2), at("a", 2)];
    const places = placesOf(first, second);
    expect(places.isDoubled(1, second)).toBe(true);
    expect(places.isDoubled(0, first)).toBe(false);
  });

  it("call none doubled where every replica has one", () => {
    const third = at("a", 2);
    expect(placesOf(at("a", 2), at("b", 2), third).isDoubled(2, third)).toBe(false);
    const only = at("a", 1);
    expect(placesOf(at("a", 1), only).isDoubled(1, only)).toBe(false);
  });

  it("believe the tunnel that has heard of most replicas", () => {
    const second = at("a", 1);
    expect(placesOf(at("a", 2), second).isDoubled(1, second)).toBe(true);
  });

  it("keep a newer tunnel of the same number when the older one ends", () => {
    const [older, newer] = [at("a", 2), at("b", 2)];
    const places = placesOf(at("a", 2), older);
    places.put(1, newer);
    places.remove(1, older);
    expect(places.size).toBe(2);
    places.remove(1, newer);
    expect(places.size).toBe(1);
  });
});

/** A tunnel that is only up, and ends when it is told. */
function fakeTunnel(): Tunnel & { end: (end: TunnelEnd) => void } {
  const over = Promise.withResolvers<TunnelEnd>();
  const tunnel = {
    reached: Promise.resolve(),
    goingAway: over.promise,
    closed: over.promise,
    draining: false,
    close: () => {
      over.resolve({ code: "CLOSED", reason: "" });
      return over.promise;
    },
    end: over.resolve,
  };
  return tunnel as unknown as Tunnel & { end: (end: TunnelEnd) => void };
}

interface Dials {
  connections: Connections;
  /** Which were dialled, in order. */
  dialled: number[];
  tunnels: ReturnType<typeof fakeTunnel>[];
  waits: number[];
  /** Fires what waits. */
  pass: () => void;
  stop: () => Promise<void>;
}

function connectionsOf(
  count: number,
  answer: (nth: number) => { replica: string; of: number } | Error,
): Dials {
  const stop = new AbortController();
  const dialled: number[] = [];
  const tunnels: ReturnType<typeof fakeTunnel>[] = [];
  const waits: number[] = [];
  const due = new Set<() => void>();
  const clock = {
    now: () => 0,
    setTimer(ms: number, run: () => void) {
      waits.push(ms);
      due.add(run);
      return { cancel: () => void due.delete(run) };
    },
  };
  const connections = createConnections({
    count,
    dial: async (number: number, { onAnswer }: Dialling) => {
      dialled.push(number);
      const held = answer(dialled.length);
      if (held instanceof Error) throw held;
      onAnswer({ [HELD_BY_FIELD]: heldByText(held) });
      const tunnel = fakeTunnel();
      tunnels.push(tunnel);
      return tunnel;
    },
    onUp: () => undefined,
    log: createLogger("silent"),
    clock,
    random: () => 0.5,
    reconnectMaxMs: 30_000,
    signal: stop.signal,
  });
  return {
    connections,
    dialled,
    tunnels,
    waits,
    pass() {
      for (const run of [...due]) {
        due.delete(run);
        run();
      }
    },
    async stop() {
      stop.abort();
      await connections.ended();
    },
  };
}

const settled = async () => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe("further tunnels of an agent", () => {
  it("are not dialled at a control plane that does not say who holds a tunnel", async () => {
    const { connections, dialled, stop } = connectionsOf(3, () => at("a", 1));
    connections.onAnswer({});
    connections.firstUp(fakeTunnel());
    await settled();
    expect(dialled).toEqual([]);
    await stop();
  });

  it("are dialled once the first is up, each with its number", async () => {
    const { connections, dialled, stop } = connectionsOf(3, (nth) => at(nth === 1 ? "b" : "c", 3));
    await settled();
    expect(dialled).toEqual([]);
    connections.onAnswer({ [HELD_BY_FIELD]: heldByText(at("a", 3)) });
    connections.firstUp(fakeTunnel());
    await settled();
    expect(dialled).toEqual([1, 2]);
    expect(connections.up).toBe(3);
    await stop();
    expect(connections.up).toBeLessThanOrEqual(1);
  });

  it("look for another replica a few times, with a pause before each, and then stay", async () => {
    const { connections, dialled, waits, pass, stop } = connectionsOf(2, () => at("a", 2));
    connections.onAnswer({ [HELD_BY_FIELD]: heldByText(at("a", 2)) });
    connections.firstUp(fakeTunnel());
    for (let turn = 0; turn < 2 * SPREAD_TRIES_MAX + 2; turn += 1) {
      await settled();
      if ((waits.at(-1) ?? 0) > 60_000) break;
      pass();
    }
    await settled();
    expect(dialled).toHaveLength(1 + SPREAD_TRIES_MAX);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(300_000);
    await stop();
  });

  it("wait long after they were replaced, so that two agents of one name do not throw each other out", async () => {
    const { connections, tunnels, waits, stop } = connectionsOf(2, () => at("b", 2));
    connections.onAnswer({ [HELD_BY_FIELD]: heldByText(at("a", 2)) });
    connections.firstUp(fakeTunnel());
    await settled();
    tunnels[0]?.end({ code: "REPLACED", reason: "" });
    await settled();
    expect(waits.at(-1)).toBeGreaterThanOrEqual(15_000);
    await stop();
  });

  it("are given up at a control plane that refuses their numbers, until the first is dialled again", async () => {
    const refused = new RevdialError("DIAL_REFUSED", "400", { status: 400 });
    const { connections, dialled, pass, stop } = connectionsOf(2, (nth) =>
      nth === 1 ? refused : at("b", 2),
    );
    connections.onAnswer({ [HELD_BY_FIELD]: heldByText(at("a", 2)) });
    connections.firstUp(fakeTunnel());
    await settled();
    pass();
    await settled();
    expect(dialled).toEqual([1]);
    connections.firstUp(fakeTunnel());
    await settled();
    expect(dialled).toEqual([1, 1]);
    await stop();
  });
});
