/** `wolfctl users`: who may use the control plane. */
import { type Role, roles, type User } from "@wolfpack/api-contract";
import { type Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import { userOf } from "../lookup.ts";
import { fact, factsText } from "../output/facts.ts";
import type { ListView, OneView } from "../output/output.ts";
import { age, momentAnd } from "../output/words.ts";
import { listed, readLimit } from "../pages.ts";
import { whole } from "../parse.ts";
import type { Binder, Run } from "../run.ts";
import { eachOf } from "./each.ts";
import { limitOption } from "./options.ts";

interface ChangeFlags {
  role?: Role;
  sessionsMax?: string;
  createsPerMinute?: string;
}

export function usersCommand(program: Command, bind: Binder): void {
  const users = program.command("users").alias("user").description("Who may use the control plane");
  const role = (description: string) => new Option("--role <role>", description).choices(roles);
  users
    .command("list")
    .alias("ls")
    .description("List users")
    .addOption(role("Only these"))
    .addOption(limitOption("1000"))
    .action(
      bind<{ role?: Role; limit: string }, []>(async (run, flags) => {
        const wanted = readLimit(flags.limit);
        const query = flags.role === undefined ? {} : { role: flags.role };
        const { items, more } = await listed(wanted, (page) =>
          run.connection().call("listUsers", { query: { ...query, ...page } }),
        );
        await run.out.list(items, userList(run.edges.now()));
        if (more) await run.out.note(`There are more than ${wanted}: --limit all shows them.`);
      }),
    );
  users
    .command("show")
    .description("Show a user")
    .argument("<user>", "name or id")
    .action(
      bind<object, [string]>(async (run, _flags, name) =>
        run.out.one(await userOf(run.connection(), name), userOne(run.edges.now())),
      ),
    );
  users
    .command("create")
    .description("Make a user; a key for them is made with wolfctl keys create --user")
    .argument("<name>", "for people")
    .addOption(role("What they may do").default("user"))
    .action(
      bind<{ role: Role }, [string]>(async (run, flags, name) => {
        const { body } = await run.connection().call("createUser", {
          body: { name, role: flags.role },
          headers: { "idempotency-key": run.edges.newId() },
        });
        await said(run, body, "is made");
      }),
    );
  users
    .command("change")
    .description("Change a user's role or quotas; what is left out stays")
    .argument("<user>", "name or id")
    .addOption(role("What they may do"))
    .option("--sessions-max <number>", "Sessions at once; default: as everyone")
    .option("--creates-per-minute <number>", "Sessions made within a minute; default: as everyone")
    .action(bind<ChangeFlags, [string]>(change));
  for (const [name, disabled, description] of [
    ["disable", true, "None of their keys opens anything; their sandboxes go on"],
    ["enable", false, "Their keys are valid again"],
  ] as const)
    users
      .command(name)
      .description(description)
      .argument("<user...>", "names or ids")
      .action(
        bind<object, [string[]]>(async (run, _flags, names) => {
          if (disabled)
            await run.confirm(`Disable ${names.join(", ")}? None of their keys opens anything then.`);
          await eachOf(run, names, async (one) => {
            const { id } = await userOf(run.connection(), one);
            const { body } = await run
              .connection()
              .call("updateUser", { params: { id }, body: { disabled } });
            await said(run, body, disabled ? "is disabled" : "is enabled");
          });
        }),
      );
}

async function change(
  run: Run,
  { role, sessionsMax, createsPerMinute }: ChangeFlags,
  name: string,
): Promise<void> {
  const quota = (flag: string, text: string) => (text === "default" ? null : whole(flag, text));
  const body = {
    ...(role !== undefined && { role }),
    ...(sessionsMax !== undefined && { sessions_max: quota("--sessions-max", sessionsMax) }),
    ...(createsPerMinute !== undefined && {
      creates_per_minute: quota("--creates-per-minute", createsPerMinute),
    }),
  };
  if (Object.keys(body).length === 0)
    throw new UsageError("Nothing to change: say --role, --sessions-max or --creates-per-minute.");
  const { id } = await userOf(run.connection(), name);
  const { body: user } = await run.connection().call("updateUser", { params: { id }, body });
  await said(run, user, "is changed");
}

async function said(run: Run, user: User, what: string): Promise<void> {
  if (run.out.format !== "table") return run.out.one(user, userOne(run.edges.now()));
  await run.out.done(`${user.name} (${user.id}) ${what}: ${user.role}${user.disabled ? ", disabled" : ""}.`);
}

const quotaText = (quota: number | null): string => (quota === null ? "as everyone" : String(quota));

function userList(nowMs: number): ListView<User> {
  return {
    none: "There are no users that fit.",
    name: ({ id }) => id,
    columns: [
      { title: "ID", of: ({ id }) => id },
      { title: "NAME", of: ({ name }) => name, shrinkTo: 8 },
      { title: "ROLE", of: ({ role }) => role },
      { title: "STATE", of: ({ disabled }) => (disabled ? { text: "disabled", tone: "warn" } : "enabled") },
      { title: "SESSIONS", of: ({ sessions_max: quota }) => quotaText(quota), align: "right", spare: 1 },
      { title: "AGE", of: ({ created_at }) => age(created_at, nowMs), align: "right" },
    ],
  };
}

function userOne(nowMs: number): OneView<User> {
  return {
    name: ({ id }) => id,
    text: (user, options) =>
      factsText(
        [
          {
            title: user.name,
            facts: [
              fact("id", user.id),
              fact("role", user.role),
              fact("state", user.disabled ? "disabled" : "enabled", user.disabled ? "warn" : "none"),
              fact("sessions", `at once: ${quotaText(user.sessions_max)}`),
              fact("creations", `per minute: ${quotaText(user.creates_per_minute)}`),
              fact("revision", String(user.revision)),
              fact("created", momentAnd(user.created_at, nowMs)),
            ],
          },
        ],
        options,
      ),
  };
}
