/**
 * Tunnels of the agent's doctor: they carry echoes and silence, belong to no wolf, replace nothing and live for a few minutes.
 * Neither side pings them, so that whatever cuts idle connections on the way does it here.
 */
import {
  type IncomingRequest,
  type OutgoingResponse,
  RevdialError,
  type Tunnel,
  type TunnelOptions,
} from "revdial";
import type { Clock } from "../clock.ts";
import type { Log } from "../logger.ts";

/** At once, on this replica. */
const TUNNELS_MAX = 16;
/** Longer than a whole examination. */
const LIFE_MS = 180_000;
const ECHO_BYTES_MAX = 1024 * 1024;

export const doctorTunnelOptions: TunnelOptions = {
  limits: { channelsMax: 4, receiveBudgetBytes: 4 * 1024 * 1024, windowMaxBytes: 1024 * 1024 },
  pingIntervalMs: LIFE_MS,
  deadAfterMs: LIFE_MS,
};

export interface DoctorTunnels {
  readonly full: boolean;
  accept(name: string, tunnel: Tunnel): void;
  /** Ends all, and those that come later. */
  close(): void;
}

export function createDoctorTunnels({ clock, log }: { clock: Clock; log: Log }): DoctorTunnels {
  const open = new Set<Tunnel>();
  let closed = false;
  return {
    get full() {
      return open.size >= TUNNELS_MAX;
    },
    accept(name, tunnel) {
      if (closed || open.size >= TUNNELS_MAX) return tunnel.destroy(new Error("no more doctors are taken"));
      open.add(tunnel);
      tunnel.serve(echo);
      const end = clock.setTimer(LIFE_MS, () => tunnel.destroy(new Error("a doctor's time is over")));
      log.info({ name, transport: tunnel.transport }, "doctor's tunnel");
      void tunnel.closed.then(() => {
        end.cancel();
        open.delete(tunnel);
      });
    },
    close() {
      closed = true;
      for (const tunnel of open) tunnel.destroy(new Error("the replica shuts down"));
    },
  };
}

/** What it is sent, once all of it is there. */
async function echo({ service, method, body }: IncomingRequest): Promise<OutgoingResponse> {
  if (service !== "echo") throw new RevdialError("SERVICE_UNKNOWN", "a doctor's tunnel serves echo");
  if (method !== "POST") return { status: 405, headers: [["allow", "POST"]] };
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > ECHO_BYTES_MAX) return { status: 413 };
    chunks.push(chunk);
  }
  return { status: 200, body: Buffer.concat(chunks) };
}
