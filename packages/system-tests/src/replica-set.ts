/** Several replicas as processes on one PostgreSQL of their own, each restarted in its place. */

import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { freePorts } from "@wolfpack/control-plane/free-ports";
import type { Backend } from "./balancer.ts";
import type { Child } from "./child.ts";
import { startedControlPlane } from "./stack.ts";

export interface ReplicaSetOptions {
  dataDir: string;
  count: number;
  /** More settings of each. */
  env?: Record<string, string>;
  /** Where agents and users reach them. */
  publicUrl?: string;
}

const PLENTY = "1000000";

export class ReplicaSet {
  readonly backends: readonly Backend[];
  readonly adminKey: string;
  private readonly options: ReplicaSetOptions;
  private readonly postgres: EmbeddedPostgres;
  private readonly replicas: (Child | undefined)[];

  private constructor(options: ReplicaSetOptions, postgres: EmbeddedPostgres, ports: readonly number[]) {
    this.options = options;
    this.postgres = postgres;
    this.backends = ports.map((port) => ({ host: "127.0.0.1", port }));
    this.replicas = ports.map(() => undefined);
    this.adminKey = "";
  }

  /** One after the other: the first makes the database and the admin's key. */
  static async start(options: ReplicaSetOptions): Promise<ReplicaSet> {
    const { dataDir, count } = options;
    mkdirSync(path.join(dataDir, "logs"), { recursive: true });
    const postgres = await startEmbeddedPostgres({ dataDir, durable: false });
    const set = new ReplicaSet(options, postgres, await freePorts(count));
    try {
      for (let at = 0; at < count; at += 1) await set.startReplica(at);
    } catch (error) {
      await set.stop();
      throw error;
    }
    const key = readFileSync(path.join(dataDir, "admin-api-key"), "utf8").trim();
    return Object.assign(set, { adminKey: key });
  }

  /** Of PostgreSQL; not for logs. */
  get databaseUrl(): string {
    return this.postgres.url;
  }

  /** Resolves when it serves. */
  async startReplica(at: number): Promise<void> {
    const { dataDir, env, publicUrl } = this.options;
    const { port } = this.backend(at);
    const url = `http://127.0.0.1:${port}`;
    const settings = {
      HOST: "127.0.0.1",
      DATABASE_URL: this.postgres.url,
      API_KEY_SECRET: "of replicas that last for as long as a test",
      WOLFPACK_REPLICA_URL: url,
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: PLENTY,
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: PLENTY,
      WOLFPACK_USER_CREATES_PER_MINUTE: "100000",
      ...(publicUrl && { WOLFPACK_PUBLIC_URL: publicUrl }),
      ...env,
    };
    const { child } = await startedControlPlane({ dataDir, env: settings }, port, `replica-${at + 1}`);
    this.replicas[at] = child;
  }

  /** SIGTERM; resolves to its exit code. */
  async stopReplica(at: number): Promise<number> {
    const child = this.replicas[at];
    this.replicas[at] = undefined;
    await child?.stop();
    return (await child?.exited) ?? 0;
  }

  /** SIGKILL. */
  async killReplica(at: number): Promise<void> {
    const child = this.replicas[at];
    this.replicas[at] = undefined;
    child?.kill();
    await child?.exited;
  }

  private backend(at: number): Backend {
    const backend = this.backends[at];
    if (backend === undefined) throw new Error(`there is no replica ${at}`);
    return backend;
  }

  /** At once: nobody is there any more who could miss them. */
  async stop(): Promise<void> {
    await Promise.all(this.replicas.map((_, at) => this.killReplica(at)));
    await this.postgres.stop();
  }
}
