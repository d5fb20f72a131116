/**
 * Attacks on what an agent proves. Each is first shown to work where one defence is taken away, by the same header: a proof that
 * nobody would take proves nothing about what refuses it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { proofText, type WolfInstance } from "@wolfpack/api-contract";
import type { RevdialError } from "revdial";
import { prismaAgentKeyStore } from "../src/identity/agent-key-store.prisma.ts";
import type { AgentKeyRecord } from "../src/identity/agent-key-store.ts";
import { isSigned } from "../src/identity/agent-proof.ts";
import { type AgentServiceOptions, createAgentService } from "../src/identity/agent-service.ts";
import { type Challenges, createChallenges } from "../src/identity/challenge.ts";
import { prismaJoinTokenStore } from "../src/identity/join-token-store.prisma.ts";
import { createLogger } from "../src/logger.ts";
import { challenge, dialWith, header, outcomeOf, type ProofChanges, post, TestAgent } from "./agent.ts";
import { API_KEY_SECRET, RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { manualClock } from "./manual-clock.ts";
import { dialled } from "./tunnel-requests.ts";

const MINUTE_MS = 60_000;
let api: TestControlPlane;
let other: TestControlPlane;
let agent: TestAgent;
let stranger: TestAgent;
beforeAll(async () => {
  api = await startControlPlane();
  // Another replica: the same database, the same secret.
  other = await startControlPlane({}, api.database);
  [agent, stranger] = [new TestAgent("gpu-1"), new TestAgent("gpu-2")];
  await agent.enroll(api.url);
  await stranger.enroll(api.url);
});
afterAll(async () => {
  await other.plane.stop();
  await api.stop();
});
afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});

const challenges = createChallenges(API_KEY_SECRET);
const text = (nonce: Uint8Array) => Buffer.from(nonce).toString("base64url");
const fresh = async () => (await challenge(api.url)).nonce;
const at = (offsetMs: number) => new Date(Date.now() + offsetMs);
const hostOf = (url: string) => new URL(url).host;
const wolfOf = (name: string) => async (): Promise<WolfInstance> => {
  const headers = { authorization: `Bearer ${api.adminKey}` };
  const response = await fetch(`${api.url}/api/v1/wolf-instances/${name}`, { headers });
  return (await response.json()) as WolfInstance;
};

/** The service as it is, but for what is changed; it spends no challenge. */
function weakened(changes: Partial<AgentServiceOptions> & { key?: Partial<AgentKeyRecord> } = {}) {
  const { key, ...rest } = changes;
  const keys = prismaAgentKeyStore(api.database.prisma);
  return createAgentService({
    keys: {
      ...keys,
      async get(id) {
        const found = await keys.get(id);
        return found && { ...found, ...key };
      },
      spend: async () => true,
    },
    tokens: prismaJoinTokenStore(api.database.prisma),
    challenges,
    clock: { ...manualClock(), now: () => new Date() },
    log: createLogger("silent", { write: () => undefined }),
    apiKeySecret: API_KEY_SECRET,
    publicHosts: [],
    keyLifeMs: 1,
    ...rest,
  });
}
const clockAt = (offsetMs: number) => ({ clock: { ...manualClock(), now: () => at(offsetMs) } });
const accepts = (issued: (now: Date) => ReturnType<Challenges["read"]>): Partial<AgentServiceOptions> => ({
  challenges: { issue: challenges.issue, read: (_nonce, now) => issued(now) },
});
const anyChallenge = accepts((now) => challenges.issue(now));
const forever = new Date("2999-01-01T00:00:00Z");

interface Attack {
  what: string;
  code: string;
  nonce?: () => string;
  proof?: ProofChanges & { keyId?: string };
  /** What the naive server lacks. */
  without: Parameters<typeof weakened>[0];
  /** What the naive server takes the proof for. */
  purpose?: "diagnose" | "enroll";
}

