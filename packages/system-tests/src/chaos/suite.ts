/**
 * The main job behind each profile: a host joins through the proxy, a user works through the same proxy, the link does what the
 * profile says, and in the end nothing is lost and nothing is there twice.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type WolfInstance, wolfpackClient } from "@wolfpack/api-contract";
import { lobbiesOn } from "../lobbies-on.ts";
import type { Stack } from "../stack.ts";
import { type EventReader, type ReadEvent, readEvents } from "./event-reader.ts";
import { Jobs, type Session } from "./job.ts";
import { plainFetch } from "./plain-fetch.ts";
import { type Profile, type ProfileName, profiles, scaled } from "./profiles.ts";
import { type ChaosProxy, startChaosProxy } from "./proxy.ts";

/**
 * Of the control plane: links are cut here far more often than on a host that would deserve a quarantine, and a host that leaves when
 * its profile has been played is part of no mass loss.
 */
export const suiteEnv = {
  WOLFPACK_FLAPS_MAX: "1000",
  WOLFPACK_CREATE_FAILURES_MAX: "1000",
  WOLFPACK_MASS_LOSS_WOLVES_MIN: "1000",
};

/**
 * For who cannot wait. Of nat-expiry 2 s: less than the 5 s between two pings, so that the tunnel itself is forgotten, which never
 * happens in the 60 s of the profile.
 */
export const quickFactor = (name: ProfileName): number => (name === "nat-expiry" ? 2 / 60 : 1 / 3);

export interface SuiteOptions {
  stack: Stack;
  name: ProfileName;
  /** Of the profile's periods. 1: as they are. */
  factor: number;
  seed: number;
  /** At work for so long at least. Default: until the link has done what it does. */
  minutes?: number;
}

/** How a tunnel ended, as one of its ends wrote it. */
export interface TunnelDown {
  by: "control plane" | "agent";
  code: string;
  /** Of a peer that was taken for dead: for how long nothing had been heard of it. */
  silentMs?: number;
}

export interface ProfileResult {
  profile: ProfileName;
  factor: number;
  seconds: number;
  jobs: number;
  calls: number;
  /** Calls that were made again. */
  retries: number;
  /** Sessions whose wolf went away while their sandbox was begun, with no other wolf to go to: the user asked for another. */
  startsFailed: number;
  events: number;
  streamsResumed: number;
  /** The wolf's tunnels, one after the other. */
  tunnels: number;
  downs: TunnelDown[];
  /** What became of the wolf meanwhile, one after the other. */
  connectivity: string[];
  proxy: ReturnType<ChaosProxy["counts"]>;
}

const LOOPBACK = "127.0.0.1";
/** So long a call may be tried again: the longest outage, and what it takes to come back. */
const GIVE_UP_MS = 60_000;
/** The control plane sends a beat every 15 s. */
const STREAM_SILENT_MS = 40_000;
/** After what the link has done, so many jobs have to be done from begin to end. */
const JOBS_AFTER = 2;
/** How often an agent and a control plane ping each other: what forgets connections sooner forgets the tunnel. */
const PING_MS = 5000;

/** Rejects with what does not hold. */
export async function playProfile(options: SuiteOptions): Promise<ProfileResult> {
  const { stack, name, factor, seed, minutes = 0 } = options;
  const profile: Profile = scaled(profiles[name], factor);
  const to = { host: LOOPBACK, port: Number(new URL(stack.baseUrl).port) };
  const proxy = await startChaosProxy({ listen: { host: LOOPBACK, port: 0 }, to, profile, seed });
  const play = new Play(stack, name, profile, proxy);
  try {
    return { factor, ...(await play.run(minutes * 60_000)) };
  } finally {
    await play.end();
    await proxy.close();
  }
}

class Play {
  private readonly stack: Stack;
  private readonly name: ProfileName;
  private readonly profile: Profile;
  private readonly proxy: ChaosProxy;
  private readonly begunAt = performance.now();
  private readonly way = plainFetch();
  private reader: EventReader | undefined;

  constructor(stack: Stack, name: ProfileName, profile: Profile, proxy: ChaosProxy) {
    this.stack = stack;
    this.name = name;
    this.profile = profile;
    this.proxy = proxy;
  }

  private get hostName(): string {
    return `host-${this.name}`;
  }

