/** A PostgreSQL of the system's packages, as operators run their own: its programs, and clusters made with them. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import path from "node:path";
import { choosePostgresUser } from "@wolfpack/control-plane/postgres-user";

const DEBIAN = "/usr/lib/postgresql";
const programs = ["initdb", "postgres", "createdb", "psql", "pg_dump", "pg_restore", "pg_basebackup"];

/** The newest version with all programs; undefined: there is none here. */
export const bin: string | undefined = (existsSync(DEBIAN) ? readdirSync(DEBIAN) : [])
  .sort((a, b) => Number(b) - Number(a))
  .map((version) => path.join(DEBIAN, version, "bin"))
  .find((folder) => programs.every((program) => existsSync(path.join(folder, program))));

const { prefix, spawnIds, owner } = choosePostgresUser([]);

/** As PostgreSQL's user; what it wrote. Throws what it said. */
export function run(program: string, args: readonly string[], cwd = "/"): string {
  const [command = "", ...words] = [
    ...prefix,
    bin === undefined ? program : path.join(bin, program),
    ...args,
  ];
  const { status, stdout, stderr, error } = spawnSync(command, words, {
    cwd,
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", LC_ALL: "C" },
    ...spawnIds,
  });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`);
  return stdout;
}

export class OwnPostgres {
  readonly url: string;
  private readonly ended: Promise<unknown>;
  private readonly stopped: () => void;

  private constructor(url: string, ended: Promise<unknown>, stopped: () => void) {
    this.url = url;
    this.ended = ended;
    this.stopped = stopped;
  }

  /** A folder that PostgreSQL's user owns. */
  static folder(at: string): string {
    mkdirSync(at, { recursive: true, mode: 0o700 });
    if (owner !== undefined) chownSync(at, owner.uid, owner.gid);
    return at;
  }

  static make(cluster: string): void {
    OwnPostgres.folder(cluster);
    run("initdb", ["--pgdata", cluster, "--auth", "trust", "--username", "wolfpack", "--no-sync"]);
  }

  /** Resolves when it takes writes: a server that recovers does so when it has ended that. */
  static async start(cluster: string, port: number, settings: Record<string, string>): Promise<OwnPostgres> {
    const all = {
      port: String(port),
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      ...settings,
    };
    const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const [command = "", ...words] = [...prefix, path.join(bin ?? "", "postgres"), "-D", cluster, ...flags];
    const child = spawn(command, words, { cwd: "/", stdio: ["ignore", "ignore", "pipe"], ...spawnIds });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const ended = once(child, "close");
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", () => {
        if (said.includes("database system is ready to accept connections")) resolve();
      });
      void ended.then(() => reject(new Error(said)));
    });
    const url = `postgresql://wolfpack@127.0.0.1:${port}`;
    // Its fast shutdown.
    return new OwnPostgres(url, ended, () => child.kill("SIGINT"));
  }

  async stop(): Promise<void> {
    this.stopped();
    await this.ended;
  }
}
