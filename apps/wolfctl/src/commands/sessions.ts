/** `wolfctl sessions`: makes sandboxes, looks at them, ends them. */
import { closeSync, openSync, readSync } from "node:fs";
import {
  type CreateSessionRequest,
  type DisconnectPolicy,
  type PlacementPolicy,
  type Session,
  SessionId,
  type SessionStatus,
} from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { reasonOf } from "../config/profiles.ts";
import { UsageError } from "../errors.ts";
import { liveSessions, userIdOf, wolfIdOf, wolfNames } from "../lookup.ts";
import { LARGE_PAGE, listed, readLimit } from "../pages.ts";
import { seconds } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { sessionList, sessionOne, sessionState, wolfNamed } from "../views/session-view.ts";
import { watched } from "../watch.ts";
import { eachOf } from "./each.ts";
import { limitOption, watchOption } from "./options.ts";
import { screenCommands } from "./screen.ts";
import { type QueueFlags, queueOf, queueOptions, type WishFlags, wishOf, wishOptions } from "./wish.ts";

const WAIT_SECONDS_MAX = 120;

interface ListFlags {
  status?: SessionStatus;
  wolf?: string;
  owner?: string;
  all?: boolean;
  limit: string;
  watch?: string | boolean;
}

export function sessionsCommand(program: Command, bind: Binder): void {
  const sessions = program.command("sessions").alias("session").description("Users' sandboxes");
  createCommand(sessions, bind);
  sessions
    .command("list")
    .alias("ls")
    .description("List sessions: those that have not ended, unless --all or --status say otherwise")
    .addOption(
      new Option("--status <status>", "Only these").choices([
        "queued",
        "placed",
        "starting",
        "running",
        "stopping",
        "lost",
        "stopped",
        "failed",
      ]),
    )
    .option("--wolf <wolf>", "Only those of this wolf, by name or id")
    .option("--owner <user>", "Only those of this user, by name or id")
    .option("--all", "Also those that have ended")
    .addOption(limitOption("1000"))
    .addOption(watchOption())
    .action(bind<ListFlags, []>(list));
  sessions
    .command("show")
    .description("Show a session, and why it is where it is")
    .argument("<session>", "id")
    .addOption(watchOption())
    .action(bind<{ watch?: string | boolean }, [string]>(show));
  sessions
    .command("stop")
    .description("End sessions and what runs in them")
    .argument("<session...>", "ids")
    .option("--force", "Do not wait for a wolf that cannot be reached")
    .action(bind<{ force?: boolean }, [string[]]>(stop));
  sessions
    .command("extend")
    .description("Let a session live longer, counted from now")
    .argument("<session>", "id")
    .requiredOption("--ttl <time>", "From now on: 30m, 8h")
    .action(
      bind<{ ttl: string }, [string]>(async (run, { ttl }, id) => {
        const body = { ttl_seconds: seconds("--ttl", ttl) };
        const { body: session } = await run
          .connection()
          .call("extendSession", { params: { id: sessionId(id) }, body });
        await said(run, session, `lives until ${session.expires_at}`);
      }),
    );
  screenCommands(sessions, bind);
}

/** Throws UsageError. */
export function sessionId(text: string): string {
  if (!SessionId.safeParse(text).success)
    throw new UsageError(`${text} is no session's id, ses_…; wolfctl sessions list shows them.`);
  return text;
}

interface CreateFlags extends WishFlags, QueueFlags {
  name?: string;
  resolution?: string;
  onLoss?: DisconnectPolicy;
  ttl?: string;
  idle?: string;
  pinFile?: string;
  queueFor?: string;
  wait: string;
  policy?: PlacementPolicy;
}

function createCommand(sessions: Command, bind: Binder): void {
  const create = sessions
    .command("create")
    .description("Make a sandbox, and wait until it runs or waits in the queue");
  create
    .option("--name <name>", "For people")
    .option("--resolution <size>", "1280x720, or 1280x720@30; default: 1920x1080@60");
  wishOptions(create)
    .addOption(
      new Option("--on-loss <policy>", "When its wolf is lost; default: keep").choices([
        "keep",
        "replace",
        "stop",
      ]),
    )
    .option("--ttl <time>", "Stopped so long after it began to run: 8h; default: the control plane's")
    .option(
      "--idle <time>",
      "Stopped so long after nobody looked at it any more: 30m; default: the control plane's",
    )
    .option("--pin-file <file>", "A file with the PIN, 4 to 16 digits, that Moonlight is asked for");
  queueOptions(create)
    .option("--queue-for <time>", "How long it may wait for a wolf: 10m; default: the control plane's")
    .option("--wait <time>", "How long to wait until it runs, at most 2m", "60s")
    .action(bind<CreateFlags, []>(createSession));
}

