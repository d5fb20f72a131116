/** Which control plane a command talks to, and with which key: flags before variables before the profile. A pure decision. */
import { UsageError } from "../errors.ts";
import type { Profiles } from "./profiles.ts";

export interface TargetFlags {
  profile?: string | undefined;
  url?: string | undefined;
  keyFile?: string | undefined;
}

export interface Target {
  url: URL;
  /** Null: there is no key, and only what is public can be asked. */
  keyFile: string | null;
  /** Where each comes from, for people. */
  urlFrom: string;
  keyFrom: string;
  profile: string | null;
  warnings: string[];
}

const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/;

export function targetOf(
  flags: TargetFlags,
  env: Readonly<Record<string, string | undefined>>,
  profiles: Profiles,
): Target {
  const named = flags.profile ?? (env.WOLFCTL_PROFILE || undefined);
  const name = named ?? profiles.current;
  const profile = name === null ? undefined : profiles.profiles[name];
  if (named !== undefined && profile === undefined)
    throw new UsageError(`There is no profile ${named}; wolfctl config list shows those there are.`);
  const given: [string, string] | undefined = flags.url
    ? [flags.url, "--url"]
    : env.WOLFPACK_URL
      ? [env.WOLFPACK_URL, "WOLFPACK_URL"]
      : undefined;
  const overridden = given !== undefined && (flags.url !== undefined || flags.profile === undefined);
  const [text, urlFrom] =
    overridden && given ? given : profile ? [profile.url, `profile ${name}`] : (given ?? [undefined, ""]);
  if (text === undefined)
    throw new UsageError(
      "Which control plane? Make a profile (wolfctl config set NAME --url https://…), or set WOLFPACK_URL and WOLFPACK_API_KEY_FILE.",
    );
  const url = readUrl(text, urlFrom);
  const [keyFile, keyFrom] = keyOf(flags, env, { profile, name, url, urlFrom });
  const warnings =
    keyFile !== null && url.protocol === "http:" && !loopback.test(url.hostname)
      ? [`${url.origin} is not encrypted: whoever is on the way can read the API key. Use https.`]
      : [];
  return { url, keyFile, urlFrom, keyFrom, profile: profile === undefined ? null : name, warnings };
}

function keyOf(
  flags: TargetFlags,
  env: Readonly<Record<string, string | undefined>>,
  about: {
    profile: Profiles["profiles"][string] | undefined;
    name: string | null;
    url: URL;
    urlFrom: string;
  },
): [string | null, string] {
  const { profile, name, url, urlFrom } = about;
  if (flags.keyFile) return [flags.keyFile, "--key-file"];
  const ofProfile = profile?.key_file ?? null;
  const variable = env.WOLFPACK_API_KEY_FILE || undefined;
  // A profile that was asked for by name is meant as a whole.
  if (variable !== undefined && (flags.profile === undefined || ofProfile === null))
    return [variable, "WOLFPACK_API_KEY_FILE"];
  if (ofProfile === null || profile === undefined) return [null, ""];
  // A key is shown to no other control plane than that of its profile.
  if (URL.parse(profile.url)?.origin !== url.origin)
    throw new UsageError(
      `The key of profile ${name} is for ${profile.url}, and ${urlFrom} names another control plane: say --key-file as well.`,
    );
  return [ofProfile, `profile ${name}`];
}

/** Throws UsageError, without what may be a password in it. */
export function readUrl(text: string, from: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new UsageError(`${from}: the control plane's address is http://… or https://…`);
  if (url.username !== "" || url.password !== "")
    throw new UsageError(`${from}: there are credentials in the address; the key belongs into a file.`);
  if (url.search !== "" || url.hash !== "")
    throw new UsageError(`${from}: the address has a query or a fragment; give only what comes before it.`);
  return url;
}
