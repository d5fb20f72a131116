/** `npm start` as a newcomer uses it: the printed lines work when pasted, a second start keeps the data, mistakes get one sentence. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { root } from "./repository/workspaces.ts";

const start = path.join(root, "packages/system-tests/dist/start.js");
let folder: string;
let running: ChildProcess[];
let blocker: Server | undefined;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-start-"));
  running = [];
});

afterEach(async () => {
  for (const child of running) if (child.exitCode === null) child.kill("SIGKILL");
  if (blocker) await new Promise((resolve) => blocker?.close(resolve));
  blocker = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function run(env: Record<string, string>, args: readonly string[] = []) {
  const child = spawn(process.execPath, [start, ...args], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(child);
  let output = "";
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      for (const look of [...watchers]) look();
    });
  }
  const exit = once(child, "close").then(([code]) => {
    for (const look of [...watchers]) look();
    return code as number;
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (output.includes(text)) resolve();
        else if (child.exitCode !== null) reject(new Error(`ended without saying ${text}:\n${output}`));
        else return;
        watchers.delete(look);
      };
      watchers.add(look);
      look();
    });
  return { child, exit, said, output: () => output };
}

describe("npm start", () => {
  it("brings up the fleet; its curl lines work as pasted; Ctrl-C ends it; a second start keeps the data", async () => {
    const env = { DATA_DIR: path.join(folder, ".data"), PORT: String(await freePort()) };
    const first = run(env);
    await first.said("Ctrl-C stops everything");
    const keyFile = path.join(folder, ".data", "admin-api-key");
    const key = readFileSync(keyFile, "utf8").trim();
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect(first.output()).toContain(key);
    expect(first.output()).toContain("/swagger/index.html");
    const lines = first
      .output()
      .split("\n")
      .filter((line) => /^ {2}(curl|SESSION=)/.test(line));
    expect(lines).toHaveLength(4);
    const pasted = execFileSync("bash", ["-c", lines.join("\n")], { cwd: folder, encoding: "utf8" });
    expect(pasted).toMatch(/"name":"nvidia-1".*"name":"nvidia-2"|"name":"nvidia-2".*"name":"nvidia-1"/);
    expect(pasted).toMatch(/^.*ses_[0-9A-Z]{26}$/m);
    expect(pasted.trim().endsWith("204")).toBe(true);
    expect(readFileSync(path.join(folder, "screenshot.png")).subarray(1, 4).toString()).toBe("PNG");
    first.child.kill("SIGINT");
    expect(await first.exit).toBe(0);

    const second = run(env);
    await second.said("Ctrl-C stops everything");
    expect(readFileSync(keyFile, "utf8").trim()).toBe(key);
    const sessions = await fetch(`http://127.0.0.1:${env.PORT}/api/v1/sessions`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(await sessions.json()).toMatchObject([{ status: "stopped" }]);
    second.child.kill("SIGTERM");
    expect(await second.exit).toBe(0);
    const left = execFileSync("ps", ["-eo", "args="], { encoding: "utf8" }).split("\n");
    expect(left.filter((line) => line.includes(folder))).toEqual([]);
  }, 90_000);

  it.each([
    ["PORT", { PORT: "eighty" }, 2, /^PORT has to be a number/],
    [
      "a misspelt setting",
      { WOLFPACK_HELTH_INTERVAL_SECONDS: "1" },
      1,
      /WOLFPACK_HELTH_INTERVAL_SECONDS is not a variable/,
    ],
  ])(
    "answers a wrong %s with one sentence",
    async (_name, env, code, sentence) => {
      const { exit, output } = run({ DATA_DIR: path.join(folder, ".data"), ...env });
      expect(await exit).toBe(code);
      expect(output().trim().split("\n").at(-1)).toMatch(sentence);
      expect(output()).not.toMatch(/\n\s+at /);
    },
    30_000,
  );

  it("answers a busy port with one sentence", async () => {
    blocker = createServer();
    blocker.listen(0, "127.0.0.1");
    await once(blocker, "listening");
    const { port } = blocker.address() as { port: number };
    const { exit, output } = run({ DATA_DIR: path.join(folder, ".data"), PORT: String(port) });
    expect(await exit).toBe(1);
    expect(output().trim().split("\n").at(-1)).toContain(`Port ${port} is in use`);
    expect(output()).not.toMatch(/\n\s+at /);
  }, 30_000);

  it("answers a broken data directory with one sentence, and leaves it as it is", async () => {
    const file = path.join(folder, ".data");
    writeFileSync(file, "not a folder");
    const { exit, output } = run({ DATA_DIR: file, PORT: String(await freePort()) });
    expect(await exit).toBe(1);
    expect(output()).toMatch(/data directory .* cannot be used/);
    expect(output()).not.toMatch(/\n\s+at /);
    expect(readFileSync(file, "utf8")).toBe("not a folder");
  }, 30_000);

  it("takes no arguments", async () => {
    expect(await run({}, ["--port", "1"]).exit).toBe(2);
  });
});
