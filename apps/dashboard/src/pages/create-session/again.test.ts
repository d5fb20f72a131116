import { describe, expect, it } from "@jest/globals";
import { CreateSessionRequest } from "@wolfpack/api-contract";
import { aSession } from "../../../test/a-session.ts";
import { againOf } from "./again.ts";
import { requestOf } from "./form.ts";

const { spec: plainSpec } = aSession();
const full: typeof plainSpec = {
  image: `registry.example.com/${"a".repeat(234)}`,
  resolution: { width: 1600, height: 900, refresh_rate: 75 },
  gpu_type: "nvidia",
  gpu_model: "RTX 4090",
  region: "eu-west",
  region_required: true,
  labels: Object.fromEntries(
    Array.from({ length: 32 }, (_unused, at) => [`label-${at}`, `${at}=${"v".repeat(250)}`]),
  ),
  constraints: [
    { attribute: "rack", op: "not-in", values: ["r1", "r2 b"] },
    { attribute: "wolf:name", op: "exists", values: [] },
  ],
  resources: { vram_mb: 8192, encoder_sessions: 2 },
  policy: "weighted",
  weights: { load: 1, packing: 0, cost: 2.5, region: 0, image: 0, rtt: 100 },
  allow_degraded: false,
  disconnect_policy: "replace",
  ttl_seconds: 5400,
  idle_timeout_seconds: 601,
  priority: 7,
  queue: true,
  queue_deadline_seconds: 77,
};

describe("a session that is made once more", () => {
  it("is wished for as the first one was, with all that may be asked for at its full length", () => {
    const { draft, missing } = againOf(aSession({ name: "desk", spec: full }), 9);
    expect(missing).toEqual([]);
    const { create, problems } = requestOf(draft);
    expect(problems).toEqual({});
    expect(create).toEqual({ ...full, name: "desk", wait_seconds: 0 });
    expect(CreateSessionRequest.safeParse(create).success).toBe(true);
  });

  it("asks for nothing that the first one did not ask for, and takes no id for a name", () => {
    const { draft, missing } = againOf(aSession({ id: "ses_1", name: "ses_1" }), 4);
    expect(missing).toEqual([]);
    const { create } = requestOf(draft);
    for (const field of ["name", "gpu_type", "gpu_model", "region", "weights", "ttl_seconds", "pin"])
      expect(create).not.toHaveProperty(field);
    expect(create).toMatchObject({ labels: {}, constraints: [], region_required: false });
  });

  it("does not wait in the queue where the first one did not", () => {
    const { draft } = againOf(aSession({ spec: { ...plainSpec, queue: false } }), 4);
    expect(requestOf(draft).create).toMatchObject({ queue: false });
    expect(requestOf(draft).create).not.toHaveProperty("queue_deadline_seconds");
  });

  it("says of everything that cannot be carried over that it is not, and keeps the rest", () => {
    const spec = {
      ...full,
      labels: { zone: "a,b", rack: " r1", disk: "fast" },
      constraints: [
        { attribute: "zone", op: "in" as const, values: ["a,b", "c"] },
        { attribute: "host", op: "in" as const, values: ["h1"] },
      ],
    };
    const { draft, missing } = againOf(aSession({ spec, pin_required: true }), 4);
    expect(missing).toEqual([
      expect.stringContaining("PIN"),
      expect.stringContaining("priority 7: yours is 4"),
      expect.stringContaining("label zone"),
      expect.stringContaining("label rack"),
      expect.stringContaining("constraint on zone"),
    ]);
    expect(requestOf(draft).create).toMatchObject({
      labels: { disk: "fast" },
      constraints: [{ attribute: "host", op: "in", values: ["h1"] }],
      priority: 4,
    });
  });
});
