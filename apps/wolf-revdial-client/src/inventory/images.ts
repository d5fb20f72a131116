/**
 * Which images are on the host, as far as Wolf can say: the agent has no Docker socket. Those that Wolf's lobbies and apps
 * name, and those it pulls, are asked for one at a time, never beside the creation of a lobby. What Wolf does not say is unknown.
 */
import { type AgentImages, hostLimits, type WolfImage } from "@wolfpack/api-contract";
import {
  createWolfGuard,
  defaultWolfPolicy,
  ImageReference,
  parseWolfJson,
  wolfEventPrefix,
} from "@wolfpack/wolf-api";
import { z } from "zod";
import { type Clock, pause } from "../clock.ts";
import type { Log } from "../logger.ts";
import type { WolfLine } from "../wolf-line.ts";

export interface ImageWatchOptions {
  line: WolfLine;
  clock: Clock;
  log: Log;
  /** Says what is known now: it is other than before, or was asked for by `announce`. */
  tell: (images: AgentImages) => void;
}

export interface ImageWatch {
  /** Wolf is there, maybe another one than before: asks for all, and again every hour, until the signal aborts. */
  watch(signal: AbortSignal): Promise<void>;
  /** A list of lobbies, as Wolf answered. */
  saw(reply: Uint8Array): void;
  /** An event of Wolf. */
  heard(event: string, data: Record<string, unknown>): void;
  /** A tunnel has just come up. */
  announce(): void;
}

/** Someone may remove images, or change apps, without an event. */
const REFRESH_MS = 3_600_000;
const APPS = "/api/v1/apps";
const INSPECT = "/api/v1/docker/images/inspect";
const pullEnded = "DockerPullImageEndEvent";
const lobbyCreated = `${wolfEventPrefix}CreateLobbyEvent`;
const containerCreated = `${wolfEventPrefix}DockerContainerCreated`;

export function watchImages({ line, clock, log, tell }: ImageWatchOptions): ImageWatch {
  const get = asker(line, log);
  const names = imageNames();
  const known = new Map<string, WolfImage>();
  const due = new Set<string>();
  /** This Wolf has no route that tells of images. */
  let mute = false;
  let said: AgentImages | undefined;
  let nap = new AbortController();

  function ask(found: readonly string[]): void {
    for (const name of found) due.add(name);
    if (due.size > 0) nap.abort();
  }

  function meet(found: readonly string[]): void {
    names.meet(found);
    ask(found.filter((name) => !known.has(name)));
  }

  function say(): void {
    const found = keepOnly(names.all(), known);
    const images = mute || (!names.appsKnown && found.length === 0) ? null : found;
    if (JSON.stringify({ images }) === JSON.stringify(said)) return;
    said = { images };
    log.debug({ images: images?.length ?? null }, "Wolf's images");
    tell(said);
  }

  async function askDue(signal: AbortSignal): Promise<void> {
    for (const name of due) {
      due.delete(name);
      if (mute || !names.all().includes(name)) continue;
      await line.quiet(signal);
      const image = await inspect(get, name, signal);
      if (signal.aborted) return;
      mute = image === "no-route";
      if (image !== "no-route") known.set(name, image);
    }
    say();
  }

  return {
    async watch(signal) {
      while (!signal.aborted) {
        const found = await get(APPS, signal);
        if (signal.aborted) return;
        if (found?.status === 200) names.ofApps(imagesIn(found.body, "apps"));
        mute = false;
        ask(names.all());
        const againAt = clock.now() + REFRESH_MS;
        for (let left = REFRESH_MS; left > 0 && !signal.aborted; left = againAt - clock.now()) {
          nap = new AbortController();
          await askDue(signal);
          await pause(left, clock, AbortSignal.any([signal, nap.signal]));
        }
      }
    },
    saw(reply) {
      const found = imagesIn(reply, "lobbies");
      if (found === undefined) return;
      names.ofLobbies(found);
      meet(found);
    },
    heard(event, data) {
      if (event === lobbyCreated) meet(imagesOf([data]) ?? []);
      // What a container was made of is there, pulled or not.
      if (event === containerCreated) ask(names.met().filter((name) => known.get(name)?.state !== "present"));
      const pulled = event === pullEnded ? ImageReference.safeParse(data.image_name).data : undefined;
      if (pulled === undefined) return;
      names.meet([pulled]);
      ask([pulled]);
    },
    announce() {
      if (said !== undefined) tell(said);
    },
  };
}

