/** `wolfctl tokens`: join tokens, with which hosts become wolves. */
import { type CreatedJoinToken, type JoinToken, JoinTokenId } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import type { ListView } from "../output/output.ts";
import { printable } from "../output/printable.ts";
import type { Cell } from "../output/table.ts";
import { age, count, duration, labelsText, moment } from "../output/words.ts";
import { listed, readLimit } from "../pages.ts";
import { pairs, seconds, several, whole } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { eachOf } from "./each.ts";
import { limitOption } from "./options.ts";
import { checkSecretFile, secretWritten } from "./secret-out.ts";

interface CreateFlags {
  wolf?: string;
  label?: string[];
  uses?: string;
  expiresIn?: string;
  to?: string;
}

export function tokensCommand(program: Command, bind: Binder): void {
  const tokens = program
    .command("tokens")
    .alias("token")
    .description("Join tokens, with which hosts become wolves");
  tokens
    .command("create")
    .description("Make a join token; it is shown once, with what to do on the host")
    .option("--wolf <name>", "The only name it may enrol; also the way to give a host a new key")
    .addOption(
      new Option("--label <name=value>", "What the wolf is labelled with; several are allowed").argParser(
        several,
      ),
    )
    .option("--uses <number>", "How many hosts may use it; default: 1")
    .option("--expires-in <time>", "90s, 1h, 7d; default: 1h")
    .option("--to <file>", "Into this file, mode 600, instead of printing it")
    .action(bind<CreateFlags, []>(create));
  tokens
    .command("list")
    .alias("ls")
    .description("List join tokens, without the tokens themselves")
    .addOption(limitOption("1000"))
    .action(
      bind<{ limit: string }, []>(async (run, { limit }) => {
        const wanted = readLimit(limit);
        const { items, more } = await listed(wanted, (page) =>
          run.connection().call("listJoinTokens", { query: page }),
        );
        await run.out.list(items, tokenList(run.edges.now()));
        if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
      }),
    );
  tokens
    .command("revoke")
    .description("Revoke join tokens; hosts that have enrolled stay")
    .argument("<token...>", "ids")
    .action(
      bind<object, [string[]]>(async (run, _flags, ids) => {
        for (const id of ids)
          if (!JoinTokenId.safeParse(id).success)
            throw new UsageError("A token is named by its id, jtk_…; wolfctl tokens list shows them.");
        await run.confirm(`Revoke ${ids.join(", ")}? It enrols nobody any more.`);
        await eachOf(run, ids, async (id) => {
          await run.connection().call("revokeJoinToken", { params: { id } });
          await run.out.doneTo({ id, revoked: true }, `${id} is revoked.`);
        });
      }),
    );
}

async function create(run: Run, flags: CreateFlags): Promise<void> {
  checkSecretFile(flags.to);
  const body = {
    ...(flags.wolf !== undefined && { wolf_name: flags.wolf }),
    ...(flags.label !== undefined && { labels: pairs("--label", flags.label) }),
    ...(flags.uses !== undefined && { uses_max: whole("--uses", flags.uses) }),
    ...(flags.expiresIn !== undefined && { expires_in_seconds: seconds("--expires-in", flags.expiresIn) }),
  };
  const { body: made } = await run.connection().call("createJoinToken", {
    body,
    headers: { "idempotency-key": run.edges.newId() },
  });
  const isWritten = await secretWritten(run, flags.to, made.token, `The token ${made.id}`);
  const { token: _secret, ...shown } = made;
  const reported = isWritten ? shown : made;
  if (run.out.format !== "table")
    return run.out.one(reported as CreatedJoinToken, { name: ({ id }) => id, text: () => "" });
  await run.out.note(
    `The token ${made.id} is for ${count(made.uses_max, "host")}, until ${moment(made.expires_at)}.${isWritten ? "" : " It is shown this once:"}`,
  );
  if (!isWritten) await run.out.write(`${printable(made.token)}\n`);
  await run.edges.stderr.write(`${howTo(run.target().url, made)}\n`);
}

/** The token is typed or pasted there: in a command line others could read it. */
export function howTo(controlPlane: URL, { wolf_name }: Pick<JoinToken, "wolf_name">): string {
  const name = wolf_name ?? "NAME";
  const url = `${controlPlane.origin}${controlPlane.pathname.replace(/\/+$/, "")}`;
  return `
On the host, the token in /etc/wolfpack/join-token (mode 600):

  wolf-revdial-client enroll --wolf-id ${name} \\
    --api-url ${url} \\
    --join-token-file /etc/wolfpack/join-token

For systemd, compose, Kubernetes and Wolf's own container: docs/agent.md`;
}

function state({ revoked_at, expires_at, uses, uses_max }: JoinToken, nowMs: number): Cell {
  const left = Date.parse(expires_at) - nowMs;
  if (revoked_at !== null) return { text: "revoked", tone: "faint" };
  if (uses >= uses_max) return { text: "used", tone: "faint" };
  return left <= 0 ? { text: "expired", tone: "faint" } : { text: `${duration(left)} left`, tone: "good" };
}

function tokenList(nowMs: number): ListView<JoinToken> {
  return {
    none: "There are no join tokens.",
    name: ({ id }) => id,
    columns: [
      { title: "ID", of: ({ id }) => id },
      { title: "FOR", of: ({ wolf_name }) => wolf_name ?? "any name", shrinkTo: 8 },
      { title: "STATE", of: (token) => state(token, nowMs) },
      { title: "USES", of: ({ uses, uses_max }) => `${uses}/${uses_max}`, align: "right" },
      { title: "LABELS", of: ({ labels }) => labelsText(labels), shrinkTo: 6, spare: 1 },
      { title: "AGE", of: ({ created_at }) => age(created_at, nowMs), align: "right" },
    ],
  };
}
