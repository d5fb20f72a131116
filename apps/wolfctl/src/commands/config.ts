/** `wolfctl config`: profiles, and the keys for them in files of their own. */

import { rmSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { readKey, readKeyFile } from "../config/key-file.ts";
import {
  keyFileOf,
  ProfileName,
  profilesFile,
  readProfiles,
  writeProfiles,
  writeWhole,
} from "../config/profiles.ts";
import { readUrl } from "../config/target.ts";
import { Interrupted, NotFound, UsageError } from "../errors.ts";
import { readAll } from "../input.ts";
import { fact, factsText } from "../output/facts.ts";
import type { ListView } from "../output/output.ts";
import type { Binder, Run } from "../run.ts";

interface Shown {
  name: string;
  current: boolean;
  url: string;
  key_file: string | null;
}

export function configCommand(program: Command, bind: Binder): void {
  const config = program.command("config").description("Which control planes this machine talks to");
  config
    .command("set")
    .description("Make a profile or change it; the first one is used from then on")
    .argument("<profile>", "its name")
    .option("--url <url>", "The control plane: https://…")
    .option("--key-file <file>", "The file with its API key; or wolfctl config set-key")
    .action(bind<{ url?: string; keyFile?: string }, [string]>(set));
  config
    .command("set-key")
    .description("Ask for an API key, or read it from stdin, and keep it in a file of mode 600")
    .argument("[profile]", "its name; default: the one in use")
    .action(bind<object, [string | undefined]>(setKey));
  config
    .command("use")
    .description("Use this profile from now on")
    .argument("<profile>", "its name")
    .action(
      bind<object, [string]>(async (run, _flags, name) => {
        const profiles = existing(run, name);
        writeProfiles(run.edges, { ...profiles, current: name });
        await run.out.done(`${name} is used from now on: ${profiles.profiles[name]?.url}`);
      }),
    );
  config
    .command("list")
    .alias("ls")
    .description("List profiles")
    .action(bind<object, []>((run) => run.out.list(shownOf(run), profileList)));
  config
    .command("show")
    .description("Show what commands would use now, and where each part comes from")
    .action(bind<object, []>(show));
  config
    .command("remove")
    .description("Remove a profile and the key that wolfctl keeps for it")
    .argument("<profile>", "its name")
    .action(bind<object, [string]>(remove));
}

async function set(
  run: Run,
  { url, keyFile }: { url?: string; keyFile?: string },
  name: string,
): Promise<void> {
  if (!ProfileName.safeParse(name).success)
    throw new UsageError(
      "A profile's name has 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit.",
    );
  const profiles = readProfiles(run.edges);
  const before = profiles.profiles[name];
  if (url === undefined && before === undefined) throw new UsageError("A new profile needs --url https://…");
  const { href } = readUrl(url ?? before?.url ?? "", "--url");
  if (keyFile !== undefined) readKeyFile(keyFile);
  // A key is for one control plane: at another address it would be shown to somebody else.
  const moved = before !== undefined && URL.parse(before.url)?.origin !== URL.parse(href)?.origin;
  // Wherever it is used from.
  const key_file = (keyFile && path.resolve(keyFile)) ?? (moved ? null : (before?.key_file ?? null));
  const changed = { ...profiles.profiles, [name]: { url: href.replace(/\/+$/, ""), key_file } };
  writeProfiles(run.edges, { ...profiles, current: profiles.current ?? name, profiles: changed });
  await run.out.done(`${name} is ${href.replace(/\/+$/, "")}.`);
  if (key_file === null) await run.out.note(`It has no key yet: wolfctl config set-key ${name}`);
}

async function setKey(run: Run, _flags: object, given: string | undefined): Promise<void> {
  const { edges } = run;
  const name = given ?? run.flags.profile ?? readProfiles(edges).current ?? undefined;
  if (name === undefined)
    throw new UsageError("There is no profile yet: wolfctl config set NAME --url https://…");
  const profiles = existing(run, name);
  const text = edges.stdin.isTTY
    ? await edges.ask(`API key for ${name} (it is not shown): `, { hidden: true })
    : Buffer.from(await readAll(edges.stdin, 4096, "A key")).toString("latin1");
  if (edges.signal.aborted) throw new Interrupted();
  const key = readKey(text, "What was given");
  const file = keyFileOf(edges, name);
  writeWhole(file, `${key}\n`);
  const before = profiles.profiles[name];
  if (before !== undefined)
    writeProfiles(edges, {
      ...profiles,
      profiles: { ...profiles.profiles, [name]: { ...before, key_file: file } },
    });
  await run.out.done(`The key of ${name} is in ${file}, readable for you alone.`);
}

async function show(run: Run): Promise<void> {
  const { url, urlFrom, keyFile, keyFrom, profile } = run.target();
  const shown = {
    profile,
    url: url.href.replace(/\/+$/, ""),
    url_from: urlFrom,
    key_file: keyFile,
    key_from: keyFrom || null,
  };
  await run.out.one(shown, {
    name: (one) => one.profile ?? "",
    text: (one, options) =>
      factsText(
        [
          {
            facts: [
              fact("profile", one.profile ?? "none"),
              fact("control plane", `${one.url} (${one.url_from})`),
              fact(
                "key",
                one.key_file === null ? "none" : `${one.key_file} (${one.key_from})`,
                one.key_file === null ? "warn" : "none",
              ),
              fact("profiles", profilesFile(run.edges)),
            ],
          },
        ],
        options,
      ),
  });
}

async function remove(run: Run, _flags: object, name: string): Promise<void> {
  const { edges } = run;
  const profiles = existing(run, name);
  await run.confirm(
    `Remove the profile ${name} and its key from this machine? The key stays valid until it is revoked.`,
  );
  const { [name]: _gone, ...rest } = profiles.profiles;
  writeProfiles(edges, {
    ...profiles,
    current: profiles.current === name ? null : profiles.current,
    profiles: rest,
  });
  // Only the one that wolfctl has written: others belong to whoever made them.
  rmSync(keyFileOf(edges, name), { force: true });
  await run.out.done(`${name} is removed.`);
}

/** Throws NotFound. */
function existing(run: Run, name: string) {
  const profiles = readProfiles(run.edges);
  if (!Object.hasOwn(profiles.profiles, name))
    throw new NotFound(`There is no profile ${name}; wolfctl config list shows those there are.`);
  return profiles;
}

function shownOf(run: Run): Shown[] {
  const { current, profiles } = readProfiles(run.edges);
  return Object.entries(profiles).map(([name, profile]) => ({ name, current: name === current, ...profile }));
}

const profileList: ListView<Shown> = {
  none: "There are no profiles yet: wolfctl config set NAME --url https://…",
  name: ({ name }) => name,
  columns: [
    { title: "", of: ({ current }) => (current ? { text: "*", tone: "good" } : "") },
    { title: "NAME", of: ({ name }) => name, shrinkTo: 12 },
    { title: "CONTROL PLANE", of: ({ url }) => url, shrinkTo: 20 },
    { title: "KEY FILE", of: ({ key_file }) => key_file ?? "none", shrinkTo: 12 },
  ],
};
