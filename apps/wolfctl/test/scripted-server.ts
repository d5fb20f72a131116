/** A control plane that says what it is told to, and remembers what it was asked. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: unknown;
}
export interface Answer {
  status?: number;
  body?: unknown;
  headers?: Record<string, string>;
}
type Handler = (asked: Asked, response: ServerResponse) => Answer | undefined | Promise<Answer | undefined>;

export interface ScriptedServer {
  url: string;
  asked: Asked[];
  /** `GET /api/v1/queue`; the newest handler of a route answers. Undefined as its answer: it has answered itself. */
  on(route: string, handler: Handler | Answer): void;
  stop(): Promise<void>;
}

export async function scriptedServer(): Promise<ScriptedServer> {
  const handlers = new Map<string, Handler | Answer>();
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://server");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const one: Asked = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
    asked.push(one);
    const handler = handlers.get(`${one.method} ${one.path}`);
    const answer =
      typeof handler === "function"
        ? await handler(one, response)
        : (handler ?? problem(404, "not-found", "There is no such route."));
    if (answer === undefined) return;
    const { status = 200, body, headers = {} } = answer;
    const isBytes = body instanceof Uint8Array || typeof body === "string";
    response.writeHead(status, {
      "content-type": status >= 400 ? "application/problem+json" : "application/json",
      ...headers,
    });
    response.end(body === undefined ? undefined : isBytes ? body : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    on: (route, handler) => void handlers.set(route, handler),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function problem(status: number, code: string, detail: string, extras: object = {}): Answer {
  const body = { type: `/problems/${code}`, title: code, status, detail, instance: "req-1", code, ...extras };
  return { status, body };
}