  async run(workMs: number): Promise<Omit<ProfileResult, "factor">> {
    const { stack, proxy, name } = this;
    const { fetch } = this.way;
    const url = `http://${LOOPBACK}:${proxy.port}`;
    await stack.startHost({ name: this.hostName, gpu: "nvidia", maxSandboxes: 4, apiUrl: url });
    await stack.until(`${name} has joined`, async () => this.isOnline(await this.wolf()), 45_000);
    const admin = stack.client();
    const { body: user } = await admin.createUser({ body: { name: `user-${name}` } });
    const { body: key } = await admin.createApiKey({ body: { name: "chaos", user_id: user.id } });
    const { body: newest } = await admin.listEvents({ query: { newest_first: "true", limit: 1 } });
    const cursor = newest[0]?.id ?? "";
    const silentMsMax = Math.max(4000, STREAM_SILENT_MS * (this.factorOfSilence ?? 1));
    this.reader = readEvents({ url, apiKey: key.key, fetch, cursor, silentMsMax });
    const jobs = new Jobs(
      wolfpackClient({ baseUrl: url, apiKey: key.key, fetch }),
      this.hostName,
      GIVE_UP_MS + (this.profile.weather?.badMs ?? 0),
    );

    const resident = await jobs.create();
    await jobs.once();
    await this.untilTheLinkHasDoneIt(jobs);
    while (performance.now() - this.begunAt < workMs) await jobs.once();
    const before = jobs.done;
    while (jobs.done < before + JOBS_AFTER) await jobs.once();
    await this.residentIsAsItWas(jobs, resident);
    await jobs.stop(resident);
    await this.nothingIsLeft(jobs, stack.client(key.key));
    await this.everyEventCameOnce(this.reader, key.key, cursor);
    return this.result(jobs, cursor);
  }

  async end(): Promise<void> {
    await this.reader?.stop();
    await this.way.close();
    await this.stack.killAgent(this.hostName).catch(() => undefined);
  }

  /** A scaled network is watched by a client that is as much quicker. */
  private get factorOfSilence(): number | undefined {
    const { weather, forgottenAfterMs } = profiles[this.name] as Profile;
    if (weather && this.profile.weather) return this.profile.weather.goodMs / weather.goodMs;
    if (forgottenAfterMs && this.profile.forgottenAfterMs)
      return this.profile.forgottenAfterMs / forgottenAfterMs;
    return undefined;
  }

  private async wolf(): Promise<WolfInstance | undefined> {
    return (await this.stack.client().listWolves({ query: { name: this.hostName } })).body[0];
  }

  private isOnline(wolf: WolfInstance | undefined): boolean {
    return wolf?.status === "online" && wolf.reconciled === true && wolf.connectivity === "connected";
  }

  private async untilTheLinkHasDoneIt(jobs: Jobs): Promise<void> {
    const { proxy, profile } = this;
    if (profile.weather) {
      const { outages } = proxy.counts();
      // At work all the time: whatever is in flight when it breaks has to come to a good end.
      while (proxy.counts().outages === outages) await jobs.once();
    }
    const { forgottenAfterMs } = profile;
    if (forgottenAfterMs === undefined) return;
    const { forgotten } = proxy.counts();
    const epoch = (await this.wolf())?.tunnel?.epoch ?? 0;
    // Nobody works: only what keeps the tunnel alive is left.
    await new Promise((resolve) => setTimeout(resolve, forgottenAfterMs * 1.25));
    if (forgottenAfterMs > PING_MS) {
      const now = (await this.wolf())?.tunnel?.epoch;
      if (now !== epoch) throw new Error(`the quiet tunnel was not kept alive: epoch ${epoch}, now ${now}`);
      return;
    }
    await this.stack.until("the tunnel was forgotten", async () => proxy.counts().forgotten > forgotten);
    const isNewer = async () => ((await this.wolf())?.tunnel?.epoch ?? 0) > epoch;
    await this.stack.until("the forgotten tunnel was replaced", isNewer, 45_000);
  }

  private async residentIsAsItWas(jobs: Jobs, resident: Session): Promise<void> {
    const now = await jobs.becomes(resident.id, "running");
    if (now.lobby_id !== resident.lobby_id || now.wolf_instance_id !== resident.wolf_instance_id)
      throw new Error(`session ${resident.id} has another sandbox than before`);
    // What was stopped, or begun in vain, while nobody could ask the Wolf is stopped there once somebody can.
    await this.stack.until(`${this.hostName} runs the sandbox of ${resident.id} and no other`, async () => {
      const lobbies = await lobbiesOn(this.stack.socketOf(this.hostName));
      return lobbies.length === 1 && lobbies[0]?.id === resident.lobby_id;
    });
    await jobs.use(resident);
  }

