/** The balancer as a process: `node dist/balance.js --listen 8080 --backend 127.0.0.1:8081 --backend …`. Says on stdout when it listens. */
import { parseArgs } from "node:util";
import { type Backend, startBalancer } from "./balancer.ts";
import { interrupted } from "./interrupt.ts";

const usage = `usage: balance --backend <host:port>… [--listen <port>] [--policy round-robin|least-connections] [--check-ms <n>]
`;

function backendOf(text: string): Backend {
  const [, host, port] = /^([^\s:]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) throw new TypeError(usage);
  return { host, port: Number(port) };
}

try {
  const { values } = parseArgs({
    options: {
      backend: { type: "string", multiple: true, default: [] },
      listen: { type: "string", default: "0" },
      policy: { type: "string", default: "round-robin" },
      "check-ms": { type: "string", default: "2000" },
    },
  });
  const { policy } = values;
  const [port, checkEveryMs] = [Number(values.listen), Number(values["check-ms"])];
  if (policy !== "round-robin" && policy !== "least-connections") throw new TypeError(usage);
  if (values.backend.length === 0 || !(checkEveryMs >= 10) || !(port >= 0 && port <= 65_535))
    throw new TypeError(usage);
  const balancer = await startBalancer({
    backends: values.backend.map(backendOf),
    policy,
    port,
    checkEveryMs,
  });
  process.stdout.write(`${JSON.stringify({ ready: true, url: balancer.url })}\n`);
  await interrupted();
  await balancer.close();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
