/** `wolfctl events`: what happened to sessions, wolves and the fleet, and what happens now. */
import { BEFORE_ALL_EVENTS, type FleetEvent, isKindFilter, SessionId } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { type EventFilter, follow } from "../events/follow.ts";
import { actorIdOf, wolfIdOf, wolfNames } from "../lookup.ts";
import { listed, readLimit } from "../pages.ts";
import type { Binder, Run } from "../run.ts";
import { eventText, idsOf } from "../views/event-view.ts";

interface Flags {
  kind?: string;
  session?: string;
  wolf?: string;
  actor?: string;
  follow?: boolean;
  limit?: string;
}

const SHOWN_BEFORE = "20";
const SHOWN = "50";
const FOLLOWED_BEFORE_MAX = 1000;
const USERS_MAX = 1000;

export function eventsCommand(program: Command, bind: Binder): void {
  program
    .command("events")
    .description("What happened to sessions, wolves and the fleet, the newest last")
    .option("--kind <kind>", "Only these: session.running, or all of a sort: session.*")
    .option("--session <session>", "Only of this session")
    .option("--wolf <wolf>", "Only of this wolf, by name or id")
    .option("--actor <actor>", "Only what this user, or this wolf's agent, did; by name or id")
    .option("-f, --follow", "Go on with what happens, until Ctrl-C")
    .addOption(new Option("--limit <number>", "How many of the past, or all; default: 50, with --follow 20"))
    .action(bind<Flags, []>(events));
}

async function events(run: Run, flags: Flags): Promise<void> {
  const connection = run.connection();
  const wanted = readLimit(flags.limit ?? (flags.follow ? SHOWN_BEFORE : SHOWN));
  if (flags.follow && wanted > FOLLOWED_BEFORE_MAX)
    throw new UsageError(`With --follow, --limit is at most ${FOLLOWED_BEFORE_MAX}.`);
  const filter = await filterOf(run, flags);
  const { items, more } = await listed(wanted, (page) =>
    connection.call("listEvents", { query: { ...filter, ...page, newest_first: "true" } }),
  );
  const past = items.toReversed();
  const names = createNames(run);
  const print = async (event: FleetEvent) => {
    if (run.out.format === "table") await names.learn([event]);
    await run.out.write(eventText(event, names.known, run.out));
  };
  if (run.out.format === "table") await names.learn(past);
  if (!flags.follow) {
    const none = "There are no events that fit.";
    if (run.out.format !== "table") return run.out.list(past, { columns: [], none, name: ({ id }) => id });
    await run.out.write(past.map((event) => eventText(event, names.known, run.out)).join(""));
    if (past.length === 0) await run.out.note(none);
    else if (more) await run.out.note("There are earlier ones: --limit shows more.");
    return;
  }
  for (const event of past) await print(event);
  // Of those that fit there were none yet: so that none is missed that happens before the stream has begun.
  const after = past.at(-1)?.id ?? BEFORE_ALL_EVENTS;
  await follow(
    { connection, edges: run.edges, filter, after },
    { event: print, note: (sentence) => run.out.note(sentence) },
  );
}

async function filterOf(run: Run, { kind, session, wolf, actor }: Flags): Promise<EventFilter> {
  if (session !== undefined && !SessionId.safeParse(session).success)
    throw new UsageError("--session is a session's id, ses_….");
  if (kind !== undefined && !isKindFilter(kind))
    throw new UsageError("--kind is a kind of event, session.running, or the beginning of some: session.*.");
  return {
    ...(kind !== undefined && { kind }),
    ...(session !== undefined && { session_id: session }),
    ...(wolf !== undefined && { wolf_instance_id: await wolfIdOf(run.connection(), wolf) }),
    ...(actor !== undefined && { actor_id: await actorIdOf(run.connection(), actor) }),
  };
}

/** Names of wolves and users, as far as this key may know them: each is asked for once. */
function createNames(run: Run) {
  const known = new Map<string, string>();
  let users: Promise<void> | undefined;
  const learnUsers = async () => {
    const connection = run.connection();
    try {
      const { body: me } = await connection.call("getMe");
      known.set(me.id, me.name);
      if (me.role !== "admin") return;
      const { items } = await listed(USERS_MAX, (page) => connection.call("listUsers", { query: page }));
      for (const { id, name } of items) known.set(id, name);
    } catch (error) {
      if (connection.interrupted()) throw error;
    }
  };
  return {
    known,
    async learn(events: readonly FleetEvent[]): Promise<void> {
      const unknown = new Set(events.flatMap(idsOf).filter((id) => !known.has(id)));
      if (unknown.size === 0) return;
      if ([...unknown].some((id) => id.startsWith("usr_"))) {
        users ??= learnUsers();
        await users;
      }
      for (const [id, name] of await wolfNames(run.connection(), unknown)) known.set(id, name);
      // One that is gone is not asked for with each of its events.
      for (const id of unknown) if (!known.has(id)) known.set(id, id);
    },
  };
}
