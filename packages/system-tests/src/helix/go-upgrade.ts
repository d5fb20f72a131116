/** The handshake of the Go clients, byte for byte: for control and for pick-ups alike. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import type { Clock } from "revdial";
import { acceptOf, type HttpHead, httpHead } from "./frames.ts";

export interface GoUpgradeOptions {
  /** Of the control plane: `http://host:port`. */
  origin: string;
  /** Path and query, as they are sent. */
  path: string;
  /** Undefined: no Authorization. */
  token: string | undefined;
  clock: Clock;
  timeoutMs: number;
  /** The variant without WebSocket: `Connection: Upgrade` and no `Upgrade`. */
  hijack?: boolean;
}

export interface Upgraded {
  socket: Socket;
  /** What came with the answer. */
  early: Buffer;
  answer: HttpHead;
}

/** The answer was another than hoped for, or none. */
export class HandshakeFailed extends Error {
  /** 0: there was no answer. */
  readonly status: number;
  readonly head: HttpHead | undefined;
  readonly body: string;

  constructor(why: string, head?: HttpHead, body = "") {
    super(why);
    this.head = head;
    this.status = Number(head?.line.split(" ")[1] ?? 0);
    this.body = body;
  }
}

/** Fields in the order in which Go writes them: Host and User-Agent, then by name. */
function requestOf({ origin, path, token, hijack = false }: GoUpgradeOptions, key: string): string {
  const webSocket = [`Sec-WebSocket-Key: ${key}`, "Sec-WebSocket-Version: 13", "Upgrade: websocket"];
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${new URL(origin).host}`,
    "User-Agent: Go-http-client/1.1",
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    "Connection: Upgrade",
    ...(hijack ? [] : webSocket),
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Rejects with HandshakeFailed. */
export function goUpgrade(options: GoUpgradeOptions): Promise<Upgraded> {
  const { origin, clock, timeoutMs, hijack = false } = options;
  const { hostname, port } = new URL(origin);
  const key = randomBytes(16).toString("base64");
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<Upgraded>();
  let heard: Buffer = Buffer.alloc(0);
  const settle = () => {
    timer.cancel();
    socket.off("data", onData).off("close", onClose).off("error", onError);
  };
  const fail = (why: string, head?: HttpHead, body?: string) => {
    settle();
    socket.on("error", () => undefined).destroy();
    reject(new HandshakeFailed(why, head, body));
  };
  const timer = clock.setTimer(timeoutMs, () => fail("i/o timeout"));
  const onError = ({ message }: Error) => fail(message);
  const onClose = () => fail("EOF", httpHead(heard), heard.subarray(httpHead(heard)?.bytes ?? 0).toString());
  const onData = (bytes: Buffer) => {
    heard = Buffer.concat([heard, bytes]);
    const answer = httpHead(heard);
    if (answer === undefined) return;
    const rest = heard.subarray(answer.bytes);
    const isUpgraded = hijack
      ? /^HTTP\/1\.1 200 /.test(answer.line)
      : /^HTTP\/1\.1 101 /.test(answer.line) &&
        answer.fields.get("sec-websocket-accept") === acceptOf(key) &&
        !answer.fields.has("sec-websocket-protocol") &&
        !answer.fields.has("sec-websocket-extensions");
    if (!isUpgraded) {
      // The client keeps no more of a refusal than that; what it was, tests want to know.
      if (rest.length < Number(answer.fields.get("content-length") ?? 0)) return;
      return fail(hijack ? "unexpected status" : "websocket: bad handshake", answer, rest.toString());
    }
    settle();
    socket.on("error", () => undefined);
    resolve({ socket, early: rest, answer });
  };
  socket.on("data", onData).on("close", onClose).on("error", onError);
  socket.once("connect", () => socket.write(requestOf(options, key)));
  return promise;
}
