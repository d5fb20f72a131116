/** Every generation of Wolf's API behind its own agent, as real processes: it takes a session, or is refused with what it lacks. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { WolfInstance } from "@wolfpack/api-contract";
import { type WolfGeneration, wolfGenerations } from "@wolfpack/wolf-api/emulator";
import { type HostPlan, Stack } from "../src/stack.ts";

/** A GPU per generation, so that a session can be asked for on each; a new generation does not compile without a line here. */
const gpus: Record<WolfGeneration, HostPlan["gpu"]> = {
  "2025-07-25": "none",
  "2025-12-15": "intel",
  "2026-06-15": "amd",
  "2026-06-23": "nvidia",
};
const beforeLobbies: readonly WolfGeneration[] = ["2025-07-25"];
const withLobbies = wolfGenerations.filter((generation) => !beforeLobbies.includes(generation));
const lobbyRoutes = ["GET /api/v1/lobbies", "POST /api/v1/lobbies/create", "POST /api/v1/lobbies/stop"];

let stack: Stack;
let dataDir: string;

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-generations-"));
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: wolfGenerations.map((generation) => ({
      name: `wolf-${generation}`,
      gpu: gpus[generation],
      maxSandboxes: 2,
      generation,
    })),
    say: () => undefined,
    onCrash: () => undefined,
  });
}, 90_000);

afterAll(async () => {
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
}, 60_000);

async function wolfOf(generation: WolfGeneration, holds: (wolf: WolfInstance) => boolean) {
  let found: WolfInstance | undefined;
  await stack.until(`the wolf of ${generation} is as it should be`, async (api) => {
    [found] = (await api.listWolves({ query: { name: `wolf-${generation}` } })).body;
    return found !== undefined && holds(found);
  });
  return found as WolfInstance;
}
const isKnown = ({ wolf_capabilities }: WolfInstance) => wolf_capabilities != null;

describe("a Wolf of", () => {
  it.each(withLobbies)(
    "%s shows what it can do, and runs a session from its start to its stop",
    async (generation) => {
      const wolf = await wolfOf(generation, isKnown);
      expect(wolf.wolf_capabilities).toMatchObject({
        schema_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
        features: expect.arrayContaining(["lobbies", "events", "docker-images"]),
        missing: [],
      });
      const api = stack.client();
      const { body: session } = await api.createSession({
        body: { gpu_type: gpus[generation], image: "xfce:1" },
      });
      expect(session).toMatchObject({ status: "running", wolf_instance_id: wolf.id });
      await wolfOf(
        generation,
        ({ images }) => images?.some(({ name, state }) => name === "xfce:1" && state === "present") ?? false,
      );
      await api.stopSession({ params: { id: session.id } });
      await stack.until(
        "the session has stopped",
        async () => (await api.getSession({ params: { id: session.id } })).body.status === "stopped",
      );
    },
  );

  it.each(beforeLobbies)(
    "%s, before lobbies, is online and refused with what it lacks",
    async (generation) => {
      const wolf = await wolfOf(generation, isKnown);
      expect(wolf).toMatchObject({ status: "online", images: null });
      expect(wolf.wolf_capabilities?.missing).toEqual(lobbyRoutes);
      await expect(
        stack.client().createSession({ body: { gpu_type: gpus[generation], queue: false } }),
      ).rejects.toMatchObject({
        code: "no-capacity",
        message: expect.stringContaining(`1 whose Wolf is too old (it lacks ${lobbyRoutes.join(", ")})`),
      });
    },
  );
});
