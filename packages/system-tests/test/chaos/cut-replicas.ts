/**
 * Replicas on one PostgreSQL, all but the first each in a network namespace of its own, with one link for what users and agents ask, one
 * for what goes between it and the first replica, and one to the database: what goes over one of them can vanish without the others.
 */
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { type WolfpackClient, wolfpackClient } from "@wolfpack/api-contract";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@wolfpack/control-plane/embedded-postgres";
import { freePort } from "@wolfpack/control-plane/free-ports";
import type { Backend } from "../../src/balancer.ts";
import type { Child } from "../../src/child.ts";
import { startedControlPlane } from "../../src/stack.ts";
import { DatabaseRelay } from "../database-relay.ts";
import { type CutLink, makeNamespace, type Namespace } from "./namespace.ts";

export interface CutReplica extends Backend {
  /** For users and agents. */
  readonly baseUrl: string;
  /** Requests of this replica to the first one, and of that one to this. */
  readonly between: CutLink;
  readonly database: CutLink;
}

export interface CutReplicasOptions {
  dataDir: string;
  /** Of those that can be cut off. */
  names: readonly string[];
  /** More settings of each. */
  env?: Record<string, string>;
}

const PLENTY = "1000000";

export class CutReplicas {
  /** The one that cannot be cut off from its database. */
  readonly first: Backend & { readonly baseUrl: string };
  readonly adminKey: string;
  private readonly options: CutReplicasOptions;
  private readonly postgres: EmbeddedPostgres;
  private readonly cut = new Map<string, CutReplica>();
  private readonly children: Child[] = [];
  private readonly relays: DatabaseRelay[] = [];
  private readonly places: Namespace[] = [];

  private constructor(options: CutReplicasOptions, postgres: EmbeddedPostgres, port: number) {
    this.options = options;
    this.postgres = postgres;
    this.first = { host: "127.0.0.1", port, baseUrl: `http://127.0.0.1:${port}` };
    this.adminKey = "";
  }

  /** One after the other: the first makes the database and the admin's key. */
  static async start(options: CutReplicasOptions): Promise<CutReplicas> {
    const { dataDir, names } = options;
    mkdirSync(path.join(dataDir, "logs"), { recursive: true });
    const postgres = await startEmbeddedPostgres({
      dataDir: path.join(dataDir, "database"),
      durable: false,
    });
    const set = new CutReplicas(options, postgres, await freePort());
    try {
      await set.startAll(names);
    } catch (error) {
      await set.stop();
      throw error;
    }
    const key = readFileSync(path.join(dataDir, "admin-api-key"), "utf8").trim();
    return Object.assign(set, { adminKey: key });
  }

  private async startAll(names: readonly string[]): Promise<void> {
    const { port } = this.first;
    const places = names.map((name) => ({ name, place: this.place() }));
    const made = places.map(({ name, place }) => {
      const [front, between, database] = [place.link(), place.link(), place.link()];
      return { name, place, front, between, database };
    });
    // One address for all of them, each of which gets there over its own link.
    const address = made[0]?.between.near ?? "127.0.0.1";
    await this.startOne("first", `http://${address}:${port}`, port, this.postgres.url, []);
    for (const { name, place, front, between, database } of made) {
      if (between.near !== address) between.leadsTo(address);
      const relay = new DatabaseRelay(database.near);
      this.relays.push(relay);
      const url = await relay.to(this.postgres.url);
      await this.startOne(name, `http://${between.far}:${port}`, port, url, place.through);
      const baseUrl = `http://${front.far}:${port}`;
      this.cut.set(name, { host: front.far, port, baseUrl, between, database });
    }
  }

  private place(): Namespace {
    const place = makeNamespace();
    this.places.push(place);
    return place;
  }

  private async startOne(
    name: string,
    replicaUrl: string,
    port: number,
    databaseUrl: string,
    through: readonly string[],
  ): Promise<void> {
    const env = {
      // What comes over the links does not come over loopback.
      HOST: "0.0.0.0",
      DATABASE_URL: databaseUrl,
      API_KEY_SECRET: "of replicas that last for as long as a test",
      WOLFPACK_REPLICA_URL: replicaUrl,
      WOLFPACK_REQUESTS_PER_MINUTE_PER_ADDRESS: PLENTY,
      WOLFPACK_REQUESTS_PER_MINUTE_PER_CREDENTIAL: PLENTY,
      WOLFPACK_USER_CREATES_PER_MINUTE: "100000",
      ...this.options.env,
    };
    const { dataDir } = this.options;
    const { child } = await startedControlPlane({ dataDir, env, through }, port, `replica-${name}`);
    this.children.push(child);
  }

  of(name: string): CutReplica {
    const replica = this.cut.get(name);
    if (replica === undefined) throw new Error(`there is no replica ${name}`);
    return replica;
  }

  client({ baseUrl }: { baseUrl: string } = this.first): WolfpackClient {
    return wolfpackClient({ baseUrl, apiKey: this.adminKey });
  }

  /** At once: nobody is there any more who could miss them. */
  async stop(): Promise<void> {
    for (const child of this.children) child.kill();
    await Promise.all(this.children.map((child) => child.exited));
    for (const relay of this.relays) await relay.close();
    await this.postgres.stop();
    for (const place of this.places) place.remove();
  }
}
