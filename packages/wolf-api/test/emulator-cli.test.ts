/** The emulator as a process: its ready line, its signals, its exit codes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ask } from "./emulator-client.ts";

const cli = fileURLToPath(new URL("../src/emulator/cli.ts", import.meta.url));

interface Run {
  child: ChildProcess;
  /** The first line on stdout. */
  ready: Promise<{ ready: boolean; address: string }>;
  exit: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

describe("wolf-emulator", () => {
  let folder = "";
  const children = new Set<ChildProcess>();
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "wolf-"));
  });
  afterEach(async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "close");
      }
    }
    children.clear();
    rmSync(folder, { recursive: true });
  });

  function run(...flags: string[]): Run {
    const child = spawn(process.execPath, [cli, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    children.add(child);
    const output = { stdout: "", stderr: "" };
    const ready = Promise.withResolvers<{ ready: boolean; address: string }>();
    child.stdout?.on("data", (chunk: Buffer) => {
      output.stdout += chunk.toString();
      if (output.stdout.includes("\n"))
        ready.resolve(JSON.parse(output.stdout) as { ready: boolean; address: string });
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      output.stderr += chunk.toString();
    });
    const exit = once(child, "close").then(([code]) => {
      ready.reject(new Error(`ended before it was ready: ${output.stderr}`));
      return { code: code as number | null, ...output };
    });
    ready.promise.catch(() => undefined);
    return { child, ready: ready.promise, exit };
  }

  const socketPath = () => path.join(folder, "wolf.sock");
  const lobbies = async () => (await ask(socketPath(), "GET", "/api/v1/lobbies")).bytes.toString();

  it.each(["SIGTERM", "SIGINT"] as const)(
    "says one line when it listens, and on %s leaves nothing",
    async (signal) => {
      const { child, ready, exit } = run(
        "--socket",
        socketPath(),
        "--state-folder",
        folder,
        "--start-delay-ms",
        "5",
      );
      expect(await ready).toEqual({ ready: true, address: `unix://${socketPath()}` });
      expect(await lobbies()).toBe('{"success":true,"lobbies":[]}');
      child.kill(signal);
      expect(await exit).toEqual({
        code: 0,
        stdout: `{"ready":true,"address":"unix://${socketPath()}"}\n`,
        stderr: "",
      });
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  it("takes port 0 and says which it got", async () => {
    const { child, ready, exit } = run("--port", "0");
    const { address } = await ready;
    expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(await (await fetch(`http://${address}/api/v1/lobbies`)).json()).toEqual({
      success: true,
      lobbies: [],
    });
    child.kill("SIGTERM");
    expect((await exit).code).toBe(0);
  });

  it("is a Wolf of the generation that it is told", async () => {
    const { ready } = run("--port", "0", "--generation", "2025-07-25");
    const { address } = await ready;
    expect((await fetch(`http://${address}/api/v1/lobbies`)).status).toBe(404);
    expect((await fetch(`http://${address}/api/v1/apps`)).status).toBe(200);
  });

  it("plays the failures it is given, and exits 1 when one of them is to die", async () => {
    const { ready, exit } = run(
      "--socket",
      socketPath(),
      "--fail",
      "GET /api/v1/lobbies=500x1",
      "--fail",
      "GET /api/v1/lobbies=die",
    );
    await ready;
    expect(await lobbies()).toBe('{"success":false,"error":"Injected failure"}');
    await expect(lobbies()).rejects.toThrow(/socket hang up|ECONNRESET/);
    expect(await exit).toMatchObject({ code: 1, stderr: "" });
    expect(existsSync(socketPath())).toBe(false);
  });

  it("replaces the socket of one that was killed, and not of one that lives", async () => {
    const killed = run("--socket", socketPath());
    await killed.ready;
    killed.child.kill("SIGKILL");
    await killed.exit;
    expect(existsSync(socketPath())).toBe(true);
    const living = run("--socket", socketPath());
    await living.ready;
    const late = await run("--socket", socketPath()).exit;
    expect(late).toEqual({
      code: 1,
      stdout: "",
      stderr: `wolf-emulator: Somebody already serves ${socketPath()}.\n`,
    });
    expect(await lobbies()).toContain("true");
    living.child.kill("SIGTERM");
    expect((await living.exit).code).toBe(0);
  });

  it("says in one sentence that its socket's folder is missing", async () => {
    const missing = path.join(folder, "missing", "wolf.sock");
    expect(await run("--socket", missing).exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `wolf-emulator: There is no folder for ${missing}.\n`,
    });
  });

  it.each([
    [[], "give either --socket or --port"],
    [["--socket", "a", "--port", "1"], "give either --socket or --port"],
    [["--socket", ""], "A path has to be given"],
    [["--socket"], "argument missing"],
    [["--port", "65536"], "--port has to be a whole number up to 65535"],
    [["--port", "-1"], "--port"],
    [["--port", "0x10"], "--port has to be"],
    [["--port", "0", "--start-delay-ms", "soon"], "--start-delay-ms has to be a whole number"],
    [["--port", "0", "--generation", "2024-10-01"], "--generation 2024-10-01 is not known"],
    [["--port", "0", "--state-folder", ""], "A path has to be given"],
    [["--port", "0", "--colour"], "Unknown option '--colour'"],
    [["--port", "0", "extra"], "Unexpected argument 'extra'"],
    [["--port", "0", "--fail", "container-start"], 'is not "<on>=<mode>[xN]"'],
    [["--port", "0", "--fail", "container-start=explode"], 'is not "<on>=<mode>[xN]"'],
    [["--port", "0", "--fail", "container-start=no-reply"], "cannot happen on"],
    [["--port", "0", "--fail", "GET /nowhere=500"], "is neither"],
    [["--port", "0", "--fail", "GET /api/v1/apps=500x0"], "at least once"],
  ])("exits 2 and says how it is used: %j", async (flags, reason) => {
    const { code, stdout, stderr } = await run(...flags).exit;
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(reason);
    expect(stderr).toContain("usage: wolf-emulator");
    expect(stderr).not.toContain("    at ");
  });
});
