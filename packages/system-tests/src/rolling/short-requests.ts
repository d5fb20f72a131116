/** Short requests over kept connections, as many at once; none is asked a second time. */
import { Agent, get } from "node:http";

export interface ShortRequestsOptions {
  url: string;
  key: string;
  paths: readonly string[];
  atOnce: number;
}

export interface ShortRequests {
  readonly answered: number;
  /** What went wrong, each in a few words. */
  readonly failures: readonly string[];
  /** Milliseconds, of those that were answered. */
  readonly tookMs: readonly number[];
  /** Resolves when so many have been answered or have failed. */
  until(count: number): Promise<void>;
  /** Resolves when those in flight are over. */
  stop(): Promise<void>;
}

const TIMEOUT_MS = 30_000;

export function startShortRequests({ url, key, paths, atOnce }: ShortRequestsOptions): ShortRequests {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  const failures: string[] = [];
  const tookMs: number[] = [];
  const goals: { count: number; reached: () => void }[] = [];
  let asked = 0;
  let stopping = false;

  async function lane(): Promise<void> {
    while (!stopping) {
      const path = paths[asked % paths.length] ?? "/";
      asked += 1;
      const begun = performance.now();
      const failure = await ask(new URL(path, url), key, agent);
      if (failure === undefined) tookMs.push(performance.now() - begun);
      else failures.push(`${new Date().toISOString()} ${path}: ${failure}`);
      for (const { count, reached } of goals) if (tookMs.length + failures.length >= count) reached();
    }
  }

  const lanes = Array.from({ length: atOnce }, lane);
  return {
    get answered() {
      return tookMs.length;
    },
    failures,
    tookMs,
    until(count) {
      return new Promise((reached) => {
        if (tookMs.length + failures.length >= count) reached();
        else goals.push({ count, reached });
      });
    },
    async stop() {
      stopping = true;
      await Promise.all(lanes);
      agent.destroy();
    },
  };
}

/** Undefined: a whole answer with status 200. */
export function ask(url: URL, key: string, agent: Agent | false): Promise<string | undefined> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${key}` };
    const request = get(url, { agent, headers, timeout: TIMEOUT_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text = (text + chunk).slice(0, 300);
      });
      response.on("error", (error) => resolve(`cut off: ${error.message}`));
      response.on("end", () =>
        resolve(response.statusCode === 200 ? undefined : `status ${response.statusCode} ${text}`),
      );
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", (error) =>
      resolve(`${error.message}${request.reusedSocket ? " on a kept connection" : ""}`),
    );
  });
}
