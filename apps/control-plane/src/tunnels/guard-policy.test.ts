import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { AGENT_SERVICE, POLICY_PATH } from "@wolfpack/api-contract";
import { defaultWolfPolicy, policyDocument, refusedHeader, WolfPolicy } from "@wolfpack/wolf-api";
import type { OutgoingResponse, RequestHandler } from "revdial";
import { type TunnelPair, tunnelPair } from "revdial/testing";
import { askGuardPolicy } from "./guard-policy.ts";

let pair: TunnelPair;
beforeEach(() => {
  pair = tunnelPair();
});
afterEach(() => {
  pair.left.destroy();
});

const json = (body: unknown, status = 200): OutgoingResponse => ({
  status,
  headers: [["content-type", "application/json"]],
  body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
});

/** What an agent that answers like this is taken to say. */
function asked(handler: RequestHandler, timeoutMs?: number) {
  pair.left.serve(handler);
  return askGuardPolicy(pair.right, timeoutMs === undefined ? {} : { timeoutMs });
}

const policy = policyDocument(defaultWolfPolicy, 3);

describe("the question for a guard's policy", () => {
  it("is one GET of the agent's own service, and brings what the guard lets through", async () => {
    const seen: string[] = [];
    const answer = await asked(({ service, method, path }) => {
      seen.push(`${service} ${method} ${path}`);
      return json(policy);
    });
    expect(seen).toEqual([`${AGENT_SERVICE} GET ${POLICY_PATH}`]);
    expect(answer).toEqual({ policy, unknown_because: null });
    expect(answer.policy?.limits.create.concurrent_max).toBe(3);
  });

  it("shows what the owner of the host has changed", async () => {
    const changed = WolfPolicy.parse({
      open: ["POST /api/v1/lobbies/join"],
      close: ["POST /api/v1/lobbies/stop"],
      image_prefixes: ["registry.example/"],
    });
    const { policy: shown } = await asked(() => json(policyDocument(changed, 1)));
    expect(shown?.open).toContain("POST /api/v1/lobbies/join");
    expect(shown?.closed).toContainEqual({
      route: "POST /api/v1/lobbies/stop",
      because: "the policy of this host closes it",
    });
    expect(shown?.image_prefixes).toEqual(["registry.example/"]);
  });

  it("leaves out what an agent of later versions says besides", async () => {
    const answer = await asked(() => json({ ...policy, quantum_lobbies: true }));
    expect(answer).toEqual({ policy, unknown_because: null });
  });
});

describe("an agent that does not say its policy", () => {
  const refusal = (code: string, status = 404): OutgoingResponse => ({
    ...json({ code }, status),
    headers: [[refusedHeader, code]],
  });

  it("is of before where it refuses the service, in either way there is", async () => {
    const tooOld = { policy: null, unknown_because: "agent-too-old" };
    expect(await asked(() => refusal("service-unknown"))).toEqual(tooOld);
    // One that serves nothing at all: the tunnel itself refuses.
    const own = tunnelPair();
    expect(await askGuardPolicy(own.right)).toEqual(tooOld);
    own.left.destroy();
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["no policy", {}],
    ["a list", [policy]],
    ["routes that are no names", { ...policy, open: [7] }],
    ["control characters", { ...policy, mount_folders: ["/a\u001b[31m"] }],
    ["more routes than there are", { ...policy, open: Array(201).fill("GET /") }],
    ["a limit that is no number", { ...policy, limits: { ...policy.limits, read: { concurrent_max: "8" } } }],
    ["half a surrogate pair", JSON.stringify(policy).replace('"wolfpack"', '"\\ud800"')],
    ["more than 256 KiB", " ".repeat(256 * 1024 + 1)],
  ])("has broken its answer where it says %s", async (_what, body) => {
    expect(await asked(() => json(body))).toEqual({ policy: null, unknown_because: "answer-broken" });
  });

  it("has broken its answer where it is not UTF-8, is an error, or breaks off", async () => {
    const broken = { policy: null, unknown_because: "answer-broken" };
    const replies: RequestHandler[] = [
      () => ({ status: 200, body: Buffer.from([0xff, 0xfe]) }),
      () => json(policy, 500),
      () => refusal("route-unknown"),
      () => refusal("service-unknown", 200),
      () => {
        throw new Error("a fault of the agent's");
      },
    ];
    for (const reply of replies) {
      const own = tunnelPair({ left: { onHandlerError: () => undefined } });
      own.left.serve(reply);
      expect(await askGuardPolicy(own.right)).toEqual(broken);
      own.left.destroy();
    }
  });

  it("is a timeout where it does not answer in time, and unreachable where its tunnel ends", async () => {
    const silent = asked(() => new Promise<OutgoingResponse>(() => undefined), 30);
    await expect(silent).rejects.toMatchObject({ code: "wolf-timeout" });
    const cut = askGuardPolicy(pair.right);
    pair.left.destroy();
    await expect(cut).rejects.toMatchObject({ code: "wolf-unreachable" });
  });
});
