/** An upgrade that belongs to another replica: its head goes there as it came, and from then on both ends see nothing but each other's bytes. */
import type { IncomingMessage } from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import tls from "node:tls";
import { RevdialError } from "revdial";
import type { Clock } from "../clock.ts";
import { CALL_PREFIX, CLIENT_FIELD, OURS } from "./internal-wire.ts";
import { REPLICA_FIELD, type ReplicaCredentials } from "./replica-credential.ts";
import { endOf, type Owner } from "./replica-store.ts";

export interface RawUpgradeOptions {
  credentials: Pick<ReplicaCredentials, "sign">;
  addressOf: (request: IncomingMessage) => string;
  clock: Clock;
  /** Connections at once; more are refused. Default 4,096. */
  connectionsMax?: number;
  /** Until the connection stands. Default 3,000. */
  connectMs?: number;
}

/** Resolves when both have ended. Rejects with a RevdialError as long as nothing was sent, and the socket is as it was. */
export type PassOnUpgrade = (
  owner: Owner,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
) => Promise<void>;

const CONNECTIONS_MAX = 4096;
const CONNECT_MS = 3000;

export function createRawUpgrades(options: RawUpgradeOptions): PassOnUpgrade {
  const { clock, connectionsMax = CONNECTIONS_MAX, connectMs = CONNECT_MS } = options;
  let connections = 0;

  function headOf(owner: Owner, request: IncomingMessage): string {
    const { method = "GET", url = "", rawHeaders } = request;
    const path = `${CALL_PREFIX}${url}`;
    const lines = [`${method} ${path} HTTP/1.1`];
    for (let at = 0; at + 1 < rawHeaders.length; at += 2)
      if (!rawHeaders[at]?.toLowerCase().startsWith(OURS))
        lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    const credential = options.credentials.sign(owner.id, method, path, clock.now().getTime());
    lines.push(`${REPLICA_FIELD}: ${credential}`, `${CLIENT_FIELD}: ${options.addressOf(request)}`);
    return `${lines.join("\r\n")}\r\n\r\n`;
  }

  return async (owner, request, socket, head) => {
    if (connections >= connectionsMax)
      throw notSent("REFUSED", `${connectionsMax} connections to other replicas are open`);
    connections += 1;
    try {
      const far = await connected(owner, clock, connectMs);
      if ("setTimeout" in socket) (socket as net.Socket).setTimeout(0);
      far.write(Buffer.from(headOf(owner, request), "latin1"));
      if (head.length > 0) far.write(head);
      // Either's end by force ends the other: nobody waits for what cannot come any more.
      await Promise.allSettled([pipeline(socket, far), pipeline(far, socket)]);
    } finally {
      connections -= 1;
    }
  };
}

function connected(owner: Owner, clock: Clock, connectMs: number): Promise<net.Socket> {
  const { isSecure, host, port } = endOf(owner);
  const to = { host, port, allowHalfOpen: true };
  const name = net.isIP(host) === 0 ? { servername: host } : {};
  const socket = isSecure ? tls.connect({ ...to, ...name }) : net.connect(to);
  socket.setNoDelay(true);
  return new Promise((resolve, reject) => {
    const fail = (cause?: unknown) => {
      late.cancel();
      socket.destroy();
      reject(notSent("CLOSED", "the other replica cannot be reached", cause));
    };
    const late = clock.setTimer(connectMs, fail);
    socket.once("error", fail);
    socket.once(isSecure ? "secureConnect" : "connect", () => {
      late.cancel();
      socket.off("error", fail);
      resolve(socket);
    });
  });
}

const notSent = (code: "REFUSED" | "CLOSED", why: string, cause?: unknown) =>
  new RevdialError(code, why, { sent: "not-sent", ...(cause === undefined ? {} : { cause }) });
