/** One token, 200 hosts at once, a hundred times (TS-2025-007): exactly one of them becomes a wolf. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { CreatedJoinToken } from "@wolfpack/api-contract";
import { createChallenges } from "../src/identity/challenge.ts";
import { post, TestAgent } from "./agent.ts";
import { API_KEY_SECRET, startControlPlane, type TestControlPlane } from "./control-plane.ts";

const HOSTS = 200;
const ROUNDS = 100;

let api: TestControlPlane;
beforeAll(async () => {
  api = await startControlPlane({ logLevel: "silent" });
});
afterAll(() => api.stop());

const joinToken = async () =>
  (await post<CreatedJoinToken>(`${api.url}/api/v1/join-tokens`, api.adminKey, {})).body;
/** As of another replica with the same secret: a request less for each host. */
const challenges = createChallenges(API_KEY_SECRET);
const nonce = () => Buffer.from(challenges.issue(new Date()).nonce).toString("base64url");

describe("a join token of one use, shown by 200 hosts at the same moment", () => {
  it("would let in several where it is read first and written then", async () => {
    const { id } = await joinToken();
    const naiveUse = async () => {
      const token = await api.database.prisma.joinToken.findUniqueOrThrow({ where: { id } });
      if (token.uses >= token.uses_max) return false;
      await api.database.prisma.joinToken.update({ where: { id }, data: { uses: token.uses + 1 } });
      return true;
    };
    const letIn = await Promise.all(Array.from({ length: HOSTS }, naiveUse));
    expect(letIn.filter(Boolean).length).toBeGreaterThan(1);
  });

  it("lets in exactly one, in each of 100 rounds", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { token, id } = await joinToken();
      // In turns all want the same name, and each one of its own.
      const agents = Array.from(
        { length: HOSTS },
        (_, n) => new TestAgent(round % 2 === 0 ? `r${round}` : `r${round}-${n}`),
      );
      const answers = await Promise.all(
        agents.map((agent) => agent.enroll(api.url, token, { nonce: nonce() })),
      );
      const outcomes = new Map<string, number>();
      for (const { status, body } of answers) {
        const outcome = `${status} ${body.code ?? body.status}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      expect([round, Object.fromEntries(outcomes)]).toEqual([
        round,
        { "201 active": 1, "403 join-token-refused": HOSTS - 1 },
      ]);
      expect((await api.database.prisma.joinToken.findUniqueOrThrow({ where: { id } })).uses).toBe(1);
    }
    expect(await api.database.prisma.wolfInstance.count()).toBe(ROUNDS);
    expect(await api.database.prisma.agentKey.count()).toBe(ROUNDS);
    expect(await api.database.prisma.auditEvent.count({ where: { action: "agent.enroll" } })).toBe(
      HOSTS * ROUNDS,
    );
  }, 180_000);
});