const forged = () => {
  const nonce = Buffer.from(challenges.issue(at(-2 * MINUTE_MS)).nonce);
  // Its time, made a minute younger.
  nonce.writeBigUInt64BE(BigInt(Date.now()), 16);
  return text(nonce);
};
const attacks: readonly Attack[] = [
  {
    what: "answers a challenge that is a minute old",
    code: "proof-refused",
    nonce: () => text(challenges.issue(at(-MINUTE_MS)).nonce),
    without: clockAt(-1000),
  },
  {
    what: "answers a challenge from the future",
    code: "proof-refused",
    nonce: () => text(challenges.issue(at(2 * MINUTE_MS)).nonce),
    without: clockAt(2 * MINUTE_MS),
  },
  {
    what: "answers a challenge of another control plane",
    code: "proof-refused",
    nonce: () => text(createChallenges("x".repeat(32)).issue(new Date()).nonce),
    without: { challenges: createChallenges("x".repeat(32)) },
  },
  {
    what: "answers an old challenge with a new time in it",
    code: "proof-refused",
    nonce: forged,
    without: anyChallenge,
  },
  {
    what: "answers a challenge that it has made up",
    code: "proof-refused",
    nonce: () => text(Buffer.alloc(48, 7)),
    without: anyChallenge,
  },
  {
    what: "was made for another server, which passes it on",
    code: "proof-refused",
    proof: { host: "evil.example" },
    without: { publicHosts: ["evil.example"] },
  },
  {
    what: "names the host with a letter more",
    code: "proof-refused",
    proof: { host: "x127.0.0.1" },
    without: { publicHosts: ["x127.0.0.1"] },
  },
  {
    what: "was signed by a clock 6 minutes behind",
    code: "clock-skew",
    proof: { time: at(-6 * MINUTE_MS).toISOString() },
    without: { ...clockAt(-2 * MINUTE_MS), ...anyChallenge },
  },
  {
    what: "was signed by a clock 6 minutes ahead",
    code: "clock-skew",
    proof: { time: at(6 * MINUTE_MS).toISOString() },
    without: { ...clockAt(2 * MINUTE_MS), ...anyChallenge },
  },
  {
    what: "was signed for the doctor",
    code: "unauthenticated",
    proof: { purpose: "diagnose" },
    without: {},
    purpose: "diagnose",
  },
  {
    what: "was signed to enrol",
    code: "unauthenticated",
    proof: { purpose: "enroll" },
    without: {},
    purpose: "enroll",
  },
];

