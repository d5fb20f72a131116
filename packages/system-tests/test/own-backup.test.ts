/** A backup of one's own PostgreSQL is restored under live agents and sandboxes, by the commands of docs/operations/backup.md. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { freePort } from "@wolfpack/control-plane/free-ports";
import { lobbiesOn } from "../src/lobbies-on.ts";
import { Stack } from "../src/stack.ts";
import { runningSession } from "./outage-calls.ts";
import { bin, OwnPostgres, run } from "./own-postgres.ts";
import { read } from "./repository/workspaces.ts";

if (bin === undefined)
  console.warn("skipped: a backup of one's own PostgreSQL, for no server with its clients is installed here");
const describeOwn = bin === undefined ? describe.skip : describe;

const names = ["gpu-1", "gpu-2"];
const env: Record<string, string> = {
  API_KEY_SECRET: "x".repeat(32),
  HOST: "127.0.0.1",
  WOLFPACK_RECONCILE_INTERVAL_SECONDS: "1",
  WOLFPACK_LOBBY_SETTLE_SECONDS: "1",
  WOLFPACK_LOBBY_GRACE_SECONDS: "0.5",
};
let folder: string;
let cluster: string;
let port: number;
let settings: Record<string, string>;
let postgres: OwnPostgres | undefined;
let stack: Stack | undefined;

beforeEach(async () => {
  if (bin === undefined) return;
  folder = mkdtempSync(path.join(os.tmpdir(), "wolfpack-own-"));
  OwnPostgres.folder(folder);
  cluster = path.join(folder, "cluster");
  OwnPostgres.make(cluster);
  const archive = OwnPostgres.folder(path.join(folder, "archive"));
  port = await freePort();
  settings = { archive_mode: "on", archive_command: `cp %p ${archive}/%f` };
  postgres = await OwnPostgres.start(cluster, port, settings);
  run("createdb", ["--maintenance-db", `${postgres.url}/postgres`, "wolfpack"]);
  env.DATABASE_URL = `${postgres.url}/wolfpack`;
  stack = await Stack.start({
    dataDir: path.join(folder, "stack"),
    port: 0,
    hosts: names.map((name) => ({ name, gpu: "nvidia", maxSandboxes: 10 })),
    env,
    say: () => undefined,
    onCrash: () => undefined,
  });
}, 90_000);

afterEach(async () => {
  await stack?.stop();
  await postgres?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}, 60_000);

/** What happened between backup and restore, and what is to be seen of it afterwards. */
async function restored(up: Stack, backup: () => Promise<void>, restore: () => Promise<void>): Promise<void> {
  const [kept, stopped] = [await runningSession(up), await runningSession(up)];
  await backup();
  const later = await runningSession(up);
  await up.client().stopSession({ params: { id: stopped } });
  await up.killControlPlane();
  await restore();
  await up.startControlPlane();
  await up.until("what was stopped is known to be gone, and what runs to run", async (api) => {
    const statusOf = async (id: string) => (await api.getSession({ params: { id } })).body.status;
    return (await statusOf(stopped)) === "failed" && (await statusOf(kept)) === "running";
  });
  await up.until("the unknown lobby is named", async () =>
    readFileSync(path.join(up.logFolder, "control-plane.log"), "utf8").includes("an older state restored"),
  );
  // Several rounds, each longer than the grace after which a stray is stopped.
  const rounds = Date.now() + 4000;
  await up.until("rounds have passed", async () => Date.now() > rounds);
  const listed = (await Promise.all(names.map((name) => lobbiesOn(up.socketOf(name)))))
    .flat()
    .map(({ name }) => name);
  expect(listed).toEqual(expect.arrayContaining([kept, later]));
  expect(listed).not.toContain(stopped);
  const screen = await fetch(`${up.baseUrl}/api/v1/sessions/${kept}/screenshot`, {
    headers: { authorization: `Bearer ${up.adminKey}` },
  });
  expect([screen.status, screen.headers.get("content-type")]).toEqual([200, "image/png"]);
}

const document = read("docs/operations/backup.md").replaceAll(/\s+/g, " ");

describeOwn("a database of one's own, with agents and sandboxes that live", () => {
  it("is restored from what pg_dump wrote while the control plane ran, into a new database", async () => {
    const up = stack as Stack;
    const dump = path.join(folder, "wolfpack.dump");
    expect(document).toContain('pg_dump --format=custom --file=wolfpack.dump "$DATABASE_URL"');
    expect(document).toContain("pg_restore --no-owner --dbname=wolfpack_restored wolfpack.dump");
    await restored(
      up,
      async () => {
        run("pg_dump", ["--format=custom", `--file=${dump}`, env.DATABASE_URL ?? ""]);
      },
      async () => {
        const url = `${postgres?.url}/wolfpack_restored`;
        run("createdb", ["--maintenance-db", `${postgres?.url}/postgres`, "wolfpack_restored"]);
        run("pg_restore", ["--no-owner", `--dbname=${url}`, dump]);
        env.DATABASE_URL = url;
      },
    );
  }, 120_000);

  it("is restored to a moment, from a base backup and the archived WAL", async () => {
    const up = stack as Stack;
    const base = path.join(folder, "base");
    let moment = "";
    expect(document).toContain("pg_basebackup --pgdata=base --wal-method=stream --checkpoint=fast");
    run(
      "pg_basebackup",
      [`--pgdata=${base}`, "--wal-method=stream", "--checkpoint=fast", `--dbname=${postgres?.url}/`],
      folder,
    );
    await restored(
      up,
      async () => {
        // Behind the last transaction, and before the next one.
        moment = run("psql", [env.DATABASE_URL ?? "", "-At", "-c", "SELECT clock_timestamp()"]).trim();
      },
      async () => {
        await postgres?.stop();
        const recovery = {
          restore_command: `cp ${folder}/archive/%f %p`,
          recovery_target_time: moment,
          recovery_target_action: "promote",
        };
        for (const name of Object.keys(recovery)) expect(document).toContain(name);
        OwnPostgres.folder(base);
        appendFileSync(path.join(base, "recovery.signal"), "");
        postgres = await OwnPostgres.start(base, port, { ...settings, ...recovery });
      },
    );
  }, 120_000);
});
