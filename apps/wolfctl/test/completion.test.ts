/** Completion: what can follow, in a shell as well, where nothing that comes from a control plane is ever evaluated. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
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

const isHere = (shell: string) => spawnSync(shell, ["-c", "exit 0"]).status === 0;
/** In place of what only a prompt has: it says what it was given. */
const zshStubs = `compdef() { : }
_describe() { print -rl -- "\${(@P)2}" }
_files() { print -r -- FILES }`;

/** How each shell is asked what follows `wolfctl wolves show` and what is typed; its own completion where that goes without a prompt. */
const asks: Record<string, (script: string) => string> = {
  bash: (script) =>
    `${script}\nCOMP_WORDS=(wolfctl wolves show "$1"); COMP_CWORD=3; _wolfctl; printf '%s\\n' "\${COMPREPLY[@]}"`,
  zsh: (script) => `${zshStubs}\n${script}\nwords=(wolfctl wolves show "$1"); CURRENT=4; _wolfctl`,
  fish: (script) => `${script}\ncomplete -C "wolfctl wolves show $argv[1]"`,
};
const commandLine: Record<string, (text: string, typed: string) => string[]> = {
  bash: (text, typed) => ["-c", text, "bash", typed],
  zsh: (text, typed) => ["-f", "-c", text, "zsh", typed],
  fish: (text, typed) => ["--no-config", "-c", text, typed],
};

describe("the script for a shell", () => {
  const shells = ["bash", "zsh", "fish"].map((shell) => ({ shell, here: isHere(shell) }));
  for (const { shell, here: isThere } of shells) {
    const title = `completes in ${shell}, and evaluates nothing`;
    const why = `${title} (skipped: there is no ${shell} on this machine)`;
    (isThere ? it : it.skip)(isThere ? title : why, async () => {
      const { out } = await here.run(["completion", shell]);
      const owned = path.join(here.home, "owned");
      const asked = path.join(here.home, "asked");
      // In place of wolfctl: what it would never say, said to the script.
      const fake = path.join(here.home, "wolfctl");
      writeFileSync(
        fake,
        `#!/bin/sh\nprintf '%s|' "$@" > ${asked}\nprintf 'gpu-1\\tonline\\n$(touch ${owned})\\tx\\n\`touch ${owned}\`\\ty\\n'\n`,
      );
      chmodSync(fake, 0o755);
      const complete = (typed: string) => {
        const text = asks[shell]?.(out) ?? "";
        const { stdout, stderr } = spawnSync(shell, commandLine[shell]?.(text, typed) ?? [], {
          encoding: "utf8",
          env: { PATH: `${here.home}:${process.env.PATH}`, HOME: here.home },
        });
        expect(stderr).toBe("");
        return stdout.split("\n").map((line) => line.replace(/[\t:]online$/, ""));
      };
      expect(complete("gpu")).toContain("gpu-1");
      expect(readFileSync(asked, "utf8")).toBe("__complete|--|wolves|show|gpu|");
      expect(complete("")).toContain("gpu-1");
      expect(readFileSync(asked, "utf8")).toBe("__complete|--|wolves|show||");
      expect(existsSync(owned)).toBe(false);
    });
  }

  it.each(["bash", "zsh", "fish"])("of %s asks the hidden command", async (shell) => {
    expect((await here.run(["completion", shell])).out).toContain("wolfctl __complete --");
    expect((await here.run(["completion", "tcsh"])).code).toBe(2);
  });
});