describe("a proof", () => {
  it("opens the tunnel of its wolf, over WebSockets and over HTTP", async () => {
    expect(await outcomeOf(agent.connect(api.url))).toBe("open");
    const overHttp = { transport: "http" } as const;
    const proof = agent.proof(api.url, await fresh());
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof, overHttp))).toBe("open");
  });

  /** What the wolf shows of a tunnel that its agent has opened with this time. */
  async function opened(time: string): Promise<WolfInstance["tunnel"]> {
    const { epoch } = await api.database.prisma.wolfInstance.findUniqueOrThrow({ where: { name: "gpu-1" } });
    expect(await outcomeOf(agent.connect(api.url, "wolf-gpu-1", { time }))).toBe("open");
    const isUp = ({ tunnel }: WolfInstance) => tunnel !== null && tunnel.epoch > epoch;
    return (await eventually(wolfOf("gpu-1"), isUp)).tunnel;
  }

  it.each([-4, 4])(
    "is taken from a clock that is %d minutes off, as its wolf shows then",
    async (minutes) => {
      const tunnel = await opened(at(minutes * MINUTE_MS).toISOString());
      const lateMs = minutes * MINUTE_MS - (tunnel?.clock_offset_ms ?? Number.NaN);
      // The way here.
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(MINUTE_MS);
    },
  );

  it("that is refused for its time says how far it is off, and changes nothing that its wolf shows", async () => {
    const before = await opened(at(2 * MINUTE_MS).toISOString());
    const time = at(-60 * MINUTE_MS).toISOString();
    const refused = dialWith(api.url, "wolf-gpu-1", agent.proof(api.url, await fresh(), { time }));
    const { detail = "{}" } = (await refused.catch((error: unknown) => error)) as RevdialError;
    expect(JSON.parse(detail)).toMatchObject({
      code: "clock-skew",
      detail: expect.stringMatching(
        /^The agent's clock is 6\d min behind; more than 5 minutes are refused\.$/,
      ),
      clock_offset_ms: expect.any(Number),
    });
    const { detail: why } = JSON.parse(detail) as { detail: string };
    expect(api.lines.some((line) => line.includes("upgrade refused") && line.includes(why))).toBe(true);
    // The round trip is known a moment after the rest.
    const { tunnel } = await wolfOf("gpu-1")();
    expect({ ...tunnel, rtt_ms: null }).toEqual({ ...before, rtt_ms: null });
  });

  it("is all that shows a clock: the RUNNER_TOKEN, which signs nothing, shows none", async () => {
    await post(`${api.url}/api/v1/wolf-instances/register`, RUNNER_TOKEN, { name: "gpu-shared" });
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-shared", `Bearer ${RUNNER_TOKEN}`))).toBe("open");
    const { tunnel } = await eventually(wolfOf("gpu-shared"), (wolf) => wolf.tunnel !== null);
    expect(tunnel?.clock_offset_ms).toBeNull();
  });

  it.each(attacks.map((row) => [row.what, row] as const))("that %s is refused", async (_what, attack) => {
    const nonce = attack.nonce?.() ?? (await fresh());
    const proof = agent.proof(api.url, nonce, attack.proof);
    const headers = { authorization: proof, host: hostOf(api.url) };
    // The attack works where the defence is missing …
    expect(await weakened(attack.without).agentOf(headers, attack.purpose ?? "connect")).toMatchObject({
      wolfId: agent.wolfId,
    });
    // … and not here.
    const before = await denials();
    for (const transport of ["websocket", "http"] as const)
      expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof, { transport }))).toBe(
        `401 ${attack.code}`,
      );
    expect(await denials()).toBe(before + 2);
  });

  it("is worth nothing a second time, on the same replica or another, whatever carries it", async () => {
    const proof = agent.proof(api.url, await fresh(), { host: hostOf(api.url) });
    const headers = { authorization: proof, host: hostOf(api.url) };
    const naive = weakened();
    for (let n = 0; n < 2; n += 1) expect(await naive.agentOf(headers, "connect")).toBeDefined();
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof))).toBe("open");
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof))).toBe("401 proof-refused");
    const overHttp = { transport: "http" } as const;
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof, overHttp))).toBe("401 proof-refused");
    // A proof for the other replica's own host, first shown there, then here with the host it names.
    const [first, second] = [await fresh(), await fresh()];
    const public_ = await startControlPlane({ publicHosts: ["wolfpack.example"] }, api.database);
    const twin = await startControlPlane({ publicHosts: ["wolfpack.example"] }, api.database);
    try {
      const open = (nonce: string, base: string) =>
        outcomeOf(dialWith(base, "wolf-gpu-1", agent.proof(base, nonce, { host: "wolfpack.example", time })));
      const time = new Date().toISOString();
      expect(await open(first, public_.url)).toBe("open");
      expect(await open(first, twin.url)).toBe("401 proof-refused");
      const both = await Promise.all([public_, twin, public_, twin].map(({ url }) => open(second, url)));
      expect(both.toSorted()).toEqual([
        "401 proof-refused",
        "401 proof-refused",
        "401 proof-refused",
        "open",
      ]);
      // The name that the request gives is not asked then.
      expect(await outcomeOf(agent.connect(public_.url))).toBe("401 proof-refused");
    } finally {
      await twin.plane.stop();
      await public_.plane.stop();
    }
  });

  it("of another key is refused like one of a key that does not exist", async () => {
    const signed = async (changes: ProofChanges & { keyId?: string }) =>
      agent.proof(api.url, await fresh(), changes);
    const byStranger = await signed({ signer: stranger.privateKey });
    const headers = { authorization: byStranger, host: hostOf(api.url) };
    // Where the public key is believed that the caller brings along:
    const believing = weakened({ key: { publicKey: stranger.publicKey } });
    const parts = { wolf: agent.wolfId, publicKey: stranger.publicKey, signer: stranger.privateKey };
    const brought = stranger.proof(api.url, await fresh(), { ...parts, keyId: agent.keyId });
    expect(await believing.agentOf({ ...headers, authorization: brought }, "connect")).toMatchObject({
      wolfId: agent.wolfId,
    });
    const answers = await Promise.all(
      [
        brought,
        byStranger,
        await signed({ keyId: `agk_${"0".repeat(26)}` }),
        await signed({ keyId: stranger.keyId }),
      ].map(async (authorization) => {
        const response = await fetch(`${api.url}/api/v1/revdial?runnerid=wolf-gpu-1`, {
          method: "POST",
          headers: { authorization, "content-type": "application/vnd.revdial.v3" },
        });
        return { status: response.status, ...((await response.json()) as object), instance: "" };
      }),
    );
    expect(answers[0]).toMatchObject({ status: 401, code: "unauthenticated" });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it.each<[string, Partial<AgentKeyRecord>, object]>([
    ["waits", { status: "active" }, { status: "pending" }],
    ["was revoked", { status: "active" }, { status: "revoked", revoked_at: new Date() }],
    ["has expired", { expiresAt: forever }, { expires_at: new Date() }],
  ])("of a key that %s is refused, and says so to whoever has the key", async (what, without, data) => {
    const victim = new TestAgent(`key-that-${what.replaceAll(" ", "-")}`);
    await victim.enroll(api.url);
    await api.database.prisma.agentKey.update({ where: { id: victim.keyId }, data });
    const proof = victim.proof(api.url, await fresh());
    const headers = { authorization: proof, host: hostOf(api.url) };
    expect(await weakened({ key: without }).agentOf(headers, "connect")).toMatchObject({
      wolfId: victim.wolfId,
    });
    expect(await outcomeOf(dialWith(api.url, `wolf-${victim.name}`, proof))).toBe("401 unauthenticated");
    await expect(weakened().agentOf(headers, "connect")).rejects.toThrow(`This key ${what}`);
  });

  it.each([
    "Wolfpack",
    "Wolfpack ",
    "Wolfpack x",
    `Wolfpack ${Buffer.from("[]").toString("base64url")}`,
    `Wolfpack ${Buffer.from("null").toString("base64url")}`,
    `Wolfpack ${Buffer.from('{"__proto__":{"key_id":"x"}}').toString("base64url")}`,
    `Wolfpack ${"A".repeat(4000)}`,
    "Wolfpack eyJ9 eyJ9",
  ])("that is none is refused (%s)", async (authorization) => {
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", authorization))).toBe("401 unauthenticated");
  });

  it("with a member more, or a header folded into another scheme, is refused", async () => {
    const proof = agent.proof(api.url, await fresh());
    const json = JSON.parse(Buffer.from(proof.split(" ")[1] ?? "", "base64url").toString()) as object;
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", header({ ...json, admin: true })))).toBe(
      "401 unauthenticated",
    );
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof.replace("Wolfpack", "Bearer")))).toBe(
      "401 unauthenticated",
    );
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", header(json)))).toBe("open");
  });
});

