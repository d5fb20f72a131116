/** Two agents with one identity, over real connections to a whole control plane. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import request from "supertest";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "./control-plane.ts";
import { eventually, startHost, type TestHost } from "./host.ts";
import { dial, dialled, raw, runnerAuth, TUNNEL_PATH } from "./tunnel-requests.ts";

describe("two agents with one identity", () => {
  let api: TestControlPlane;
  let host: TestHost;
  beforeAll(async () => {
    api = await startControlPlane();
    host = await startHost(api, { name: "gpu-1" });
  });
  afterAll(async () => {
    for (const tunnel of dialled.splice(0)) tunnel.destroy();
    await host.stop();
    await api.stop();
  });

  const epoch = async (): Promise<number> => {
    const wolf = await request(api.url)
      .get(`/api/v1/wolf-instances/${host.wolfId}`)
      .set("authorization", `Bearer ${api.adminKey}`);
    return wolf.body.tunnel?.epoch ?? 0;
  };
  const events = () => api.database.prisma.auditEvent.findMany({ where: { action: "agent.takeover" } });

  it("have ten takeovers in a minute; then 429 says when to come back, and one alarm who has it", async () => {
    const first = await dial(api.url, "wolf-gpu-1", RUNNER_TOKEN);
    // Two that are accepted at the same moment take over in any order.
    await eventually(epoch, (now) => now === 2);
    for (let taken = 2; taken <= 10; taken += 1) {
      const before = dialled.at(-1);
      await dial(api.url, "wolf-gpu-1", RUNNER_TOKEN, { transport: taken % 2 === 0 ? "http" : "websocket" });
      expect((await before?.goingAway)?.code).toBe("REPLACED");
    }
    await eventually(epoch, (now) => now === 11);
    const target = `${TUNNEL_PATH}?runnerid=wolf-gpu-1`;
    const headers = {
      ...runnerAuth,
      host: "control-plane",
      "content-type": "application/vnd.revdial.v3",
      "content-length": "0",
      connection: "close",
    };
    const again = () => raw(api.url, target, headers, "POST");
    const refused = await Promise.all(Array.from({ length: 5 }, again));
    for (const { status, problem, headers } of refused) {
      expect([status, problem.code]).toEqual([429, "rate-limited"]);
      expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    }
    expect(await epoch()).toBe(11);
    expect(dialled.at(-1)?.draining).toBe(false);
    expect(first.draining).toBe(true);
    const written = await eventually(events, (rows) => rows.length >= 11);
    const allowed = written.filter(({ result }) => result === "allowed");
    expect(allowed.map(({ object }) => object)).toEqual(Array<string>(10).fill(host.wolfId));
    expect(written.filter(({ result }) => result === "denied")).toEqual([
      expect.objectContaining({ actor: "system", object: host.wolfId, code: "rate-limited" }),
    ]);
  });
});
