/** Process: a host with a tunnel, or whoever asks for it. */
import http from "node:http";
import { dialTunnel, type Tunnel } from "revdial";
import { serveCalls } from "./process.ts";

const NAME = "bench";
let tunnel: Tunnel | undefined;

/** Dials a control plane as an agent; resolves to the wolf's id. */
async function connect({ port, token }: { port: number; token: string }): Promise<string> {
  const authorization = `Bearer ${token}`;
  const registered = await fetch(`http://127.0.0.1:${port}/api/v1/wolf-instances/register`, {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ name: NAME, gpu_type: "nvidia", max_sandboxes: 1 }),
  });
  const { id } = (await registered.json()) as { id: string };
  const url = `ws://127.0.0.1:${port}/api/v1/revdial?runnerid=wolf-${NAME}`;
  tunnel = await dialTunnel(url, { headers: { authorization } });
  const body = Buffer.from(JSON.stringify({ success: true, lobbies: [] }));
  tunnel.serve(() => ({ status: 200, headers: [["content-type", "application/json"]], body }));
  return id;
}

export interface Asked {
  perSecond: number;
  p50Ms: number;
  failed: number;
}

/** What the wolf's Wolf runs, asked again as soon as it is answered, by so many at once. */
async function ask(options: {
  port: number;
  key: string;
  wolfId: string;
  parallel: number;
  seconds: number;
}): Promise<Asked> {
  const { port, key, wolfId, parallel, seconds } = options;
  const agent = new http.Agent({ keepAlive: true, maxSockets: parallel });
  const once = () =>
    new Promise<boolean>((resolve, reject) => {
      const headers = { authorization: `Bearer ${key}` };
      const path = `/api/v1/wolf-instances/${wolfId}/lobbies`;
      const request = http.get({ port, host: "127.0.0.1", path, headers, agent }, (response) => {
        response.on("end", () => resolve(response.statusCode === 200)).resume();
      });
      request.on("error", reject);
    });
  const times: number[] = [];
  let failed = 0;
  const until = performance.now() + seconds * 1000;
  const worker = async () => {
    while (performance.now() < until) {
      const startedAt = performance.now();
      if (await once()) times.push(performance.now() - startedAt);
      else failed += 1;
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: parallel }, worker));
  const perSecond = (times.length * 1000) / (performance.now() - startedAt);
  agent.destroy();
  times.sort((left, right) => left - right);
  return { perSecond, p50Ms: times[Math.floor(times.length / 2)] ?? Number.NaN, failed };
}

serveCalls({ connect, ask, close: () => tunnel?.destroy() });
