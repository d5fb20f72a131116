/** `wolfctl audit`: who did what, and who was refused. */
import { type AuditAction, type AuditEvent, type AuditResult, auditActions } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { Failed, Interrupted } from "../errors.ts";
import { actorIdOf, wolfNames } from "../lookup.ts";
import type { ListView } from "../output/output.ts";
import { printableJson } from "../output/printable.ts";
import type { Tone } from "../output/style.ts";
import { brief } from "../output/words.ts";
import { listed, readLimit } from "../pages.ts";
import { since } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { limitOption } from "./options.ts";

const NAMES_MAX = 1000;

interface Filters {
  actor?: string;
  action?: AuditAction;
  object?: string;
  result?: AuditResult;
  since?: string;
  until?: string;
}

export function auditCommand(program: Command, bind: Binder): void {
  const audit = program.command("audit").description("Who did what, and who was refused; the newest first");
  filters(audit.command("list", { isDefault: true }).description("Show the log"))
    .addOption(limitOption("50"))
    .action(
      bind<Filters & { limit: string }, []>(async (run, flags) => {
        const wanted = readLimit(flags.limit);
        const query = await queryOf(run, flags);
        const { items, more } = await listed(wanted, (page) =>
          run.connection().call("listAuditEvents", { query: { ...query, ...page } }),
        );
        await run.out.list(items, auditList(await actorNames(run, items), run.out.width));
        if (more && run.out.format === "table")
          await run.out.note(`There are earlier ones: --limit, --since and --until.`);
      }),
    );
  filters(audit.command("export").description("All events that fit, one JSON object a line")).action(
    bind<Filters, []>(exported),
  );
}

function filters(command: Command): Command {
  return command
    .option("--actor <actor>", "Of this user, or of this wolf's agent; by name or id")
    .addOption(new Option("--action <action>", "Such as session.stop").choices(auditActions))
    .option("--object <id>", "Done to this")
    .addOption(new Option("--result <result>", "How it went").choices(["allowed", "failed", "denied"]))
    .option("--since <when>", "A moment, or an age such as 24h")
    .option("--until <when>", "A moment, or an age");
}

/** Throws UsageError, NotFound. */
async function queryOf(run: Run, flags: Filters) {
  const nowMs = run.edges.now();
  return {
    ...(flags.actor !== undefined && { actor_id: await actorIdOf(run.connection(), flags.actor) }),
    ...(flags.action !== undefined && { action: flags.action }),
    ...(flags.object !== undefined && { object: flags.object }),
    ...(flags.result !== undefined && { result: flags.result }),
    ...(flags.since !== undefined && { since: since("--since", flags.since, nowMs) }),
    ...(flags.until !== undefined && { until: since("--until", flags.until, nowMs) }),
  };
}

async function exported(run: Run, flags: Filters): Promise<void> {
  const query = await queryOf(run, flags);
  const { body } = await run.connection().call("exportAuditEvents", { query }, { timeoutMs: 24 * 3_600_000 });
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body) {
      if (run.edges.signal.aborted) break;
      await run.out.write(printableJson(decoder.decode(chunk, { stream: true })));
    }
  } catch (cause) {
    if (run.edges.signal.aborted) throw new Interrupted();
    throw new Failed("The export broke off before its end: what was written is not all of it.", { cause });
  }
}

const tones: Record<AuditResult, Tone> = { allowed: "none", failed: "warn", denied: "bad" };
function auditList(names: ReadonlyMap<string, string>, width: number | undefined): ListView<AuditEvent> {
  return {
    none: "There are no events that fit.",
    name: ({ id }) => id,
    columns: [
      { title: "AT (UTC)", of: ({ at }) => brief(at, width) },
      { title: "ACTION", of: ({ action }) => action, shrinkTo: 14 },
      {
        title: "RESULT",
        of: ({ result, code }) => ({
          text: code === null ? result : `${result}: ${code}`,
          tone: tones[result],
        }),
        shrinkTo: 7,
      },
      { title: "OBJECT", of: ({ object, object_name }) => object_name || object || "–", shrinkTo: 10 },
      {
        title: "ACTOR",
        of: ({ actor, actor_id: id, actor_name }) =>
          id === null ? actor : actor_name || names.get(id) || id,
        shrinkTo: 5,
      },
      { title: "FROM", of: ({ address }) => address ?? "–", spare: 1 },
      { title: "REQUEST", of: ({ request_id }) => request_id, spare: 2 },
    ],
  };
}

/** Of users and wolves, where a control plane of before does not say them itself; for whoever may read them. */
async function actorNames(run: Run, events: readonly AuditEvent[]): Promise<ReadonlyMap<string, string>> {
  const unsaid = events.filter(({ actor_name }) => actor_name === undefined);
  if (run.out.format !== "table" || unsaid.length === 0) return new Map();
  const connection = run.connection();
  const [users, wolves] = await Promise.all([
    listed(NAMES_MAX, (page) => connection.call("listUsers", { query: page })).catch((error: unknown) => {
      if (connection.interrupted()) throw error;
      return { items: [] };
    }),
    wolfNames(
      connection,
      unsaid.map(({ actor_id }) => actor_id),
    ),
  ]);
  return new Map([...users.items.map(({ id, name }) => [id, name] as const), ...wolves]);
}
