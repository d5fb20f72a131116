/** 50 agents, each asking for each of 50 wolves: only the diagonal connects (T1). */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { outcomeOf, post, TestAgent } from "./agent.ts";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { dial, dialled } from "./tunnel-requests.ts";

const AGENTS = 50;
let api: TestControlPlane;
const names = Array.from({ length: AGENTS }, (_, n) => `gpu-${n}`);
const agents = names.map((name) => new TestAgent(name));
beforeAll(async () => {
  api = await startControlPlane({ logLevel: "silent" });
});
afterAll(() => api.stop());
afterEach(() => {
  for (const tunnel of dialled.splice(0)) tunnel.destroy();
});
const events = (result: string) =>
  api.database.prisma.auditEvent.findMany({ where: { action: "agent.connect", result } });

/** A replica that is late takes in few at a time, and says so to the others: they come again, as agents do. */
async function decided(connect: () => ReturnType<TestAgent["connect"]>): Promise<string> {
  for (;;) {
    const outcome = await outcomeOf(connect());
    if (outcome !== "503 draining") return outcome;
  }
}

describe("who may be which wolf", () => {
  it("was anybody, where a shared secret opened what the URL names", async () => {
    for (const name of names.slice(0, 3))
      await post(`${api.url}/api/v1/wolf-instances/register`, RUNNER_TOKEN, { name });
    for (const name of names.slice(0, 3))
      expect(await outcomeOf(dial(api.url, `wolf-${name}`, RUNNER_TOKEN))).toBe("open");
    expect(await events("allowed")).toHaveLength(3);
  });

  it("is what its key says: of 50 agents and 50 names only the diagonal connects, and each refusal is an event", async () => {
    for (const agent of agents) expect((await agent.enroll(api.url)).status).toBe(201);
    const before = (await events("allowed")).length;
    const wrong: string[] = [];
    for (const agent of agents) {
      const outcomes = await Promise.all(
        names.map((name) => decided(() => agent.connect(api.url, `wolf-${name}`))),
      );
      outcomes.forEach((outcome, n) => {
        const expected = names[n] === agent.name ? "open" : "403 forbidden";
        if (outcome !== expected) wrong.push(`${agent.name} as ${names[n]}: ${outcome}`);
      });
    }
    expect(wrong).toEqual([]);
    const opened = (await events("allowed")).slice(before);
    expect(opened.map(({ actor_id }) => actor_id).toSorted()).toEqual(
      agents.map(({ wolfId }) => wolfId).toSorted(),
    );
    const denied = (await events("denied")).map(
      ({ actor_id, credential_id, object, code }) => `${actor_id} ${credential_id} ${object} ${code}`,
    );
    const expected = agents.flatMap(({ name, wolfId, keyId }) =>
      names.flatMap((asked) => (asked === name ? [] : [`${wolfId} ${keyId} wolf-${asked} forbidden`])),
    );
    expect(denied.toSorted()).toEqual(expected.toSorted());
  }, 120_000);

  it("is no other for a doctor, for a name that does not exist, or for one that it would have after another", async () => {
    const [first, second] = agents as [TestAgent, TestAgent];
    const asDoctor = (name: string) => first.connect(api.url, `doctor-${name}`, { purpose: "diagnose" });
    expect(await outcomeOf(asDoctor(first.name))).toBe("open");
    for (const name of [second.name, "nobody"]) {
      expect(await outcomeOf(asDoctor(name))).toBe("403 forbidden");
      expect(await outcomeOf(first.connect(api.url, `wolf-${name}`))).toBe("403 forbidden");
    }
    const denied = await api.database.prisma.auditEvent.findMany({ where: { action: "agent.diagnose" } });
    expect(denied.map(({ result, object }) => [result, object])).toEqual([
      ["denied", `doctor-${second.name}`],
      ["denied", "doctor-nobody"],
    ]);
    expect(await outcomeOf(first.connect(api.url, "sandbox-ses_01KB00000000000000000000S1"))).toBe(
      "403 forbidden",
    );
  });

  it("ends with the wolf: its key opens nothing after it was removed, and the name is free", async () => {
    const leaver = agents[9] as TestAgent;
    const path = `${api.url}/api/v1/wolf-instances/${leaver.wolfId}`;
    await fetch(path, { method: "DELETE", headers: { authorization: `Bearer ${api.adminKey}` } });
    expect(await outcomeOf(leaver.connect(api.url))).toBe("401 unauthenticated");
    const next = new TestAgent(leaver.name);
    expect((await next.enroll(api.url)).status).toBe(201);
    expect(await outcomeOf(next.connect(api.url))).toBe("open");
  });
});
