/**
 * A baseline: HTTP/2 (node:http2) over the same WebSocket and behind the same front. It asks the origin by a pool of undici's, as a
 * program without a tunnel would; the tunnel has a client of its own for that.
 */
import { type ClientHttp2Session, connect, createServer, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import type { DispatchController, DispatchHandler, DispatchOptions } from "revdial";
import type { Dispatching } from "revdial/http";
import { createWebSocketStream, type WebSocket } from "ws";

const WINDOW_BYTES = 8 * 1024 * 1024;
const settings = { initialWindowSize: WINDOW_BYTES, maxFrameSize: 64 * 1024, enablePush: false };

/** The asking side: a dispatcher over one HTTP/2 session. GET only, which is all the bench asks. */
export function h2Dispatcher(webSocket: WebSocket): Dispatching {
  const session: ClientHttp2Session = connect("http://tunnel", {
    createConnection: () => createWebSocketStream(webSocket),
    settings,
    maxSessionMemory: 256,
  });
  session.on("connect", () => session.setLocalWindowSize(2 * WINDOW_BYTES));
  session.on("error", () => undefined);
  return {
    dispatch(options: DispatchOptions, handler: DispatchHandler): boolean {
      const stream = session.request({ ":path": options.path, ":method": options.method });
      const controller: DispatchController = {
        aborted: false,
        reason: null,
        paused: false,
        rawHeaders: null,
        rawTrailers: null,
        pause: () => void stream.pause(),
        resume: () => void stream.resume(),
        abort: () => {
          // Nobody listens any more: what has already arrived must not be told.
          stream.removeAllListeners();
          stream.on("error", () => undefined);
          stream.close(8);
        },
      };
      handler.onRequestStart?.(controller, {});
      stream.on("response", ({ ":status": status = 502, ...headers }) => {
        const plain = Object.entries(headers).filter(([name]) => !name.startsWith(":"));
        handler.onResponseStart?.(controller, status, Object.fromEntries(plain) as Record<string, string>);
        // Not before: Node tells of the head in a tick of its own, and of bytes at once.
        stream.on("data", (chunk: Buffer) => handler.onResponseData?.(controller, chunk));
      });
      stream.on("end", () => handler.onResponseEnd?.(controller, {}));
      stream.on("error", (error) => handler.onResponseError?.(controller, error));
      stream.end();
      return true;
    },
  };
}

/** The serving side: each stream is one dispatch to the local server. */
export function serveH2(webSocket: WebSocket, origin: Dispatching): void {
  const server = createServer({ settings, maxSessionMemory: 256 });
  server.on("session", (session) => session.setLocalWindowSize(2 * WINDOW_BYTES));
  server.on("stream", (stream, headers) => {
    const { ":path": path = "/", ":method": method = "GET" } = headers;
    stream.on("error", () => undefined);
    origin.dispatch({ path, method, headers: [] }, answer(stream));
  });
  server.emit("connection", createWebSocketStream(webSocket) as Duplex);
}

function answer(stream: ServerHttp2Stream): DispatchHandler {
  return {
    onRequestStart: () => undefined,
    onResponseStart: (_controller, status, { connection, "keep-alive": keepAlive, ...headers }) =>
      stream.respond({ ":status": status, ...headers }),
    onResponseData(controller, chunk) {
      if (stream.write(chunk)) return;
      controller.pause();
      stream.once("drain", () => controller.resume());
    },
    onResponseEnd: () => void stream.end(),
    onResponseError: () => stream.close(2),
  };
}
