/** Profiles and keys: which control plane and key are meant, and that a key is shown to nobody else and read from nowhere that others can read. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Profiles } from "../src/config/profiles.ts";
import { targetOf } from "../src/config/target.ts";
import { KEY, machine, type Options } from "./edges.ts";

let here: ReturnType<typeof machine>;
beforeEach(() => {
  here = machine("http://unused");
});
afterEach(() => here.remove());

const run = (words: string[], options: Partial<Options> = {}) => here.run(words, { env: {}, ...options });
const folder = () => path.join(here.home, ".config", "wolfctl");

describe("a profile", () => {
  it.each([0o666, 0o620, 0o602])(
    "is used neither for calls nor for changes where others can change it (mode %o)",
    async (mode) => {
      await run(["config", "set", "home", "--url", "http://127.0.0.1:1"]);
      await run(["config", "set-key"], { stdin: `${KEY}\n` });
      const file = path.join(folder(), "profiles.json");
      const before = readFileSync(file, "utf8");
      chmodSync(file, mode);
      for (const words of [["queue"], ["config", "list"], ["config", "set", "new", "--url", "http://x"]]) {
        const { code, out, err } = await run(words);
        expect([words, code, out]).toEqual([words, 2, ""]);
        expect(err).toContain(`can be changed by others (mode ${mode.toString(8)})`);
        expect(err).toContain(`chmod 600 ${file}`);
      }
      expect(readFileSync(file, "utf8")).toBe(before);
      chmodSync(file, 0o644);
      expect((await run(["config", "list", "-o", "name"])).out).toBe("home\n");
    },
  );

  it("is made, given a key, used and removed, in files of mode 600", async () => {
    expect(await run(["config", "set", "home", "--url", "https://wolfpack.example.com/"])).toMatchObject({
      code: 0,
      out: "home is https://wolfpack.example.com.\n",
      err: "It has no key yet: wolfctl config set-key home\n",
    });
    const set = await run(["config", "set-key"], { stdin: `${KEY}\n` });
    expect([set.code, (set.out + set.err).includes(KEY)]).toEqual([0, false]);
    const keyFile = path.join(folder(), "keys", "home");
    expect(readFileSync(keyFile, "utf8")).toBe(`${KEY}\n`);
    for (const file of [keyFile, path.join(folder(), "profiles.json")])
      expect(statSync(file).mode & 0o777).toBe(0o600);
    for (const one of [folder(), path.join(folder(), "keys")]) expect(statSync(one).mode & 0o777).toBe(0o700);
    expect(readFileSync(path.join(folder(), "profiles.json"), "utf8")).not.toContain(KEY);
    await run(["config", "set", "other", "--url", "http://127.0.0.1:9"]);
    expect(JSON.parse((await run(["config", "list", "-o", "json"])).out)).toEqual([
      { name: "home", current: true, url: "https://wolfpack.example.com", key_file: keyFile },
      { name: "other", current: false, url: "http://127.0.0.1:9", key_file: null },
    ]);
    expect((await run(["config", "use", "other"])).out).toContain("other is used from now on");
    expect((await run(["config", "show"])).out).toContain("http://127.0.0.1:9 (profile other)");
    expect((await run(["config", "remove", "home", "--yes"])).code).toBe(0);
    expect(existsSync(keyFile)).toBe(false);
  });

  it("asks for its key without showing it, on a terminal", async () => {
    await run(["config", "set", "home", "--url", "https://a.example"]);
    const { code, edges, out } = await run(["config", "set-key", "home"], { isTTY: true, answers: [KEY] });
    expect([code, edges.questions, out.includes(KEY)]).toEqual([
      0,
      [expect.stringContaining("not shown")],
      false,
    ]);
  });

  it("gives its key up when its address moves to another control plane", async () => {
    await run(["config", "set", "home", "--url", "https://a.example"]);
    await run(["config", "set-key"], { stdin: KEY });
    await run(["config", "set", "home", "--url", "https://a.example/fleet"]);
    expect(JSON.parse((await run(["config", "list", "-o", "json"])).out)[0].key_file).not.toBeNull();
    await run(["config", "set", "home", "--url", "https://b.example"]);
    expect(JSON.parse((await run(["config", "list", "-o", "json"])).out)[0].key_file).toBeNull();
  });

  it.each([
    [["config", "set", "home"], "needs --url"],
    [["config", "set", "../home", "--url", "https://a.example"], "name has 1 to 63"],
    [["config", "set", "home", "--url", "ftp://a.example"], "http://… or https://…"],
    [["config", "set", "home", "--url", "https://user:secret@a.example"], "credentials in the address"],
    [["config", "set", "home", "--url", "https://a.example/?token=x"], "a query"],
    [
      ["config", "set", "home", "--url", "https://a.example", "--key-file", "/nonexistent"],
      "it does not exist",
    ],
    [["config", "set-key"], "no profile yet"],
    [["config", "show"], "Which control plane?"],
    [["queue"], "Which control plane?"],
    [["queue", "--profile", "nope"], "There is no profile nope"],
  ])("is refused with a sentence: %j", async (words, sentence) => {
    const { code, err } = await run(words);
    expect([code, err]).toEqual([2, expect.stringContaining(sentence)]);
    expect(err).not.toContain("secret");
  });

  it("that is not there is not found, and one named as an object's own members is not either", async () => {
    for (const name of ["nope", "constructor", "toString"])
      expect((await run(["config", "use", name])).code).toBe(4);
  });

  it.each([
    "",
    "{",
    "[]",
    '{"format":2,"current":null,"profiles":{}}',
    '{"format":1,"current":null,"profiles":{"a":{"url":5}}}',
  ])("file that is none is said and left as it is: %s", async (text) => {
    mkdirSync(folder(), { recursive: true });
    writeFileSync(path.join(folder(), "profiles.json"), text);
    const { code, err } = await run(["config", "set", "home", "--url", "https://a.example"]);
    expect([code, err]).toEqual([2, expect.stringContaining("is no file of profiles")]);
    expect(readFileSync(path.join(folder(), "profiles.json"), "utf8")).toBe(text);
  });
});

describe("a key file", () => {
  const withKey = (file: string) => run(["queue", "--url", "http://127.0.0.1:9", "--key-file", file]);

  it.each([0o644, 0o640, 0o604, 0o660])("of mode %o is open to others and not read", async (mode) => {
    chmodSync(here.keyFile, mode);
    const { code, err } = await withKey(here.keyFile);
    expect([code, err]).toEqual([2, expect.stringContaining(`chmod 600 ${here.keyFile}`)]);
  });

  it("that holds no key is refused without what is in it", async () => {
    for (const text of ["", " \n", "two words", "x".repeat(600), "wpk_\u00e9\u0000"]) {
      writeFileSync(here.keyFile, text);
      const { code, err } = await withKey(here.keyFile);
      expect([text, code]).toEqual([text, 2]);
      if (text.trim() !== "") expect(err).not.toContain(text.trim());
    }
  });

  it("that is a folder, or leads nowhere, is refused", async () => {
    const link = path.join(here.home, "link");
    symlinkSync("/nonexistent", link);
    for (const file of [here.home, link]) expect((await withKey(file)).code).toBe(2);
  });
});

describe("the target", () => {
  const profiles: Profiles = {
    format: 1,
    current: "a",
    profiles: {
      a: { url: "https://a.example", key_file: "/keys/a" },
      b: { url: "https://b.example", key_file: "/keys/b" },
    },
  };
  const meant = (flags: object, env: Record<string, string>) => {
    const { url, keyFile } = targetOf(flags, env, profiles);
    return `${url.origin} ${keyFile}`;
  };

  it("is what flags say before variables before the profile in use", () => {
    expect(meant({}, {})).toBe("https://a.example /keys/a");
    expect(meant({}, { WOLFCTL_PROFILE: "b" })).toBe("https://b.example /keys/b");
    expect(meant({}, { WOLFPACK_URL: "https://v.example", WOLFPACK_API_KEY_FILE: "/keys/v" })).toBe(
      "https://v.example /keys/v",
    );
    expect(
      meant({ profile: "b" }, { WOLFPACK_URL: "https://v.example", WOLFPACK_API_KEY_FILE: "/keys/v" }),
    ).toBe("https://b.example /keys/b");
    expect(
      meant({ url: "https://f.example", keyFile: "/keys/f" }, { WOLFPACK_URL: "https://v.example" }),
    ).toBe("https://f.example /keys/f");
    expect(meant({ keyFile: "/keys/f" }, {})).toBe("https://a.example /keys/f");
  });

  it("never gets the key of a profile that is for another control plane", () => {
    for (const [flags, env] of [
      [{ url: "https://f.example" }, {}],
      [{ url: "https://f.example", profile: "b" }, {}],
      [{}, { WOLFPACK_URL: "https://v.example" }],
      [{}, { WOLFPACK_URL: "http://a.example" }],
    ] as const)
      expect(() => targetOf(flags, env, profiles)).toThrow(/names another control plane/);
    expect(meant({ url: "https://a.example/prefix" }, {})).toBe("https://a.example /keys/a");
  });

  it("comes with a warning where the key would travel unencrypted", () => {
    const warningsOf = (url: string) => targetOf({ url, keyFile: "/k" }, {}, profiles).warnings;
    expect(warningsOf("http://wolfpack.example.com")).toEqual([expect.stringContaining("not encrypted")]);
    for (const url of [
      "https://wolfpack.example.com",
      "http://127.0.0.1:8080",
      "http://[::1]",
      "http://localhost",
    ])
      expect(warningsOf(url)).toEqual([]);
  });
});

describe("a key in the command line", () => {
  it("is refused whatever the command, and not repeated", async () => {
    for (const words of [
      ["queue", "--key", KEY],
      ["queue", KEY],
      ["config", "set-key", KEY],
      ["--url", `http://x/${KEY}`, "queue"],
    ]) {
      const { code, out, err } = await run(words);
      expect([code, out]).toEqual([2, ""]);
      expect(err).toContain("revoke it");
      expect(err).not.toContain(KEY);
    }
  });
});
