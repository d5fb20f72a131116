/** haproxy as Debian has it, in front of replicas: HTTP mode, its own health checks, WebSockets passed on. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "@wolfpack/control-plane/free-ports";
import type { Backend } from "../balancer.ts";
import { Child } from "../child.ts";
import type { Front } from "./rolling.ts";

const PROGRAM = "haproxy";
const UP_LIMIT_MS = 60_000;

/** Its version; undefined: it is not installed here. */
export function haproxyVersion(): string | undefined {
  try {
    return /version (\S+)/.exec(execFileSync(PROGRAM, ["-v"], { encoding: "utf8" }))?.[1];
  } catch {
    return undefined;
  }
}

export async function startHaproxy(backends: readonly Backend[], checkMs: number): Promise<Front> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "wh-"));
  const port = await freePort();
  const socketPath = path.join(folder, "stats.sock");
  const file = path.join(folder, "haproxy.cfg");
  writeFileSync(file, configOf(backends, { port, checkMs, socketPath }));
  const child = await Child.start({
    name: PROGRAM,
    command: [PROGRAM, "-db", "-f", file],
    logFile: path.join(folder, "haproxy.log"),
  });
  return {
    url: `http://127.0.0.1:${port}`,
    async untilUp(count) {
      const until = Date.now() + UP_LIMIT_MS;
      for (;;) {
        if ((await upOf(socketPath)) >= count) return;
        if (Date.now() > until) throw new Error(`haproxy does not see ${count} replicas`);
        await pause(100);
      }
    },
    async close() {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function configOf(
  backends: readonly Backend[],
  { port, checkMs, socketPath }: { port: number; checkMs: number; socketPath: string },
): string {
  const servers = backends.map(
    ({ host, port: at }, index) => `  server replica-${index + 1} ${host}:${at} check`,
  );
  return `global
  stats socket ${socketPath}
defaults
  mode http
  timeout connect 2s
  timeout client 90s
  timeout server 90s
  timeout tunnel 1h
  option redispatch
frontend users
  bind 127.0.0.1:${port}
  http-request deny if { path_beg /internal/ }
  default_backend replicas
backend replicas
  balance roundrobin
  option httpchk GET /readyz
  default-server inter ${checkMs}ms
${servers.join("\n")}
`;
}

/** Backends that its checks find up; none while it does not answer yet. */
function upOf(socketPath: string): Promise<number> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(socketPath, () => socket.end("show stat\n"));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    socket.on("error", () => resolve(0));
    socket.on("close", () =>
      resolve(text.split("\n").filter((line) => /^replicas,replica-\d+,.*,UP,/.test(line)).length),
    );
  });
}
