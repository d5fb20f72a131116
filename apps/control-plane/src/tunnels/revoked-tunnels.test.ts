import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Tunnel } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { aWolf } from "../../test/a-wolf.ts";
import { anOpener } from "../../test/an-opener.ts";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import type { Principal } from "../identity/principal.ts";
import { createLogger } from "../logger.ts";
import { createTunnelGateway, type TunnelGateway } from "./tunnel-gateway.ts";

const wolf = aWolf({ id: "wlf_a", name: "a" });
const agent: Principal = { kind: "agent", wolfId: "wlf_a", credentialId: "agk_1" };
const anna: Principal = {
  kind: "user",
  userId: "usr_anna",
  role: "user",
  scopes: null,
  credentialId: "key_1",
};

let clock: ManualClock;
let gateway: TunnelGateway;
let pairs: TunnelPair[];
let epoch: number;
let revokedSince: (mark: number, objectIds: readonly string[]) => boolean;

beforeEach(() => {
  clock = manualClock();
  pairs = [];
  epoch = 0;
  revokedSince = () => false;
  gateway = createTunnelGateway({
    store: {
      openTunnel: async () => {
        epoch += 1;
        return { ...wolf, epoch };
      },
      changeUsage: async () => true,
      changeHealth: async () => true,
      changeCapabilities: async () => true,
      changeImages: async () => true,
      changeReport: async () => true,
    },
    clock,
    log: createLogger("silent"),
    random: () => 0.5,
    tunnelLost: async () => undefined,
    audit: { record: async () => undefined },
    revocations: { revokedSince: (mark, objectIds) => revokedSince(mark, objectIds) },
    control: { serve: () => undefined },
  });
});
afterEach(async () => {
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
  }
  await gateway.drain();
  expect(clock.pending).toBe(0);
});

async function connect(principal: Principal, mark = 0): Promise<{ peer: Tunnel; accepted: Tunnel }> {
  const made = tunnelPair();
  pairs.push(made);
  const { left: peer, right: accepted } = made;
  peer.serve(() => new Promise(() => undefined));
  const opener = anOpener(principal, mark);
  if (principal.kind === "user") await gateway.acceptSandbox("ses_1", accepted, opener);
  else await gateway.acceptWolf(wolf, accepted, opener);
  return { peer, accepted };
}

const get = { service: "wolf", method: "GET", path: "/" };

describe("a tunnel", () => {
  it.each<[what: string, principal: Principal, objectId: string]>([
    ["its agent's key", agent, "agk_1"],
    ["its wolf", agent, "wlf_a"],
    ["the API key that opened it", anna, "key_1"],
    ["the user who opened it", anna, "usr_anna"],
  ])("ends at once when %s is revoked, and its peer is told", async (_what, principal, objectId) => {
    const { peer, accepted } = await connect(principal);
    const pending = accepted.request(get).catch((error: unknown) => error);
    gateway.revoke(objectId);
    expect(accepted.draining).toBe(true);
    expect([gateway.wolf("wlf_a"), gateway.sandbox("ses_1")]).toEqual([undefined, undefined]);
    expect((await peer.closed).code).toBe("REVOKED");
    await accepted.closed;
    expect(await pending).toBeInstanceOf(Error);
  });

  it("tells its peer also when the revocation is heard of twice, as on the replica that made it", async () => {
    const { peer } = await connect(agent);
    gateway.revoke("agk_1");
    gateway.revoke("agk_1");
    expect((await peer.closed).code).toBe("REVOKED");
  });

  it("is left alone when something else is revoked", async () => {
    const { accepted } = await connect(agent);
    for (const objectId of ["agk_2", "wlf_b", "usr_anna"]) gateway.revoke(objectId);
    expect(gateway.wolf("wlf_a")).toBe(accepted);
  });

  it("that was replaced and is still busy ends as well", async () => {
    const first = await connect(agent);
    const pending = first.accepted.request(get).catch((error: unknown) => error);
    const second = await connect(agent);
    expect(first.accepted.load).toBe(1);
    gateway.revoke("agk_1");
    await Promise.all([first.accepted.closed, second.accepted.closed, first.peer.closed, second.peer.closed]);
    expect(await pending).toBeInstanceOf(Error);
  });

  it("whose credential is revoked between its check and the tunnel is not accepted", async () => {
    revokedSince = (mark, objectIds) => mark === 7 && objectIds.includes("agk_1");
    const { peer, accepted } = await connect(agent, 7);
    expect((await peer.closed).code).toBe("REVOKED");
    await accepted.closed;
    expect([epoch, gateway.liveWolves()]).toEqual([0, []]);
    const sandbox = tunnelPair();
    pairs.push(sandbox);
    revokedSince = () => true;
    await gateway.acceptSandbox("ses_1", sandbox.right, anOpener(anna));
    expect((await sandbox.left.closed).code).toBe("REVOKED");
    expect(gateway.sandbox("ses_1")).toBeUndefined();
  });

  it("takes nothing new once its credential has expired, and what is in flight is finished", async () => {
    const expiresAt = new Date(clock.now().getTime() + 60_000);
    const { peer, accepted } = await connect({ ...agent, expiresAt });
    const busy = accepted.request(get).catch((error: unknown) => error);
    clock.advance(59_999);
    expect(gateway.wolf("wlf_a")).toBe(accepted);
    clock.advance(1);
    expect(gateway.wolf("wlf_a")).toBeUndefined();
    expect((await peer.goingAway).code).toBe("REVOKED");
    expect(accepted.load).toBe(1);
    accepted.destroy();
    expect(await busy).toBeInstanceOf(Error);
  });
});
