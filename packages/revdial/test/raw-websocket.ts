/** The client's half of a WebSocket by hand: what no WebSocket library would send. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { REVDIAL_SUBPROTOCOL } from "../src/index.ts";

export const opcodes = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

/** First byte of a frame. */
export const FIN = 0x80;
export const RSV1 = 0x40;

/** One frame of a client, masked with zeros. `announced`: a length other than the payload's. */
export function webSocketFrame(first: number, payload: Uint8Array, announced?: number): Buffer {
  const length = announced ?? payload.byteLength;
  const head = length < 126 ? Buffer.from([first, 0x80 | length]) : Buffer.alloc(length < 65_536 ? 4 : 10);
  if (length >= 126) {
    head[0] = first;
    head[1] = 0x80 | (length < 65_536 ? 126 : 127);
    if (length < 65_536) head.writeUInt16BE(length, 2);
    else head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

export interface RawWebSocket {
  socket: Socket;
  /** The head of the answer to the upgrade. */
  answer: string;
  /** Resolves to the close code the peer sends, or undefined when it cuts the connection without one. */
  closed: Promise<number | undefined>;
}

/** Upgrades, with these fields besides the necessary ones. `early` leaves with the request, before it is answered. */
export async function rawWebSocket(
  url: string,
  fields: readonly string[] = [],
  early: Uint8Array = new Uint8Array(),
): Promise<RawWebSocket> {
  const { hostname, port, pathname, search } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const lines = [
    `GET ${pathname}${search} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    `Sec-WebSocket-Protocol: ${REVDIAL_SUBPROTOCOL}`,
    ...fields,
  ];
  socket.write(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), early]));
  let heard = Buffer.alloc(0);
  const { promise: answered, resolve } = Promise.withResolvers<string>();
  const { promise: closed, resolve: close } = Promise.withResolvers<number | undefined>();
  let head = -1;
  socket.on("data", (bytes: Buffer) => {
    heard = Buffer.concat([heard, bytes]);
    if (head < 0) head = heard.indexOf("\r\n\r\n");
    if (head >= 0) resolve(heard.subarray(0, head).toString());
  });
  socket.once("close", () => {
    resolve(heard.toString());
    close(closeCode(heard.subarray(head + 4)));
  });
  return { socket, answer: await answered, closed };
}

/** Looks for a close frame among the unmasked frames of a server. */
function closeCode(bytes: Buffer): number | undefined {
  for (let at = 0; at + 2 <= bytes.byteLength; ) {
    const short = (bytes[at + 1] as number) & 0x7f;
    const header = short === 126 ? 4 : short === 127 ? 10 : 2;
    const length =
      short === 126
        ? bytes.readUInt16BE(at + 2)
        : short === 127
          ? Number(bytes.readBigUInt64BE(at + 2))
          : short;
    if (((bytes[at] as number) & 0x0f) === opcodes.close) return bytes.readUInt16BE(at + header);
    at += header + length;
  }
  return undefined;
}
