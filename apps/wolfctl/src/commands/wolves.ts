/** `wolfctl wolves`: looks at the hosts of the fleet, and takes them out of it and back. */
import {
  type DiskSample,
  type DrainRequest,
  type GpuType,
  type Intent,
  type WolfInstance,
  WolfpackApiError,
  type WolfStatus,
  type WolfTunnelView,
} from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { Failed, Interrupted } from "../errors.ts";
import { liveSessions, wolfIdOf, wolfOf } from "../lookup.ts";
import { count, momentAnd } from "../output/words.ts";
import { LARGE_PAGE, listed, readLimit } from "../pages.ts";
import { since as readSince, seconds } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { diskView } from "../views/disk-view.ts";
import { stateOf, wolfList, wolfOne } from "../views/wolf-view.ts";
import { watched } from "../watch.ts";
import { eachOf } from "./each.ts";
import { limitOption, watchOption } from "./options.ts";

const byName = new Intl.Collator("en", { numeric: true });
const DRAIN_LOOK_MS = 1000;
const DISK_SAMPLES_MAX = 20_000;
const SESSIONS_SHOWN_MAX = 200;

interface ListFlags {
  status?: WolfStatus;
  gpu?: GpuType;
  intent?: Intent;
  region?: string;
  limit: string;
  watch?: string | boolean;
}

export function wolvesCommand(program: Command, bind: Binder): void {
  const wolves = program.command("wolves").alias("wolf").description("The GPU hosts of the fleet");
  wolves
    .command("list")
    .alias("ls")
    .description("List wolves")
    .addOption(new Option("--status <status>", "Only these").choices(["online", "degraded", "offline"]))
    .addOption(new Option("--gpu <type>", "Only these").choices(["nvidia", "amd", "intel", "none"]))
    .addOption(
      new Option("--intent <intent>", "Only these").choices([
        "pending",
        "active",
        "cordoned",
        "draining",
        "maintenance",
        "retired",
      ]),
    )
    .option("--region <region>", "Only these")
    .addOption(limitOption("1000"))
    .addOption(watchOption())
    .action(bind<ListFlags, []>(list));
  wolves
    .command("show")
    .description("Show all that is known of a wolf")
    .argument("<wolf>", "name or id")
    .addOption(watchOption())
    .action(bind<{ watch?: string | boolean }, [string]>(show));
  wolves
    .command("disk")
    .description("How full a wolf's disks are, and how that went")
    .argument("<wolf>", "name or id")
    .option("--mount <folder>", "Only the disk that is mounted there")
    .option("--since <when>", "An age such as 24h, or a moment; at most 7 days", "24h")
    .action(bind<{ mount?: string; since: string }, [string]>(disk));
  steering(wolves, bind);
}

function steering(wolves: Command, bind: Binder): void {
  wolves
    .command("drain")
    .description("No new sessions, and none left after the deadline: they are moved or stopped then")
    .argument("<wolf...>", "names or ids")
    .option("--deadline <time>", "How long sessions may go on: 90s, 30m, 8h", "1h")
    .addOption(
      new Option("--then <intent>", "Once nothing is left")
        .choices(["cordoned", "maintenance", "retired"])
        .default("cordoned"),
    )
    .option("--reason <text>", "Why, for whoever looks at the wolf")
    .option("--wait", "Show how it goes until nothing is left")
    .action(bind<DrainFlags, [string[]]>(drain));
  for (const [name, operation, description] of [
    ["cordon", "cordonWolf", "No new sessions; those that run go on"],
    ["uncordon", "uncordonWolf", "Sessions again: undoes cordon, drain, maintenance and retirement"],
    ["maintain", "maintainWolf", "No new sessions, and its absence is nothing to be alarmed about"],
  ] as const)
    wolves
      .command(name)
      .description(description)
      .argument("<wolf...>", "names or ids")
      .option("--reason <text>", "Why, for whoever looks at the wolf")
      .action(
        bind<{ reason?: string }, [string[]]>((run, { reason }, names) =>
          eachOf(run, names, async (one) => {
            const id = await wolfIdOf(run.connection(), one);
            const { body } = await run
              .connection()
              .call(operation, { params: { id }, body: reason === undefined ? {} : { reason } });
            await said(run, body);
          }),
        ),
      );
  wolves
    .command("readmit")
    .description("End a quarantine at once and forget what led to it")
    .argument("<wolf...>", "names or ids")
    .action(
      bind<object, [string[]]>((run, _flags, names) =>
        eachOf(run, names, async (one) => {
          const id = await wolfIdOf(run.connection(), one);
          const { body } = await run.connection().call("readmitWolf", { params: { id }, body: {} });
          await said(run, body);
        }),
      ),
    );
  wolves
    .command("retire")
    .description("Out of the fleet, with its history; only without live sessions")
    .argument("<wolf...>", "names or ids")
    .option("--reason <text>", "Why, for whoever looks at the wolf")
    .action(bind<{ reason?: string }, [string[]]>(retire));
}

/** The wolf as it is now, in the form that was asked for. */
async function said(run: Run, wolf: WolfInstance): Promise<void> {
  if (run.out.format !== "table") return run.out.one(wolf, { name: ({ name }) => name, text: () => "" });
  const state = stateOf(wolf, run.edges.now());
  await run.out.done(`${wolf.name} is ${typeof state === "string" ? state : state.text}.`);
}