describe("an enrolment", () => {
  it("that is sent again by whoever has heard it is refused", async () => {
    const fleeting = new TestAgent("heard");
    const nonce = await fresh();
    expect((await fleeting.enroll(api.url, RUNNER_TOKEN, { nonce })).status).toBe(201);
    for (const url of [api.url, other.url]) {
      const again = await fleeting.enroll(url, RUNNER_TOKEN, { nonce });
      expect([again.status, again.body.code]).toEqual([401, "proof-refused"]);
    }
  });

  it.each<[string, ProofChanges & { body?: object; nonce?: string }, string]>([
    ["of a key that is not the signer's", { signer: new TestAgent("x").privateKey }, "proof-refused"],
    ["with a proof to connect", { purpose: "connect" }, "proof-refused"],
    ["with a proof for another name", { wolf: "another" }, "proof-refused"],
    ["with a proof for another host", { host: "evil.example" }, "proof-refused"],
    ["by a clock that is 6 minutes behind", { time: at(-6 * MINUTE_MS).toISOString() }, "clock-skew"],
    ["with a made-up challenge", { nonce: text(Buffer.alloc(48, 7)) }, "proof-refused"],
    ["with a field more", { body: { status: "active" } }, "invalid-request"],
    ["as another wolf's id", { body: { wolf_id: `wlf_${"0".repeat(26)}` } }, "invalid-request"],
  ])("%s is refused and leaves nothing", async (_what, changes, code) => {
    const wolves = await api.database.prisma.wolfInstance.count();
    const answer = await new TestAgent("refused-1").enroll(api.url, RUNNER_TOKEN, changes);
    expect(answer.body.code).toBe(code);
    expect(await api.database.prisma.wolfInstance.count()).toBe(wolves);
    if (code === "clock-skew") {
      const { server_time } = answer.body as { server_time?: string };
      expect(Math.abs(Date.parse(server_time ?? "") - Date.now())).toBeLessThan(MINUTE_MS);
    }
  });

  it.each([
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ])("of a key of small order, for which signatures can be made up, is refused (%s)", async (hex) => {
    // By the runtime's own verification: with such a key, S = 1 and R = the base point fit some texts, or all.
    const publicKey = Buffer.from(hex, "hex").toString("base64url");
    const signature = Buffer.from(`58${"66".repeat(31)}01${"00".repeat(31)}`, "hex").toString("base64url");
    const parts = { purpose: "enroll", host: "h", wolf: "w", publicKey, time: "t" } as const;
    for (let n = 0; n < 32; n += 1) expect(isSigned({ ...parts, nonce: String(n) }, signature)).toBe(false);
  });

  it("cannot shift what it says from one part to the next: a line break in one is refused", async () => {
    const parts = { purpose: "connect", publicKey: "k", nonce: await fresh(), time: "t" } as const;
    expect(proofText({ ...parts, host: "h\nw", wolf: "x" })).toBe(
      proofText({ ...parts, host: "h", wolf: "w\nx" }),
    );
    const proof = agent.proof(api.url, parts.nonce, { host: `${hostOf(api.url)}\nx` });
    expect(await outcomeOf(dialWith(api.url, "wolf-gpu-1", proof))).toBe("401 unauthenticated");
  });
});

/** Tunnels that were refused, by the audit log. */
const denials = () =>
  api.database.prisma.auditEvent.count({ where: { action: "agent.connect", result: "denied" } });
