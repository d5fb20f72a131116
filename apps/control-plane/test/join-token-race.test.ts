/** One token, 200 hosts at once, a hundred times (TS-2025-007): exactly one of them becomes a wolf. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type CreatedJoinToken, EnrollRequest } from "@wolfpack/api-contract";
import { ApiError } from "../src/http/problem.ts";
import { prismaAgentKeyStore } from "../src/identity/agent-key-store.prisma.ts";
import { type AgentService, createAgentService } from "../src/identity/agent-service.ts";
import { createChallenges } from "../src/identity/challenge.ts";
import { prismaJoinTokenStore } from "../src/identity/join-token-store.prisma.ts";
import { createLogger } from "../src/logger.ts";
import { post, TestAgent } from "./agent.ts";
import { API_KEY_SECRET, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { manualClock } from "./manual-clock.ts";

const HOSTS = 200;
/** Through sockets; they cost twice as much as the others, which race in PostgreSQL all the same. */
const ROUNDS_BY_HTTP = 20;
const ROUNDS = 100;

let api: TestControlPlane;
let agents: AgentService;
beforeAll(async () => {
  api = await startControlPlane({ logLevel: "silent" });
  agents = createAgentService({
    keys: prismaAgentKeyStore(api.database.prisma),
    tokens: prismaJoinTokenStore(api.database.prisma),
    challenges,
    clock: { ...manualClock(), now: () => new Date() },
    log: createLogger("silent", { write: () => undefined }),
    apiKeySecret: API_KEY_SECRET,
    publicHosts: [],
    keyLifeMs: 60_000,
  });
});
afterAll(() => api.stop());

/** As of another replica with the same secret: a request less for each host. */
const challenges = createChallenges(API_KEY_SECRET);
const nonce = () => Buffer.from(challenges.issue(new Date()).nonce).toString("base64url");
const joinToken = async () =>
  (await post<CreatedJoinToken>(`${api.url}/api/v1/join-tokens`, api.adminKey, {})).body;
const rowOf = (id: string) => api.database.prisma.joinToken.findUniqueOrThrow({ where: { id } });

async function byHttp(agent: TestAgent, token: string): Promise<string> {
  const { status, body } = await agent.enroll(api.url, token, { nonce: nonce() });
  return body.code ?? `${status} ${body.status}`;
}

async function byService(agent: TestAgent, token: string): Promise<string> {
  const principal = await agents.joinerOf(token);
  if (principal === undefined) return "unauthenticated";
  const { host } = new URL(api.url);
  try {
    const request = EnrollRequest.parse(agent.enrolment(api.url, { nonce: nonce() }));
    const { key } = await agents.enroll(principal, request, host);
    return `201 ${key.status}`;
  } catch (error) {
    if (error instanceof ApiError) return error.code;
    throw error;
  }
}

describe("a join token of one use, shown by 200 hosts at the same moment", () => {
  it("would let in several where it is read first and written then", async () => {
    const { id } = await joinToken();
    const naiveUse = async () => {
      const token = await rowOf(id);
      if (token.uses >= token.uses_max) return false;
      await api.database.prisma.joinToken.update({ where: { id }, data: { uses: token.uses + 1 } });
      return true;
    };
    const used = await Promise.all(Array.from({ length: HOSTS }, naiveUse));
    expect(used.filter(Boolean).length).toBeGreaterThan(1);
  });

  it("lets in exactly one, in each of 100 rounds", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { token, id } = await joinToken();
      const enroll = round < ROUNDS_BY_HTTP ? byHttp : byService;
      // In turns all want the same name, and each one of its own.
      const hosts = Array.from(
        { length: HOSTS },
        (_, n) => new TestAgent(round % 2 === 0 ? `r${round}` : `r${round}-${n}`),
      );
      const outcomes = await Promise.all(hosts.map((host) => enroll(host, token)));
      const count = (what: string) => outcomes.filter((outcome) => outcome === what).length;
      const counts = [round, count("201 active"), count("join-token-refused"), (await rowOf(id)).uses];
      expect(counts).toEqual([round, 1, HOSTS - 1, 1]);
    }
    expect(await api.database.prisma.wolfInstance.count()).toBe(ROUNDS);
    expect(await api.database.prisma.agentKey.count()).toBe(ROUNDS);
    expect(await api.database.prisma.auditEvent.count({ where: { action: "agent.enroll" } })).toBe(
      HOSTS * ROUNDS_BY_HTTP,
    );
  }, 300_000);
});
