/** The agent's own HTTP listener: does it live, does it serve, in numbers. Three GETs, nothing of Wolf, no secrets. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, pause, systemClock } from "./clock.ts";
import type { Condition } from "./condition.ts";
import type { Log } from "./logger.ts";
import type { MetricsPage } from "./metrics-page.ts";

export interface HealthOptions {
  listen: { host: string; port: number };
  condition: Condition;
  /** What /metrics shows; undefined: there is none. */
  page?: Pick<MetricsPage, "text" | "contentType">;
  log: Log;
  /** Default: the system's. */
  clock?: Clock;
  /** Closes it. */
  signal: AbortSignal;
}

const CONNECTIONS_MAX = 16;
const REQUEST_TIMEOUT_MS = 5000;
/** The agent before us may still have the address, until it has finished. */
const RETRY_MS = 1000;
/** Twice as long as an agent takes to finish. */
const WARN_AT_TRY = 60;

/**
 * Resolves when it listens, or was told to stop before; rejects when the address can never be listened on. An address in
 * use is waited for.
 */
export async function serveHealth(options: HealthOptions): Promise<void> {
  const { listen, condition, page, log, clock = systemClock, signal } = options;
  const server = createServer((request, response) => {
    const path = request.url?.split("?")[0] ?? "";
    const answer = (status: number, type: string, body: string) =>
      response
        .writeHead(status, { "content-type": type, "cache-control": "no-store" })
        .end(request.method === "HEAD" ? undefined : body);
    const json = (status: number, value: unknown) =>
      answer(status, "application/json", `${JSON.stringify(value)}\n`);
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      return json(405, { error: "only GET and HEAD" });
    }
    const report = condition.report();
    if (path === "/healthz") return json(report.alive ? 200 : 503, { alive: report.alive });
    if (path === "/readyz") return json(report.ready ? 200 : 503, report);
    if (path === "/metrics" && page !== undefined)
      return void page.text().then(
        (text) => answer(200, page.contentType, text),
        (err: unknown) => {
          log.error({ err }, "the metrics cannot be read");
          json(500, { error: "the metrics cannot be read" });
        },
      );
    return json(404, { error: "only /healthz, /readyz and /metrics" });
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  signal.addEventListener(
    "abort",
    () => {
      server.close();
      server.closeAllConnections();
    },
    { once: true },
  );
  for (let tries = 0; !signal.aborted; tries += 1) {
    const failure = await listening(server, listen);
    if (failure === undefined) {
      const { address, port } = server.address() as AddressInfo;
      return log.debug({ address, port }, "health listener");
    }
    if (failure.code !== "EADDRINUSE") throw failure;
    if (tries === 0) log.info(listen, "waits for the health listener's address: an older agent may have it");
    if (tries === WARN_AT_TRY) log.warn(listen, "the health listener's address is still in use");
    await pause(RETRY_MS, clock, signal);
  }
}

function listening(
  server: Server,
  { host, port }: HealthOptions["listen"],
): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException) => resolve(error);
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      resolve(undefined);
    });
  });
}