/** Which images are of interest, at most 24: those of lobbies first, then those of apps, then those that were met earlier. */
function imageNames() {
  let apps: readonly string[] | undefined;
  let lobbies: readonly string[] = [];
  /** Named by a lobby or pulled at some time; the newest first. */
  let met: readonly string[] = [];
  const first = (found: readonly string[]) => [...new Set(found)].slice(0, hostLimits.imagesMax);
  return {
    get appsKnown() {
      return apps !== undefined;
    },
    /** Undefined: they could not be read. */
    ofApps(found: readonly string[] | undefined) {
      apps = found ?? apps;
    },
    ofLobbies(found: readonly string[]) {
      lobbies = found;
    },
    meet(found: readonly string[]) {
      met = first([...found, ...met]);
    },
    met: () => met,
    all: () => first([...lobbies, ...(apps ?? []), ...met]),
  };
}

/** What is left of `known`, by name. */
function keepOnly(names: readonly string[], known: Map<string, WolfImage>): WolfImage[] {
  for (const name of known.keys()) if (!names.includes(name)) known.delete(name);
  return [...known.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

type Got = { status: number; body: Uint8Array };
type Get = (path: string, signal: AbortSignal) => Promise<Got | undefined>;

/** Undefined: no answer, or none that could be read. What Wolf breaks (replies above 64 KiB) is asked for again. */
function asker({ ask }: WolfLine, log: Log): Get {
  const open = [APPS, INSPECT].map((path) => `GET ${path}`);
  const guard = createWolfGuard({ ask, policy: { ...defaultWolfPolicy, open }, createsMax: 1 });
  return async (path, signal) => {
    try {
      const reply = await guard({ method: "GET", path, body: nothing(), signal });
      return reply.ok ? reply : undefined;
    } catch (err) {
      log.warn({ err }, "Wolf could not be asked for its images");
      return undefined;
    }
  };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

const Listed = z.array(
  z.object({ runner: z.object({ image: ImageReference }) }).catch({ runner: { image: "" } }),
);

/** Undefined when the reply holds no such list. */
const imagesIn = (reply: Uint8Array, list: "apps" | "lobbies") => imagesOf(parsed(reply)[list]);

/** Of apps or lobbies; those without one, such as commands, are left out. */
function imagesOf(list: unknown): string[] | undefined {
  const { success, data } = Listed.safeParse(list);
  if (!success) return undefined;
  return [...new Set(data.map(({ runner }) => runner.image))].filter((name) => name !== "");
}

const Digest = z.string().regex(/^sha256:[0-9a-f]{1,64}$/);
/** Docker Engine API, GET /images/{name}/json. */
const Inspected = z.object({
  Id: Digest,
  RepoDigests: z.array(z.string()).catch([]),
  Size: z.int().min(0).nullable().catch(null),
  Created: z.string().catch(""),
});

/** `no-route`: this Wolf has no such route, so that nothing is known of any image. */
async function inspect(get: Get, name: string, signal: AbortSignal): Promise<WolfImage | "no-route"> {
  const reply = await get(`${INSPECT}?image_name=${name}`, signal);
  const nothingKnown = { name, id: null, digest: null, size_bytes: null, created_at: null };
  if (reply?.status === 404 && reply.body.byteLength === 0) return "no-route";
  const json = reply === undefined ? {} : parsed(reply.body);
  if (reply?.status === 404 && json.success === false) return { ...nothingKnown, state: "absent" };
  const { success, data } = Inspected.safeParse(reply?.status === 200 ? json : undefined);
  if (!success) return { ...nothingKnown, state: "unknown" };
  const [repository = ""] = name.split(/@|:(?!.*\/)/);
  const digests = data.RepoDigests.map((digest) => digest.split("@") as [string, string?]);
  const ours = digests.find(([of]) => of === repository) ?? digests[0];
  const created = Date.parse(data.Created);
  return {
    name,
    state: "present",
    id: data.Id,
    digest: Digest.safeParse(ours?.[1]).data ?? null,
    size_bytes: data.Size,
    created_at: Number.isNaN(created) ? null : new Date(created).toISOString(),
  };
}

/** {} for what is no JSON object. */
function parsed(reply: Uint8Array): Record<string, unknown> {
  try {
    const json: unknown = parseWolfJson(Buffer.from(reply).toString("utf8"));
    return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
