/**
 * A baseline: HTTP/2 (node:http2) over the same WebSocket and behind the same front. It asks the origin by a pool of undici's, as a
 * program without a tunnel would; the tunnel has a client of its own for that.
 */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Duplex } from "node:stream";
import {
  type DispatchController,
  type DispatchHandler,
  type DispatchOptions,
  REVDIAL_SUBPROTOCOL,
} from "revdial";
import type { Dispatching } from "revdial/http";
import { createWebSocketStream, WebSocket } from "ws";

const WINDOW_BYTES = 8 * 1024 * 1024;
const settings = { initialWindowSize: WINDOW_BYTES, maxFrameSize: 64 * 1024, enablePush: false };

type Say = (line: string) => void;
const onStderr: Say = (line) => void process.stderr.write(line);

/** A session that ends takes the bench with it. Nobody ends one while the bench runs: it says why, or what follows tells nothing. */
function tellEnd(side: "asking" | "serving", session: Http2Session, webSocket: WebSocket, say: Say): void {
  const tell = (what: string) => say(`h2, ${side} side: ${what}\n`);
  const failed = (what: string) => (error: Error) => tell(`${what} failed: ${error.stack ?? String(error)}`);
  session.on("error", failed("the session"));
  session.on("goaway", (code, stream) => tell(`told to go away: code ${code}, last stream ${stream}`));
  session.on("frameError", (type, code, stream) =>
    tell(`a frame of type ${type} of stream ${stream} was not sent: code ${code}`),
  );
  session.on("close", () => tell("the session is closed"));
  webSocket.on("error", failed("the WebSocket"));
  webSocket.on("close", (code, reason) =>
    tell(`the WebSocket is closed: ${code} ${JSON.stringify(reason.toString())}`),
  );
}

/** The asking side: a dispatcher over one HTTP/2 session. GET only, which is all the bench asks. */
export function h2Dispatcher(webSocket: WebSocket, say = onStderr): Dispatching {
  const session: ClientHttp2Session = connect("http://tunnel", {
    createConnection: () => createWebSocketStream(webSocket),
    settings,
    maxSessionMemory: 256,
  });
  session.on("connect", () => session.setLocalWindowSize(2 * WINDOW_BYTES));
  tellEnd("asking", session, webSocket, say);
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

/** The serving side, which dials: each stream is one dispatch to the local server. */
export async function dialH2(port: number, origin: Dispatching, say = onStderr): Promise<WebSocket> {
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, REVDIAL_SUBPROTOCOL, {
    perMessageDeflate: false,
    // The same favour the tunnel gets on loopback.
    generateMask: (mask) => void mask.fill(0),
  });
  const open = once(webSocket, "open");
  // Before it is open: the other side speaks first, and `ws` drops what comes before somebody listens. Behind an `await` that was
  // the preface now and then, and the session ended with ERR_HTTP2_ERROR, "Received bad client magic byte string".
  serveH2(webSocket, origin, say);
  await open;
  return webSocket;
}

function serveH2(webSocket: WebSocket, origin: Dispatching, say: Say): void {
  const server = createServer({ settings, maxSessionMemory: 256 });
  server.on("session", (session) => {
    session.setLocalWindowSize(2 * WINDOW_BYTES);
    tellEnd("serving", session, webSocket, say);
  });
  server.on("stream", (stream, headers) => {
    const { ":path": path = "/", ":method": method = "GET" } = headers;
    // Whoever asked may have gone, which is no fault; what its session ends with is told above.
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