async function list(run: Run, { status, gpu, intent, region, limit, watch }: ListFlags): Promise<void> {
  const wanted = readLimit(limit);
  let more = false;
  const draw = async () => {
    const filter = { status, gpu_type: gpu, intent, region };
    const found = await listed(
      wanted,
      (page) => run.connection().call("listWolves", { query: { ...filter, ...page } }),
      LARGE_PAGE,
    );
    more = found.more;
    // People look for a name; programs get the order of the API.
    const shown =
      run.out.format === "table"
        ? found.items.toSorted((a, b) => byName.compare(a.name, b.name))
        : found.items;
    return { text: run.out.listText(shown, wolfList(run.edges.now())), shown };
  };
  await watched(run, watch, draw, "There are no wolves that fit.");
  if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
}

async function show(run: Run, { watch }: { watch?: string | boolean }, name: string): Promise<void> {
  await watched(run, watch, async () => {
    const wolf = await wolfOf(run.connection(), name);
    if (run.out.format !== "table")
      return { text: run.out.oneText(wolf, { name: (one) => one.name, text: () => "" }), shown: wolf };
    const [{ items, more }, line] = await Promise.all([
      liveSessions(run.connection(), { wolf_instance_id: wolf.id }, SESSIONS_SHOWN_MAX),
      wolf.tunnel === null ? null : tunnelOf(run, wolf.id),
    ]);
    const shown = { wolf, sessions: items, moreSessions: more, line };
    return { text: run.out.oneText(shown, wolfOne(run.edges.now())), shown };
  });
}

/** Null where it has ended since, or where the control plane is older and does not say. */
async function tunnelOf(run: Run, id: string): Promise<WolfTunnelView | null> {
  try {
    return (await run.connection().call("getWolfTunnel", { params: { id } })).body;
  } catch (error) {
    if (error instanceof WolfpackApiError && error.problem !== undefined) return null;
    throw error;
  }
}

async function disk(run: Run, flags: { mount?: string; since: string }, name: string): Promise<void> {
  const after = readSince("--since", flags.since, run.edges.now());
  const wolf = await wolfOf(run.connection(), name);
  const { items } = await listed<DiskSample>(DISK_SAMPLES_MAX, async (page) => {
    const query = { since: after, ...page, ...(flags.mount && { mount: flags.mount }) };
    const { body, headers } = await run
      .connection()
      .call("listDiskHistory", { params: { id: wolf.id }, query });
    if (!Array.isArray(body)) throw new Failed("The control plane answered in Helix's words.");
    return { body, headers };
  });
  if (run.out.format !== "table")
    return run.out.list(items, { columns: [], none: "", name: ({ mount }) => mount });
  const mounts = (wolf.usage?.disks ?? []).filter(
    ({ mount }) => flags.mount === undefined || mount === flags.mount,
  );
  await run.out.list(mounts, diskView(items));
  if (wolf.usage?.disk_detail) await run.out.note(`Unknown: ${wolf.usage.disk_detail}`);
}

interface DrainFlags {
  deadline: string;
  then: DrainRequest["then"];
  reason?: string;
  wait?: boolean;
}

async function drain(run: Run, flags: DrainFlags, names: string[]): Promise<void> {
  const deadline = seconds("--deadline", flags.deadline);
  await run.confirm(
    `Drain ${names.join(", ")}? What still runs there in ${flags.deadline} is moved, if its policy is replace, or stopped.`,
  );
  const ids: string[] = [];
  await eachOf(run, names, async (one) => {
    const id = await wolfIdOf(run.connection(), one);
    const body = {
      deadline_seconds: deadline,
      // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
      then: flags.then,
      ...(flags.reason !== undefined && { reason: flags.reason }),
    };
    const { body: wolf } = await run.connection().call("drainWolf", { params: { id }, body });
    ids.push(id);
    await said(run, wolf);
  });
  if (flags.wait) for (const id of ids) await untilDrained(run, id);
}

async function untilDrained(run: Run, id: string): Promise<void> {
  const { edges, out } = run;
  for (let left: number | undefined; ; ) {
    const wolf = await wolfOf(run.connection(), id);
    if (wolf.intent !== "draining") {
      if (wolf.intent === "active")
        throw new Failed(`${wolf.name} takes sessions again: somebody has stopped its drain.`);
      return out.done(`${wolf.name} is drained and ${wolf.intent}.`);
    }
    const now = wolf.drain?.sessions_left;
    if (now !== left && wolf.drain)
      await out.note(
        `${wolf.name}: ${count(wolf.drain.sessions_left, "session")} of ${wolf.drain.sessions_at_start} left, until ${momentAnd(wolf.drain.deadline, edges.now())}`,
      );
    left = now;
    await edges.pause(DRAIN_LOOK_MS, edges.signal);
    if (edges.signal.aborted) throw new Interrupted();
  }
}

async function retire(run: Run, { reason }: { reason?: string }, names: string[]): Promise<void> {
  await run.confirm(
    `Retire ${names.join(", ")}? Out of the fleet, with its history; uncordon takes it back.`,
  );
  await eachOf(run, names, async (one) => {
    const id = await wolfIdOf(run.connection(), one);
    const { body } = await run
      .connection()
      .call("retireWolf", { params: { id }, body: reason === undefined ? {} : { reason } });
    await said(run, body);
  });
}
