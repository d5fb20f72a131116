import { describe, expect, it } from "@jest/globals";
import { CreateSessionRequest, PlacementPreviewRequest } from "@wolfpack/api-contract";
import { type Draft, draftOf, emptyDraft, newKey, problemsOf, requestOf } from "./form.ts";

const filled = (part: Partial<Draft>) => requestOf({ ...emptyDraft, ...part });

describe("the request that a filled in form means", () => {
  it("is valid from the start, and does not wait for the answer", () => {
    const { create, preview, problems } = filled({});
    expect(problems).toEqual({});
    expect(CreateSessionRequest.safeParse(create).success).toBe(true);
    expect(PlacementPreviewRequest.safeParse(preview).success).toBe(true);
    expect(create).toMatchObject({ queue: true, priority: 4, wait_seconds: 0 });
  });

  it("holds what was filled in, the same wish in the preview", () => {
    const { create, preview, problems } = filled({
      name: " desk ",
      gpu: "nvidia",
      model: "4090",
      region: "eu-west",
      regionRequired: true,
      labels: "zone=a, disk = fast\npath/x=1=2",
      constraints: [
        { attribute: "rack", op: "not-in", values: "r1, r2," },
        { attribute: "gpu-lab", op: "exists", values: "ignored" },
      ],
      vram: "8192",
      policy: "weighted",
      weights: { ...emptyDraft.weights, region: "2.5" },
      ttl: "3600",
      deadline: "60",
    });
    expect(problems).toEqual({});
    const wish = {
      gpu_type: "nvidia",
      gpu_model: "4090",
      region: "eu-west",
      region_required: true,
      labels: { zone: "a", disk: "fast", "path/x": "1=2" },
      constraints: [
        { attribute: "rack", op: "not-in", values: ["r1", "r2"] },
        { attribute: "gpu-lab", op: "exists", values: [] },
      ],
      resources: { vram_mb: 8192, encoder_sessions: 1 },
      policy: "weighted",
    };
    expect(preview).toMatchObject(wish);
    expect(create).toMatchObject({ ...wish, name: "desk", ttl_seconds: 3600, queue_deadline_seconds: 60 });
    expect(CreateSessionRequest.safeParse(create).success).toBe(true);
    expect(PlacementPreviewRequest.safeParse(preview).success).toBe(true);
  });

  it("asks in the preview with its priority, and whether it waits, as it would be made", () => {
    expect(filled({}).preview).toMatchObject({ queue: true, priority: 4 });
    const { create, preview } = filled({ waits: false, priority: "2" });
    expect([create, preview]).toMatchObject([
      { queue: false, priority: 2 },
      { queue: false, priority: 2 },
    ]);
    expect(filled({ priority: "10" }).problems).toHaveProperty("priority");
  });

  it("leaves out what has no meaning without something else", () => {
    const { create } = filled({ regionRequired: true, waits: false, deadline: "60", policy: "cost" });
    expect(create.region_required).toBe(false);
    expect(create).not.toHaveProperty("queue_deadline_seconds");
    expect(create).not.toHaveProperty("weights");
  });

  it("has a problem at each field that cannot mean anything", () => {
    const { problems } = filled({
      labels: "zone",
      constraints: [{ attribute: "zone", op: "in", values: " , " }],
      vram: "-1",
      encoders: "1e3",
      policy: "weighted",
      weights: { ...emptyDraft.weights, load: "0" },
      pin: "12a4",
    });
    expect(Object.keys(problems).sort()).toEqual([
      "constraints",
      "encoders",
      "labels",
      "pin",
      "vram",
      "weights",
    ]);
    expect(filled({ labels: "a=1,a=2" }).problems.labels).toBe("a is there twice.");
    expect(filled({ labels: "__proto__=1" }).problems.labels).toBeDefined();
    expect(
      filled({ weights: { ...emptyDraft.weights, load: "x" }, policy: "weighted" }).problems.weights,
    ).toBe("Numbers from 0 to 100.");
  });
});

describe("a link to a form", () => {
  it("fills in what it says, and no GPU that there is not", () => {
    expect(draftOf({ gpu: "amd", region: "eu", labels: "zone=a" })).toMatchObject({
      gpu: "amd",
      region: "eu",
      labels: "zone=a",
    });
    expect(draftOf({ gpu: "quantum", policy: "x" })).toEqual(emptyDraft);
  });
});

describe("the fault that the control plane finds", () => {
  it("is shown at its field", () => {
    const errors = [
      { path: "body.region_required", message: "needs a region" },
      { path: "body.constraints.0", message: "contradicts what else is asked of zone" },
      { path: "gpu_model", message: "none has it" },
    ];
    expect(problemsOf({ errors })).toEqual({
      region: "Needs a region.",
      constraints: "Contradicts what else is asked of zone.",
      model: "None has it.",
    });
  });

  it("is left to the whole where it has no field, or no form that is known", () => {
    expect(problemsOf(undefined)).toEqual({});
    expect(problemsOf({ errors: "all" })).toEqual({});
    expect(
      problemsOf({ errors: [null, 7, { path: "body.constructor", message: "x" }, { path: "body.name" }] }),
    ).toEqual({});
  });
});

describe("an idempotency key", () => {
  it("is 32 hexadecimal digits of what is random", () => {
    expect(newKey((bytes) => bytes.fill(10))).toBe("0a".repeat(16));
  });
});
