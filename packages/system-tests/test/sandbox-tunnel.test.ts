/** An agent inside a sandbox: its screen is seen through its own tunnel, without the wolf's. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Child } from "../src/child.ts";
import { readPng } from "../src/png-check.ts";
import { agentBundle, Stack } from "../src/stack.ts";

let stack: Stack;
let dataDir: string;
let children: Child[];
const host = { name: "gpu-1", gpu: "nvidia", maxSandboxes: 4 } as const;

beforeAll(async () => {
  dataDir = mkdtempSync(path.join(os.tmpdir(), "wolfpack-sandbox-"));
  children = [];
  stack = await Stack.start({
    dataDir,
    port: 0,
    hosts: [host],
    say: () => undefined,
    onCrash: () => undefined,
  });
}, 90_000);

afterAll(async () => {
  for (const child of children) await child.stop();
  await stack.stop();
  rmSync(dataDir, { recursive: true, force: true });
}, 60_000);

/** Resolves once its log says so. */
async function sandboxAgent(sessionId: string, apiKey: string, message: string): Promise<void> {
  const screen = `${path.dirname(stack.socketOf(host.name))}/wolfpack/${sessionId}/screen.sock`;
  const logFile = path.join(stack.logFolder, `sandbox-${children.length}.log`);
  const flags = [
    "--api-url",
    stack.baseUrl,
    "--session-id",
    sessionId,
    "--service",
    `screen=unix://${screen}`,
  ];
  children.push(
    await Child.start({
      name: "agent of the sandbox",
      command: [process.execPath, agentBundle, ...flags],
      env: { RUNNER_TOKEN: apiKey },
      logFile,
    }),
  );
  await stack.until(message, async () => readFileSync(logFile, "utf8").includes(message));
}

describe("an agent inside a sandbox", () => {
  it("shows the session's screen through its own tunnel when the wolf's agent is gone", async () => {
    const api = stack.client();
    const make = async (name: string) => {
      const { body: user } = await api.createUser({ body: { name } });
      const { body: key } = await api.createApiKey({ body: { name: "sandbox", user_id: user.id } });
      return key.key;
    };
    const [owner, stranger] = [await make("owner"), await make("stranger")];
    const { body: session } = await stack.client(owner).createSession({ body: {} });
    const params = { id: session.id };
    await sandboxAgent(session.id, stranger, "refused this agent: There is no such session.");
    await stack.killAgent(host.name);
    await stack.until(
      "the wolf has no tunnel",
      async (admin) => (await admin.listWolves({ query: {} })).body[0]?.tunnel === null,
    );
    // A stranger's agent serves nobody's screen.
    await expect(stack.client(owner).getScreenshot({ params })).rejects.toMatchObject({
      code: "wolf-unreachable",
    });
    await sandboxAgent(session.id, owner, "tunnel up");
    await stack.until("the sandbox has a tunnel", async () => {
      const { body } = await stack.client(owner).getScreenshot({ params });
      return readPng(body).texts["wolfpack-session"] === session.id;
    });
    await stack.client(owner).setClipboard({ params, body: { text: "inside" } });
    expect((await stack.client(owner).getClipboard({ params })).body).toEqual({ text: "inside" });
  }, 90_000);
});
