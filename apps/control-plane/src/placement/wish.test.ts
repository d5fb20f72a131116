import { expect, it } from "@jest/globals";
import { SessionSpec } from "@wolfpack/api-contract";
import { aWish } from "../../test/a-candidate.ts";
import { wishOf } from "./wish.ts";

it("a session of which nothing but its image is said may go anywhere", () => {
  const spec = SessionSpec.parse({
    image: "xfce",
    gpu_type: null,
    resolution: { width: 1920, height: 1080, refresh_rate: 60 },
  });
  expect(wishOf(spec)).toEqual(aWish());
  expect(wishOf(spec, ["wlf_1"])).toEqual(aWish({ avoid: ["wlf_1"] }));
});

it("a wish has all that a session asks of its wolf", () => {
  const asked = {
    image: "steam",
    gpu_type: "amd",
    gpu_model: "W7900",
    labels: { zone: "a" },
    constraints: [{ attribute: "tier", op: "exists", values: [] }],
    region: "eu",
    region_required: true,
    resources: { vram_mb: 1024, encoder_sessions: 2 },
    policy: "weighted",
    weights: { load: 1, packing: 0, cost: 0, region: 0, image: 0, rtt: 0 },
    allow_degraded: false,
    resolution: { width: 1920, height: 1080, refresh_rate: 60 },
  };
  expect(wishOf(SessionSpec.parse(asked))).toEqual({
    image: "steam",
    gpuType: "amd",
    gpuModel: "W7900",
    labels: { zone: "a" },
    constraints: [{ attribute: "tier", op: "exists", values: [] }],
    region: "eu",
    regionRequired: true,
    vramMb: 1024,
    encoderSessions: 2,
    policy: "weighted",
    weights: asked.weights,
    allowDegraded: false,
    avoid: [],
  });
});
