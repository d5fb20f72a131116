/** A pool of connections to PostgreSQL with somebody beside it who counts: how long is waited for one, how long one is used. */
import pg from "pg";

export interface PoolWatch {
  /** The pool as it is, at any time. */
  pool(counts: () => PoolCounts): void;
  waited(ms: number, outcome: "given" | "failed"): void;
  used(ms: number): void;
}

export interface PoolCounts {
  used: number;
  idle: number;
  waiting: number;
}

type Given = (error: Error | undefined, client: pg.PoolClient | undefined, release: () => void) => void;

export class WatchedPool extends pg.Pool {
  private readonly watch: PoolWatch;
  private readonly now: () => number;
  private readonly since = new WeakMap<object, number>();

  constructor(config: pg.PoolConfig, watch: PoolWatch, now = () => performance.now()) {
    super(config);
    this.watch = watch;
    this.now = now;
    this.on("acquire", (client) => void this.since.set(client, now()));
    this.on("release", (_error, client) => {
      const since = this.since.get(client);
      if (since !== undefined) watch.used(now() - since);
    });
    watch.pool(() => ({
      used: this.totalCount - this.idleCount,
      idle: this.idleCount,
      waiting: this.waitingCount,
    }));
  }

  // biome-ignore lint/suspicious/noExplicitAny: pg declares two overloads, one with a callback
  override connect(given?: any): any {
    const since = this.now();
    const said = (error: unknown) => {
      this.watch.waited(this.now() - since, error ? "failed" : "given");
      // The pool's own errors have none, and a caller that no connection came free for is told to come back, as from a system's.
      if (error instanceof Error && !("code" in error)) Object.assign(error, { code: "ETIMEDOUT" });
    };
    if (given === undefined) {
      const client = super.connect();
      client.then(() => said(undefined), said);
      return client;
    }
    return super.connect((error, client, release) => {
      said(error);
      (given as Given)(error, client, release);
    });
  }
}