  private async nothingIsLeft(jobs: Jobs, user: ReturnType<Stack["client"]>): Promise<void> {
    const { body: sessions } = await user.listSessions({ query: { limit: 200 } });
    const names = sessions.map(({ name }) => name).toSorted();
    if (names.join() !== jobs.keys.toSorted().join())
      throw new Error(`${jobs.keys.length} sessions were asked for, and there are ${sessions.length}`);
    const odd = sessions.filter(({ name, status, stop_reason }) =>
      // Its user has been told so, and has asked for another.
      jobs.unstarted.has(name) ? status !== "failed" : status !== "stopped" || stop_reason !== "requested",
    );
    if (odd.length > 0)
      throw new Error(
        `session ${odd[0]?.id} is ${odd[0]?.status} (${odd[0]?.stop_reason ?? odd[0]?.failure?.reason})`,
      );
    await this.stack.until(`nothing is left on ${this.hostName}`, async () => {
      const lobbies = await lobbiesOn(this.stack.socketOf(this.hostName));
      return lobbies.length === 0 && (await this.wolf())?.connected_sandboxes === 0;
    });
  }

  /** What came by the stream is what there is, in its order, and nothing of it twice. */
  private async everyEventCameOnce(reader: EventReader, apiKey: string, cursor: string): Promise<void> {
    const all = await eventsBehind(this.stack.client(apiKey), cursor);
    // Ids do not rise with the order: each event has its place in it.
    const last = () => reader.events.findIndex(({ id }) => id === all.at(-1)?.id);
    await this.stack.until(`the last event came through ${this.name}`, async () => last() >= 0, GIVE_UP_MS);
    if (reader.missed.length > 0) throw new Error(`the stream missed events: ${reader.missed.join()}`);
    const came = reader.events.slice(0, last() + 1);
    if (ids(came) !== ids(all))
      throw new Error(`the stream is not what was written: ${differences(all, came)}`);
    const ends = all.filter(({ kind }) => kind === "session.stopped").map(({ session_id }) => session_id);
    if (new Set(ends).size !== ends.length) throw new Error("a session was stopped twice");
  }

  private async result(jobs: Jobs, cursor: string): Promise<Omit<ProfileResult, "factor">> {
    const { stack, proxy, name } = this;
    const wolf = await this.wolf();
    const seen = (await eventsBehind(stack.client(), cursor)).filter(
      (event) => event.wolf_instance_id === wolf?.id,
    );
    return {
      profile: name,
      seconds: Math.round((performance.now() - this.begunAt) / 100) / 10,
      jobs: jobs.done,
      calls: jobs.calls,
      retries: jobs.retries,
      startsFailed: jobs.unstarted.size,
      events: this.reader?.events.length ?? 0,
      streamsResumed: this.reader?.resumed() ?? 0,
      tunnels: 1 + seen.filter(({ kind }) => kind === "wolf.tunnel").length,
      downs: downsOf(stack.logFolder, this.hostName, wolf?.id ?? ""),
      connectivity: seen
        .filter(({ kind }) => kind === "wolf.connectivity")
        .map(({ detail }) => String(detail.to)),
      proxy: proxy.counts(),
    };
  }
}

async function eventsBehind(api: ReturnType<Stack["client"]>, cursor: string): Promise<ReadEvent[]> {
  const all: ReadEvent[] = [];
  for (let more = true; more; ) {
    const behind = all.at(-1)?.id ?? cursor;
    const { body } = await api.listEvents({ query: { limit: 200, ...(behind && { cursor: behind }) } });
    all.push(...(body as ReadEvent[]));
    more = body.length === 200;
  }
  return all;
}

const ids = (events: readonly ReadEvent[]) => events.map(({ id }) => id).join();

function differences(written: readonly ReadEvent[], came: readonly ReadEvent[]): string {
  const say = (events: readonly ReadEvent[]) =>
    events.map(({ kind, id }) => `${kind} ${id}`).join(", ") || "none";
  const cameIds = new Set(came.map(({ id }) => id));
  const writtenIds = new Set(written.map(({ id }) => id));
  const missing = written.filter(({ id }) => !cameIds.has(id));
  const strange = came.filter(({ id }) => !writtenIds.has(id));
  return `missing ${say(missing)}; more than that ${say(strange)}; ${came.length - cameIds.size} twice`;
}

/** The ends of a wolf's tunnels, by the logs of both sides. */
export function downsOf(logFolder: string, hostName: string, wolfId: string): TunnelDown[] {
  const linesOf = (file: string, by: TunnelDown["by"], mine: (line: Record<string, unknown>) => boolean) =>
    readFileSync(path.join(logFolder, file), "utf8")
      .split("\n")
      .filter((line) => line.startsWith("{") && line.includes('"msg":"tunnel down"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(mine)
      .map(({ code, reason }): TunnelDown => {
        const silent = /nothing heard for (\d+) ms/.exec(String(reason))?.[1];
        return { by, code: String(code), ...(silent !== undefined && { silentMs: Number(silent) }) };
      });
  return [
    ...linesOf("control-plane.log", "control plane", ({ wolf_id }) => wolf_id === wolfId),
    ...linesOf(`${hostName}.agent.log`, "agent", () => true),
  ];
}
