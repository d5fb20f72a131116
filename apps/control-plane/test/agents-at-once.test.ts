/** More agents than are taken in at once, on a real PostgreSQL that lets them wait. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type AgentChallenge, Problem } from "@wolfpack/api-contract";
import { PENDING_MAX } from "../src/tunnels/admission.ts";
import { dialWith, outcomeOf, TestAgent } from "./agent.ts";
import { startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually } from "./host.ts";
import { dialled } from "./tunnel-requests.ts";

let api: TestControlPlane;
let agent: TestAgent;
let lateMs = 0;
// Its own for each: agents of the test before that are still being taken in would take places.
beforeEach(async () => {
  api = await startControlPlane({}, undefined, { lateness: { ms: () => lateMs, stop: () => undefined } });
  agent = new TestAgent("gpu-1");
  await agent.enroll(api.url);
});
afterEach(async () => {
  lateMs = 0;
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
  await api.stop();
});

const asked = () => fetch(`${api.url}/api/v1/agents/challenges`, { method: "POST" });

/** Until what it gives is called, nobody reads an agent's key. */
async function holdKeys(): Promise<() => Promise<void>> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = api.database.prisma.$transaction(
    async (tx) => {
      // Held for as long as it takes, however slow the machine is.
      await tx.$executeRaw`SET LOCAL idle_in_transaction_session_timeout = 0`;
      await tx.$executeRaw`LOCK TABLE agent_key IN ACCESS EXCLUSIVE MODE`;
      locked.resolve();
      await promise;
    },
    { timeout: 60_000 },
  );
  await Promise.race([locked.promise, holding]);
  return async () => {
    resolve();
    await holding;
  };
}

describe("agents that come while as many as have room are taken in", () => {
  it.each([
    { late: 0, fewest: PENDING_MAX, most: 2 * PENDING_MAX },
    // Two, and those whose challenge was given before these two had come with theirs.
    { late: 41, fewest: 2, most: PENDING_MAX / 2 },
  ])(
    "are told when to come back instead of being given a challenge, and find room when the others are through: $late ms late",
    async ({ late, fewest, most }) => {
      lateMs = late;
      const letGo = await holdKeys();
      const outcomes: Promise<string>[] = [];
      const refused = await eventually(
        async () => {
          const answer = await asked();
          if (answer.status !== 201) return answer;
          const { nonce } = (await answer.json()) as AgentChallenge;
          outcomes.push(outcomeOf(dialWith(api.url, "wolf-gpu-1", agent.proof(api.url, nonce))));
          return answer;
        },
        ({ status }) => status === 503,
      );
      expect(outcomes.length).toBeGreaterThanOrEqual(fewest);
      expect(outcomes.length).toBeLessThanOrEqual(most);
      const { code, detail } = Problem.parse(await refused.json());
      expect([code, detail]).toEqual(["draining", "Too many agents connect at once."]);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      expect(Number(refused.headers.get("retry-after"))).toBeLessThanOrEqual(60);
      expect((await fetch(`${api.url}/api/v1/agents/challenges?again=1`, { method: "POST" })).status).toBe(
        503,
      );
      // Only whoever comes to connect has to wait.
      expect((await fetch(`${api.url}/api/v1/agents/challenges`)).status).toBe(405);
      await letGo();
      // All are of one agent, which may not take over from itself as often as that.
      expect(new Set(await Promise.all(outcomes))).toContain("open");
      expect((await eventually(asked, ({ status }) => status !== 503)).status).toBe(201);
    },
  );
});
