/** The bundled file as a process: what only a process has, such as signals, pipes that nobody reads, and a command line that others can see. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { KEY, machine } from "./edges.ts";
import { anEvent, aWolf } from "./objects.ts";
import { type ScriptedServer, scriptedServer } from "./scripted-server.ts";

const bundle = fileURLToPath(new URL("../dist/wolfctl.mjs", import.meta.url));
let server: ScriptedServer;
let here: ReturnType<typeof machine>;
let running: ChildProcess[];

beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  here = machine(server.url);
  running = [];
  server.on("GET /api/v1/wolf-instances", { body: Array.from({ length: 3000 }, (_, index) => aWolf(index)) });
});
afterEach(() => {
  for (const child of running) if (child.exitCode === null) child.kill("SIGKILL");
  here.remove();
});

function wolfctl(words: string[]) {
  const child = spawn(process.execPath, [bundle, ...words], {
    env: { ...here.env, HOME: here.home },
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.push(child);
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, out, err }));
  return { child, ended };
}

describe("wolfctl as one file", () => {
  it("begins as a program of Node and prints all of a long list into a pipe before it ends", async () => {
    expect(readFileSync(bundle, "utf8").startsWith("#!/usr/bin/env node\n")).toBe(true);
    const { code, out } = await wolfctl(["wolves", "list", "--limit", "all", "-o", "json"]).ended;
    expect([code, (JSON.parse(out) as unknown[]).length]).toEqual([0, 3000]);
  });

  it("ends quietly when nobody reads any more", async () => {
    const { child, ended } = wolfctl(["wolves", "list", "--limit", "all"]);
    child.stdout.once("data", () => child.stdout.destroy());
    expect(await ended).toMatchObject({ code: 0, err: "" });
  });

  const full = existsSync("/dev/full") ? it : it.skip;
  full("says that its output cannot be written, and fails; remarks that cannot be are left out", async () => {
    const led = (words: string[], place: "stdout" | "stderr") => {
      const handle = openSync("/dev/full", "w");
      const child = spawn(process.execPath, [bundle, ...words], {
        env: { ...here.env, HOME: here.home },
        stdio: ["ignore", place === "stdout" ? handle : "ignore", place === "stderr" ? handle : "pipe"],
      });
      closeSync(handle);
      running.push(child);
      let err = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        err += text;
      });
      return once(child, "close").then(([code]) => ({ code: code as number | null, err }));
    };
    const sentence = "wolfctl: What was to be printed could not be written: the disk is full.\n";
    expect(await led(["wolves", "list"], "stdout")).toEqual({ code: 1, err: sentence });
    expect(await led(["wolves", "list", "--watch"], "stdout")).toEqual({ code: 1, err: sentence });
    expect((await led(["wolves", "show", "nobody"], "stderr")).code).toBe(4);
  });

  it("follows until Ctrl-C and ends with 130, also when it is asked by SIGTERM", async () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      server.on("GET /api/v1/events", ({ headers }, response) => {
        if (headers.accept !== "text/event-stream") return { body: [] };
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify(anEvent(1))}\n\n`);
        return undefined;
      });
      const { child, ended } = wolfctl(["events", "--follow"]);
      await once(child.stdout, "data");
      child.kill(signal);
      expect(await ended).toMatchObject({ code: 130, err: "" });
    }
  });

  it("shows its key to the control plane and to nobody else", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.on("GET /api/v1/queue", () => {
      resolve();
      return new Promise(() => undefined);
    });
    const { child, ended } = wolfctl(["queue"]);
    await promise;
    // Where there is no such folder, the words that it was started with tell.
    const of = (file: string) =>
      existsSync("/proc/self")
        ? readFileSync(`/proc/${child.pid}/${file}`, "latin1")
        : child.spawnargs.join();
    expect(`${of("cmdline")}${of("environ")}`).not.toContain(KEY);
    child.kill("SIGINT");
    const { out, err } = await ended;
    expect(out + err).not.toContain(KEY);
    expect(server.asked.at(-1)?.headers.authorization).toBe(`Bearer ${KEY}`);
  });

  it("takes a key from a pipe, and has no question where there is no terminal", async () => {
    await wolfctl(["config", "set", "home", "--url", server.url]).ended;
    const { child, ended } = wolfctl(["config", "set-key", "home"]);
    child.stdin.end(`${KEY}\n`);
    expect(await ended).toMatchObject({ code: 0, err: "" });
    expect(await wolfctl(["wolves", "retire", "gpu-1"]).ended).toMatchObject({
      code: 2,
      err: expect.stringContaining("--yes"),
    });
  });
});
