/** A server as it is written in an afternoon: what it is fooled by shows that the corpus attacks something. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import path from "node:path";

export interface NaiveServer {
  port: number;
  /** Targets of all requests that it believes to have seen. */
  targets: string[];
  close(): Promise<void>;
}

interface Request {
  method: string;
  target: string;
  headers: Map<string, string>;
  body: string;
}

export async function naiveServer(key: string): Promise<NaiveServer> {
  const targets: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    let text = "";
    const serve = (ended: boolean) => {
      for (let next = take(text, ended); next; next = take(text, ended)) {
        text = next.rest;
        targets.push(next.request.target);
        const status = handle(next.request, key);
        socket.write(`HTTP/1.1 ${status} Fine\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n`);
      }
    };
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      serve(false);
    });
    socket.on("end", () => {
      serve(true);
      socket.end();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    targets,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** The first request of the bytes; when no more come, whatever is there of it. */
function take(text: string, ended: boolean): { request: Request; rest: string } | undefined {
  const [whole = text, gap] = [/^[\s\S]*?\r?\n\r?\n/.exec(text)?.[0], "\n"];
  if (text === "" || (whole === text && !/\n\r?\n$/.test(whole) && !ended)) return undefined;
  const [start = "", ...lines] = whole.split(gap);
  const [method = "", target = ""] = start.trim().split(/\s+/);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [name = "", ...value] = line.split(":");
    headers.set(name.trim().toLowerCase(), value.join(":").trim());
  }
  const after = text.slice(whole.length);
  const length = Number.parseInt(headers.get("content-length") ?? "0", 10) || 0;
  // Length first, chunks where there is none: the other order is fooled by the other half of the cases.
  const body = headers.has("content-length") ? after.slice(0, length) : chunks(after, headers);
  if (after.length < length && !ended) return undefined;
  const used = headers.has("content-length") ? length : endOfChunks(after, headers);
  return { request: { method, target, headers, body }, rest: after.slice(Math.max(0, used)) };
}

const chunked = (headers: Map<string, string>) => /chunked/i.test(headers.get("transfer-encoding") ?? "");

function endOfChunks(text: string, headers: Map<string, string>): number {
  if (!chunked(headers)) return 0;
  const last = /(?:^|\n)0\r?\n(?:.*\n)*?\r?\n/.exec(text);
  return last ? last.index + last[0].length : text.length;
}

function chunks(text: string, headers: Map<string, string>): string {
  return chunked(headers) ? (text.split(/\r?\n/)[1] ?? "") : "";
}

function handle({ method, target, headers, body }: Request, key: string): number {
  const asked = headers.get("x-http-method-override") ?? method;
  const [where = "", query = ""] = target.replace(/^[a-z]+:\/\/[^/]*/i, "").split(/[?#;]/);
  let at: string;
  try {
    at = path.posix.normalize(decodeURIComponent(where).replaceAll("\\", "/")).toLowerCase();
  } catch {
    return 500;
  }
  const everything = `${[...headers.values()].join(" ")} ${query} ${target}`;
  const isAdmin =
    everything.toLowerCase().includes(key.slice(0, -1).toLowerCase()) || everything.includes("127.0.0.1");
  if (at.startsWith("/api/") && !isAdmin) return 401;
  if (body !== "" && headers.get("content-type")?.includes("json")) {
    try {
      merge({}, JSON.parse(body));
    } catch (error) {
      return error instanceof RangeError ? 500 : 400;
    }
  }
  return asked === "TRACE" ? 405 : 200;
}

function merge(into: Record<string, unknown>, from: unknown): void {
  for (const [name, value] of Object.entries(from ?? {})) {
    if (typeof value === "object") merge({}, value);
    else if (name !== "__proto__") into[name] = value;
  }
}
