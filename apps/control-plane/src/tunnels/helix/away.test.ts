/** The gateway's part in the grace of Helix's agents, and in the services beside their wolves. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { RevdialError } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { aWolf } from "../../../test/a-wolf.ts";
import { anOpener } from "../../../test/an-opener.ts";
import { type ManualClock, manualClock } from "../../../test/manual-clock.ts";
import type { UserPrincipal } from "../../identity/principal.ts";
import { createLogger } from "../../logger.ts";
import type { TunnelOrigin } from "../../wolves/wolf-store.ts";
import { createTunnelGateway, type TunnelGateway } from "../tunnel-gateway.ts";

const wolf = aWolf({ id: "wlf_a", name: "a" });
const owner: UserPrincipal = { kind: "user", userId: "u", role: "user", scopes: null, credentialId: "k" };
const helix = anOpener({ kind: "runner" }, 0, "helix");
const sandbox = anOpener(owner, 0, "helix");
const native = anOpener({ kind: "agent", wolfId: "wlf_a", credentialId: "k" });

let gateway: TunnelGateway;
let clock: ManualClock;
let pairs: TunnelPair[];
let origins: (TunnelOrigin | undefined)[];
let lines: string[];

beforeEach(() => {
  clock = manualClock();
  [pairs, origins, lines] = [[], [], []];
  gateway = createTunnelGateway({
    store: {
      async openTunnel(_id, _now, origin) {
        origins.push(origin);
        return { ...wolf, epoch: origins.length };
      },
      changeUsage: async () => true,
      changeHealth: async () => true,
      changeCapabilities: async () => true,
      changeImages: async () => true,
      changeReport: async () => true,
    },
    clock,
    log: createLogger("trace", { write: (line) => void lines.push(line) }),
    random: () => 0.5,
    tunnelLost: async () => undefined,
    audit: { record: async () => undefined },
    revocations: { revokedSince: () => false },
    control: { serve: () => undefined },
  });
});
afterEach(async () => {
  for (const { left, right } of pairs) {
    left.destroy();
    right.destroy();
  }
  await gateway.drain();
});

function pair(): TunnelPair {
  const made = tunnelPair();
  made.left.serve(() => ({ status: 200 }));
  pairs.push(made);
  return made;
}

async function wolfTunnel(opener = helix): Promise<TunnelPair> {
  const made = pair();
  await gateway.acceptWolf(wolf, made.right, opener);
  return made;
}

async function sandboxTunnel(): Promise<TunnelPair> {
  const made = pair();
  await gateway.acceptSandbox("ses_1", made.right, sandbox);
  return made;
}

async function lose({ link, right }: TunnelPair): Promise<void> {
  link.cut();
  await right.closed;
  await new Promise((resolve) => setImmediate(resolve));
}

const ask = (link: ReturnType<TunnelGateway["links"]["wolf"]>) =>
  (link?.request({ service: "wolf", method: "GET", path: "/" }) ?? Promise.reject({ code: "no link" })).then(
    ({ status }) => status,
    ({ code }: RevdialError) => code,
  );

describe("a wolf whose agent of Helix is away", () => {
  it("has no tunnel, and requests that wait for the next one", async () => {
    await lose(await wolfTunnel());
    expect([gateway.wolf("wlf_a"), gateway.wolfEpoch("wlf_a"), gateway.liveWolves()]).toEqual([
      undefined,
      undefined,
      [],
    ]);
    const waiting = ask(gateway.links.wolf("wlf_a"));
    await wolfTunnel();
    expect(await waiting).toBe(200);
  });

  it("takes an agent of ours for its next one", async () => {
    await lose(await wolfTunnel());
    const waiting = ask(gateway.links.wolf("wlf_a"));
    await wolfTunnel(native);
    expect(await waiting).toBe(200);
  });

  it("is given up after the grace", async () => {
    await lose(await wolfTunnel());
    const waiting = ask(gateway.links.wolf("wlf_a"));
    clock.advance(30_000);
    expect(await waiting).toBe("CLOSED");
    expect(gateway.links.wolf("wlf_a")).toBeUndefined();
  });

  it("is waited for no longer when the wolf is removed, or this replica shuts down", async () => {
    for (const end of [() => gateway.revoke("wlf_a"), () => gateway.drain()]) {
      await lose(await wolfTunnel());
      const waiting = ask(gateway.links.wolf("wlf_a"));
      void end();
      expect(await waiting).toBe("CLOSED");
    }
  });

  it("is not waited for when it was sent away for good, or was replaced", async () => {
    const revoked = await wolfTunnel();
    gateway.revoke("wlf_a");
    await revoked.left.closed;
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.links.wolf("wlf_a")).toBeUndefined();
    const replaced = await wolfTunnel();
    const { right } = await wolfTunnel();
    await replaced.left.closed;
    expect(gateway.links.wolf("wlf_a")).toBe(right);
  });
});

describe("a wolf whose agent is one of ours", () => {
  it("is not waited for: it says itself when it goes, and what is asked may go elsewhere", async () => {
    await lose(await wolfTunnel(native));
    expect(gateway.links.wolf("wlf_a")).toBeUndefined();
  });

  it("is shown as opened otherwise than one of Helix", async () => {
    await wolfTunnel(native);
    await wolfTunnel();
    await wolfTunnel(anOpener());
    expect(origins).toEqual([
      { protocol: "revdial", legacyCredential: false },
      { protocol: "helix", legacyCredential: true },
      { protocol: "revdial", legacyCredential: true },
    ]);
    const up = lines.filter((line) => line.includes('"tunnel up"')).map((line) => JSON.parse(line).protocol);
    expect(up).toEqual(["revdial", "helix", "revdial"]);
  });
});

describe("a sandbox whose agent of Helix is away", () => {
  it("is waited for as a wolf is, until its session ends", async () => {
    await lose(await sandboxTunnel());
    const waiting = ask(gateway.links.sandbox("ses_1"));
    const back = await sandboxTunnel();
    expect(await waiting).toBe(200);
    await lose(back);
    const late = ask(gateway.links.sandbox("ses_1"));
    gateway.dropSandbox("ses_1");
    expect(await late).toBe("CLOSED");
    expect(gateway.links.sandbox("ses_1")).toBeUndefined();
  });
});

describe("a service beside a wolf", () => {
  async function moonlight(): Promise<TunnelPair> {
    const made = pair();
    await gateway.acceptMoonlight(wolf, made.right, helix);
    return made;
  }

  it("has a tunnel of its own, and the newest counts", async () => {
    const first = await moonlight();
    expect([gateway.moonlight("wlf_a"), gateway.wolf("wlf_a")]).toEqual([first.right, undefined]);
    const second = await moonlight();
    expect((await first.left.closed).reason).toContain("replaced");
    expect(gateway.moonlight("wlf_a")).toBe(second.right);
  });

  it("ends with its wolf", async () => {
    const { left } = await moonlight();
    gateway.revoke("wlf_a");
    await left.closed;
    await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.moonlight("wlf_a")).toBeUndefined();
  });

  it("that never answers is not taken", async () => {
    const made = pair();
    const accepting = gateway.acceptMoonlight(wolf, made.right, helix);
    made.right.destroy(new RevdialError("TRANSPORT_LOST", "gone"));
    await accepting;
    expect(gateway.moonlight("wlf_a")).toBeUndefined();
  });
});
