/** `wolfctl keys`: the API keys of users. */
import { type ApiKey, ApiKeyId, type CreatedApiKey, type Scope, scopes } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { userOf } from "../lookup.ts";
import type { ListView } from "../output/output.ts";
import { printable } from "../output/printable.ts";
import type { Cell } from "../output/table.ts";
import { age, duration, moment } from "../output/words.ts";
import { listed, readLimit } from "../pages.ts";
import { seconds, several } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { eachOf } from "./each.ts";
import { limitOption } from "./options.ts";
import { checkSecretFile, secretWritten } from "./secret-out.ts";

export function keysCommand(program: Command, bind: Binder): void {
  const keys = program.command("keys").alias("key").description("API keys");
  keys
    .command("list")
    .alias("ls")
    .description("List API keys: your own, or all for admins")
    .option("--user <user>", "Only those of this user, by name or id")
    .option("--all", "Also those that are revoked")
    .addOption(limitOption("1000"))
    .action(
      bind<{ user?: string; all?: boolean; limit: string }, []>(async (run, { user, all, limit }) => {
        const wanted = readLimit(limit);
        const query = {
          ...(user !== undefined && { user_id: (await userOf(run.connection(), user)).id }),
          ...(!all && { revoked: "false" as const }),
        };
        const { items, more } = await listed(wanted, (page) =>
          run.connection().call("listApiKeys", { query: { ...query, ...page } }),
        );
        await run.out.list(items, keyList(run.edges.now()));
        if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
      }),
    );
  keys
    .command("create")
    .description("Make an API key; it is shown once")
    .argument("<name>", "what it is for")
    .option("--user <user>", "For this user, by name or id; default: yourself")
    .addOption(
      new Option(
        "--scope <scope>",
        `What it may do at most: ${scopes.join(", ")}; several are allowed`,
      ).argParser(several),
    )
    .option("--expires-in <time>", "12h, 90d; default: never")
    .option("--to <file>", "Into this file, mode 600, instead of printing it")
    .action(bind<CreateFlags, [string]>(create));
  keys
    .command("revoke")
    .description("Revoke API keys; what they opened in browsers ends too")
    .argument("<key...>", "ids")
    .action(
      bind<object, [string[]]>(async (run, _flags, ids) => {
        for (const id of ids)
          if (!ApiKeyId.safeParse(id).success)
            throw new UsageError("A key is named by its id, key_…; wolfctl keys list shows them.");
        await run.confirm(`Revoke ${ids.join(", ")}? Whoever uses it is refused from then on.`);
        await eachOf(run, ids, async (id) => {
          await run.connection().call("revokeApiKey", { params: { id } });
          await run.out.doneTo({ id, revoked: true }, `${id} is revoked.`);
        });
      }),
    );
}

interface CreateFlags {
  user?: string;
  scope?: string[];
  expiresIn?: string;
  to?: string;
}

async function create(run: Run, { user, scope, expiresIn, to }: CreateFlags, name: string): Promise<void> {
  checkSecretFile(to);
  for (const one of scope ?? [])
    if (!(scopes as readonly string[]).includes(one))
      throw new UsageError(`--scope is one of ${scopes.join(", ")}.`);
  const body = {
    name,
    ...(user !== undefined && { user_id: (await userOf(run.connection(), user)).id }),
    ...(scope !== undefined && { scopes: scope as Scope[] }),
    ...(expiresIn !== undefined && { expires_in_seconds: seconds("--expires-in", expiresIn) }),
  };
  const { body: made } = await run.connection().call("createApiKey", {
    body,
    headers: { "idempotency-key": run.edges.newId() },
  });
  const isWritten = await secretWritten(run, to, made.key, `The key ${made.id}`);
  const { key: _secret, ...shown } = made;
  const reported = isWritten ? shown : made;
  if (run.out.format !== "table")
    return run.out.one(reported as CreatedApiKey, { name: ({ id }) => id, text: () => "" });
  if (isWritten) return;
  await run.out.note(
    `The key ${made.id}${made.expires_at === null ? "" : `, until ${moment(made.expires_at)}`}. It is shown this once:`,
  );
  await run.out.write(`${printable(made.key)}\n`);
}

function state({ revoked_at, expires_at }: ApiKey, nowMs: number): Cell {
  if (revoked_at !== null) return { text: "revoked", tone: "faint" };
  if (expires_at === null) return "valid";
  const left = Date.parse(expires_at) - nowMs;
  return left <= 0 ? { text: "expired", tone: "warn" } : `${duration(left)} left`;
}

function keyList(nowMs: number): ListView<ApiKey> {
  return {
    none: "There are no keys that fit.",
    name: ({ id }) => id,
    columns: [
      { title: "ID", of: ({ id }) => id },
      { title: "NAME", of: ({ name }) => name, shrinkTo: 8 },
      { title: "STATE", of: (key) => state(key, nowMs) },
      { title: "SCOPES", of: ({ scopes: only }) => only?.join(" ") ?? "all", shrinkTo: 6 },
      { title: "USED", of: ({ last_used_at }) => age(last_used_at, nowMs), align: "right" },
      { title: "BEGINS", of: ({ prefix }) => prefix, spare: 1 },
      { title: "USER", of: ({ user_id }) => user_id, spare: 2 },
    ],
  };
}
