/** Bytes to a server on a connection of their own, and every answer that comes back until it is closed. */
import { connect } from "node:net";

export interface Answer {
  status: number;
  /** Names in lower case; of a name that came twice, all values. */
  headers: Map<string, string[]>;
  body: string;
}

export interface Exchange {
  answers: Answer[];
  /** Bytes behind the last whole answer. */
  rest: string;
  bytes: number;
  milliseconds: number;
}

const PATIENCE_MS = 10_000;

export interface Sending {
  /** Nothing more comes: our side of the connection is closed after the bytes. */
  cutOff?: boolean;
  /** How long to wait for a server that neither answers nor closes. Default 10 s. */
  patienceMs?: number;
  /** Requests with the method HEAD, whose answers have no body. */
  head?: boolean;
}

export function exchange(port: number, bytes: Buffer, sending: Sending = {}): Promise<Exchange> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1");
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      const [answer] = readAnswers(Buffer.concat(chunks), sending.head).answers;
      // Whatever was hidden behind the request was read by now.
      if (answer && !answer.headers.get("connection")?.includes("close")) socket.end();
    });
    // A server that closes while we still write resets the connection; what it said before counts.
    socket.on("error", () => undefined);
    socket.on("close", () =>
      resolve({
        ...readAnswers(Buffer.concat(chunks), sending.head),
        bytes: chunks.reduce((sum, { length }) => sum + length, 0),
        milliseconds: performance.now() - startedAt,
      }),
    );
    const patience = setTimeout(() => socket.destroy(), sending.patienceMs ?? PATIENCE_MS);
    socket.on("close", () => clearTimeout(patience));
    if (sending.cutOff) socket.end(bytes);
    else socket.write(bytes);
  });
}

function readAnswers(bytes: Buffer, head = false): { answers: Answer[]; rest: string } {
  const answers: Answer[] = [];
  let text = bytes.toString("latin1");
  while (text !== "") {
    const end = text.indexOf("\r\n\r\n");
    const [start = "", ...lines] = text.slice(0, Math.max(0, end)).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(start)?.[1]);
    if (end < 0 || Number.isNaN(status)) break;
    const headers = new Map<string, string[]>();
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon).toLowerCase();
      headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
    }
    const length = head ? 0 : Number(headers.get("content-length")?.[0] ?? 0);
    const body = text.slice(end + 4, end + 4 + length);
    if (body.length < length) break;
    answers.push({ status, headers, body: Buffer.from(body, "latin1").toString("utf8") });
    text = text.slice(end + 4 + length);
  }
  return { answers, rest: text };
}
