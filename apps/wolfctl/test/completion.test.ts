/** Completion: what can follow, in a shell as well, where nothing that comes from a control plane is ever evaluated. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { complete } from "../src/completion/candidates.ts";
import { createProgram } from "../src/program.ts";
import { machine, testEdges } from "./edges.ts";
import { aSession, aWolf, sessionId } from "./objects.ts";
import { problem, type ScriptedServer, scriptedServer } from "./scripted-server.ts";

let server: ScriptedServer;
let here: ReturnType<typeof machine>;
beforeAll(async () => {
  server = await scriptedServer();
});
afterAll(() => server.stop());
beforeEach(() => {
  here = machine(server.url);
  server.on("GET /api/v1/wolf-instances", { body: [aWolf(1), aWolf(2)] });
  server.on("GET /api/v1/sessions", ({ query }) => ({
    body: query.get("status") === "running" ? [aSession(1, { name: "$(touch owned)`x`\n" })] : [],
  }));
});
afterEach(() => here.remove());

const words = (line: string) => {
  const program = createProgram(testEdges({ home: "/nonexistent" }));
  return complete(program, line.split(" ")).candidates.map(({ word }) => word);
};

describe("what can follow", () => {
  it.each([
    ["wo", ["wolves"]],
    ["wolves dr", ["drain"]],
    ["-o json wolves l", ["list"]],
    ["wolves list --st", ["--status"]],
    ["wolves list --status d", ["degraded"]],
    ["wolves list --status=o", ["--status=online", "--status=offline"]],
    ["wolves drain gpu-1 --then ", ["cordoned", "maintenance", "retired"]],
    ["sessions create -o ", ["table", "json", "yaml", "name"]],
    ["completion ", ["bash", "zsh", "fish"]],
    ["nonsense ", []],
    ["wolves list extra more ", []],
    ["wolves list --nonsense=", []],
  ])("%j: %j", (line, expected) => expect(words(line)).toEqual(expected));

  it("names every command but the hidden one", () => {
    expect(words("")).toEqual(expect.arrayContaining(["wolves", "sessions", "queue", "doctor", "config"]));
    expect(words("")).not.toContain("__complete");
  });

  it("is what only the control plane knows, where a wolf, a session or a profile is meant", () => {
    const program = createProgram(testEdges({ home: "/nonexistent" }));
    const known = (line: string) => complete(program, line.split(" ")).known;
    expect(
      [
        "wolves show ",
        "wolves drain a b ",
        "sessions list --wolf ",
        "sessions stop ",
        "config use ",
        "queue --profile ",
        "wolves show a ",
      ].map(known),
    ).toEqual(["wolves", "wolves", "wolves", "sessions", "profiles", "profiles", undefined]);
    expect(complete(program, ["queue", "--key-file", ""]).files).toBe(true);
  });
});

describe("the hidden command", () => {
  const ask = async (...typed: string[]) => (await here.run(["__complete", "--", ...typed])).out;

  it("names wolves and live sessions with what they are, as plain as a shell wants it", async () => {
    expect(await ask("wolves", "show", "gpu")).toBe("gpu-1\tonline\ngpu-2\tonline\n");
    expect(await ask("sessions", "stop", "")).toBe(`${sessionId(1)}\t (touch owned) x   (running)\n`);
  });

  it("says nothing where the control plane cannot be asked", async () => {
    server.on("GET /api/v1/wolf-instances", problem(401, "unauthenticated", "No."));
    expect(await here.run(["__complete", "--", "wolves", "show", ""])).toMatchObject({
      code: 0,
      out: "",
      err: "",
    });
    expect(await here.run(["__complete", "--", "wolves", "show", ""], { env: {} })).toMatchObject({
      code: 0,
      out: "",
    });
  });
});

describe("the script for a shell", () => {
  it("completes in bash, and evaluates nothing", async () => {
    const { out } = await here.run(["completion", "bash"]);
    const owned = path.join(here.home, "owned");
    // In place of wolfctl: what it would never say, said to the script.
    const fake = path.join(here.home, "wolfctl");
    writeFileSync(
      fake,
      `#!/bin/sh\nprintf 'gpu-1\\tonline\\n$(touch ${owned})\\tx\\n\`touch ${owned}\`\\ty\\n'\n`,
    );
    chmodSync(fake, 0o755);
    const script = `${out}\nCOMP_WORDS=(wolfctl wolves show "$1"); COMP_CWORD=3; _wolfctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const complete = (typed: string) =>
      spawnSync("bash", ["-c", script, "bash", typed], {
        encoding: "utf8",
        env: { PATH: `${here.home}:${process.env.PATH}` },
      }).stdout;
    expect(complete("gpu")).toBe("gpu-1\n");
    expect(complete("").split("\n")).toContain("gpu-1");
    expect(existsSync(owned)).toBe(false);
  });

  it.each(["bash", "zsh", "fish"])("of %s asks the hidden command", async (shell) => {
    expect((await here.run(["completion", shell])).out).toContain("wolfctl __complete --");
    expect((await here.run(["completion", "tcsh"])).code).toBe(2);
  });
});
