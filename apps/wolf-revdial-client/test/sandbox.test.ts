/** The bundled agent inside a sandbox whose session is unknown, or has ended. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type AgentProcess, startAgent } from "./agent-process.ts";
import { type FakeControlPlane, fakeControlPlane, type Refusal } from "./control-plane.ts";

const sessionId = "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const problem = (status: number, code: string, detail: string): Refusal => ({
  status,
  headers: { "content-type": "application/problem+json" },
  body: JSON.stringify({ type: `/problems/${code}`, title: code, status, detail, instance: "r", code }),
});
const unknown = problem(404, "session-not-found", "There is no such session.");

let plane: FakeControlPlane;
let agent: AgentProcess | undefined;

beforeEach(async () => {
  plane = await fakeControlPlane();
});

afterEach(async () => {
  agent?.process.kill("SIGKILL");
  await agent?.exit;
  await plane.stop();
});

function start(): AgentProcess {
  agent = startAgent({
    apiUrl: plane.url,
    sessionId,
    flags: ["--service", "screen=127.0.0.1:1"],
  });
  return agent;
}

const warnings = (output: string) => output.split("\n").filter((line) => line.startsWith('{"level":40'));

describe("an agent whose session the control plane does not know", () => {
  it("exits with 3, says so in one line and what to do in another, and asks no second way", async () => {
    plane.refuseUpgrade = unknown;
    const { exit, output } = start();
    expect(await exit).toBe(3);
    expect(output()).toBe(
      "The control plane refused this agent: There is no such session.\nCheck --session-id, and that the token is an API key of the session's owner; a session that has ended does not come back.\n",
    );
    expect([plane.upgrades, plane.keys.size]).toEqual([1, 0]);
  });

  it("tries again only after a minute or two when it had served it, and says once what to do", async () => {
    const { said, output, process: child } = start();
    const tunnel = await plane.nextTunnel();
    await said(/tunnel up/);
    plane.refuseUpgrade = unknown;
    tunnel.destroy();
    await said(/"kind":"session".*"wait_ms":(?:[6-9]\d|1[01]\d)\d{3}\D/s);
    expect(warnings(output()).filter((line) => line.includes("no such session"))).toHaveLength(1);
    expect(output()).toMatch(/"advice":"Check --session-id, and that the token/);
    expect(output()).not.toMatch(/falling back|problems\/|\{\\"/);
    expect(child.exitCode).toBeNull();
  });

  it("says of a refused key whose it has to be", async () => {
    plane.refuseUpgrade = problem(403, "forbidden", "A sandbox's tunnel is opened with its owner's API key.");
    const { exit, output } = start();
    expect(await exit).toBe(3);
    expect(output()).toBe(
      "The control plane refused this agent: A sandbox's tunnel is opened with its owner's API key.\nCheck that the token is an API key of the session's owner.\n",
    );
    expect(plane.upgrades).toBe(1);
  });

  it("goes on trying when it is somebody else who says 404", async () => {
    plane.refuseUpgrade = { status: 404, body: "<h1>nothing here</h1>" };
    plane.refuseOpen = plane.refuseUpgrade;
    const { said, process: child } = start();
    await said(/falling back/);
    await said(/"kind":"lost"/);
    expect(child.exitCode).toBeNull();
  });
});