async function createSession(run: Run, flags: CreateFlags): Promise<void> {
  const wait = seconds("--wait", flags.wait);
  if (wait > WAIT_SECONDS_MAX) throw new UsageError(`--wait is at most ${WAIT_SECONDS_MAX} s.`);
  const body: CreateSessionRequest = {
    ...(wishOf(flags) as CreateSessionRequest),
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.onLoss !== undefined && { disconnect_policy: flags.onLoss }),
    ...(flags.ttl !== undefined && { ttl_seconds: seconds("--ttl", flags.ttl) }),
    ...(flags.idle !== undefined && { idle_timeout_seconds: seconds("--idle", flags.idle) }),
    ...(flags.pinFile !== undefined && { pin: readPin(flags.pinFile) }),
    ...(flags.queueFor !== undefined && { queue_deadline_seconds: seconds("--queue-for", flags.queueFor) }),
    ...queueOf(flags),
    wait_seconds: wait,
  };
  const connection = run.connection();
  // The same key for every try: it is made once, whatever happens on the way.
  const headers = { "idempotency-key": run.edges.newId() };
  if (run.edges.stderr.isTTY && wait > 0) await run.out.note("Makes a sandbox …");
  const { body: session } = await connection.call(
    "createSession",
    { body, headers },
    { timeoutMs: (wait + 60) * 1000 },
  );
  if (run.out.format !== "table") return run.out.one(session, { name: ({ id }) => id, text: () => "" });
  const names = await wolfNames(connection, [session.wolf_instance_id]);
  const where = session.wolf_instance_id === null ? "" : ` on ${wolfNamed(session.wolf_instance_id, names)}`;
  await said(run, session, `${stateText(session)}${where}`);
}

const stateText = (session: Session): string => {
  const state = sessionState(session);
  return typeof state === "string" ? state : state.text;
};

async function said(run: Run, session: Session, what: string): Promise<void> {
  if (run.out.format !== "table") return run.out.one(session, { name: ({ id }) => id, text: () => "" });
  await run.out.done(`${session.id} ${/^lives/.test(what) ? what : `is ${what}`}.`);
}

function readPin(file: string): string {
  let text: string;
  try {
    const handle = openSync(file, "r");
    const bytes = Buffer.alloc(64);
    text = bytes.subarray(0, readSync(handle, bytes)).toString("latin1").trim();
    closeSync(handle);
  } catch (cause) {
    throw new UsageError(`--pin-file ${file} cannot be read: ${reasonOf(cause)}.`, { cause });
  }
  if (!/^[0-9]{4,16}$/.test(text)) throw new UsageError(`--pin-file ${file} has to hold 4 to 16 digits.`);
  return text;
}

async function list(run: Run, { status, wolf, owner, all, limit, watch }: ListFlags): Promise<void> {
  const wanted = readLimit(limit);
  const connection = run.connection();
  const filter = {
    ...(status && { status }),
    ...(owner && { owner_id: await userIdOf(connection, owner) }),
    ...(wolf && { wolf_instance_id: await wolfIdOf(connection, wolf) }),
  };
  let more = false;
  const draw = async () => {
    const found =
      all || status !== undefined
        ? await listed(
            wanted,
            (page) => connection.call("listSessions", { query: { ...filter, ...page } }),
            LARGE_PAGE,
          )
        : await liveSessions(connection, filter, wanted);
    more = found.more;
    const shown = found.items;
    const names =
      run.out.format === "table"
        ? await wolfNames(
            connection,
            shown.map((one) => one.wolf_instance_id),
          )
        : new Map();
    return { text: run.out.listText(shown, sessionList(run.edges.now(), names)), shown };
  };
  await watched(run, watch, draw, "There are no sessions that fit.");
  if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
}

async function show(run: Run, { watch }: { watch?: string | boolean }, id: string): Promise<void> {
  const connection = run.connection();
  await watched(run, watch, async () => {
    const { body: session } = await connection.call("getSession", { params: { id: sessionId(id) } });
    if (run.out.format !== "table")
      return { text: run.out.oneText(session, { name: (one) => one.id, text: () => "" }), shown: session };
    const { ranked, text } = session.placement;
    const mentioned = text.match(/wlf_[0-9A-HJKMNP-TV-Z]{26}/g) ?? [];
    const ids = [session.wolf_instance_id, ...ranked.map((one) => one.wolf_instance_id), ...mentioned];
    const view = sessionOne(run.edges.now(), await wolfNames(connection, ids));
    return { text: run.out.oneText(session, view), shown: session };
  });
}

async function stop(run: Run, { force }: { force?: boolean }, ids: string[]): Promise<void> {
  for (const id of ids) sessionId(id);
  const [only] = ids;
  const which = ids.length === 1 ? only : `${ids.length} sessions`;
  await run.confirm(`Stop ${which}? What runs there ends, and what is not saved is lost.`);
  await eachOf(run, ids, async (id) => {
    const query = { force: force ? ("true" as const) : ("false" as const) };
    const { status, body } = await run
      .connection()
      .call("stopSession", { params: { id }, query }, { timeoutMs: 90_000 });
    if (status === 202 && body !== undefined)
      await said(run, body, "stopping: its wolf cannot be reached now; --force does not wait for it");
    else await run.out.doneTo({ id, status: "stopped" }, `${id} is stopped.`);
  });
}
