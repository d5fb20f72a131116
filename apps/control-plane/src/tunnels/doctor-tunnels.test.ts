import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Tunnel } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import { createDoctorTunnels, type DoctorTunnels, doctorTunnelOptions } from "./doctor-tunnels.ts";

let clock: ManualClock;
let doctors: DoctorTunnels;
let pairs: TunnelPair[];

beforeEach(() => {
  clock = manualClock();
  pairs = [];
  doctors = createDoctorTunnels({ clock, log: createLogger("silent") });
});
afterEach(() => {
  doctors.close();
  for (const { left } of pairs) left.destroy();
});

function connect(): TunnelPair {
  const pair = tunnelPair({ right: doctorTunnelOptions });
  pairs.push(pair);
  doctors.accept("gpu-1", pair.right);
  return pair;
}

async function echoed(tunnel: Tunnel, body: Uint8Array, method = "POST"): Promise<number | Uint8Array> {
  const reply = await tunnel.request({ service: "echo", method, path: "/", body });
  const chunks: Uint8Array[] = [];
  for await (const chunk of reply.body) chunks.push(chunk);
  return reply.status === 200 ? Buffer.concat(chunks) : reply.status;
}

describe("a doctor's tunnel", () => {
  it("answers a message of up to 1 MiB with itself", async () => {
    const { left } = connect();
    for (const bytes of [0, 1, 1400, 70_000, 1024 * 1024]) {
      const body = Buffer.alloc(bytes, "x");
      expect(Buffer.compare((await echoed(left, body)) as Uint8Array, body)).toBe(0);
    }
  });

  it("refuses a larger message, another method and another service", async () => {
    const { left } = connect();
    expect(await echoed(left, Buffer.alloc(1024 * 1024 + 1))).toBe(413);
    expect(await echoed(left, Buffer.from("x"), "PUT")).toBe(405);
    await expect(left.request({ service: "wolf", method: "GET", path: "/" })).rejects.toMatchObject({
      code: "SERVICE_UNKNOWN",
    });
  });

  it("ends after three minutes and leaves no timer behind when it ended before", async () => {
    const [first, second] = [connect(), connect()];
    first.left.destroy();
    await first.right.closed;
    await Promise.resolve();
    expect(clock.pending).toBe(1);
    clock.advance(180_000);
    await second.left.closed;
    expect(clock.pending).toBe(0);
  });

  it("is one of at most sixteen, and of none once the replica shuts down", async () => {
    for (let n = 0; n < 16; n += 1) connect();
    expect(doctors.full).toBe(true);
    await connect().left.closed;
    doctors.close();
    await Promise.all(pairs.map(({ left }) => left.closed));
    expect(doctors.full).toBe(false);
    await connect().left.closed;
  });
});
