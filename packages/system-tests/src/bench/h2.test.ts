/** The HTTP/2 that the tunnel is measured against: whole from its first byte, and never silent about its end. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "@jest/globals";
import type { Dispatching } from "revdial/http";
import { type WebSocket, WebSocketServer } from "ws";
import { dialH2, h2Dispatcher } from "./h2.ts";

let server: Server;
const webSockets: WebSocket[] = [];
afterEach(async () => {
  for (const webSocket of webSockets.splice(0)) {
    if (webSocket.readyState === webSocket.CLOSED) continue;
    const closed = once(webSocket, "close");
    webSocket.terminate();
    await closed;
  }
  await new Promise((resolve) => server.close(resolve));
});

/** What the accepting side says at once is in one segment with the handshake's answer. */
async function accepting(accept: (webSocket: WebSocket) => void): Promise<number> {
  const upgrades = new WebSocketServer({ noServer: true });
  server = createServer();
  server.on("upgrade", (request, socket, head) => {
    socket.cork();
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      webSockets.push(webSocket);
      accept(webSocket);
    });
    setImmediate(() => socket.uncork());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const controller = { aborted: false, reason: null, paused: false, rawHeaders: null, rawTrailers: null };
const hello: Dispatching = {
  dispatch(_options, handler) {
    handler.onResponseStart?.({ ...controller, pause() {}, resume() {}, abort() {} }, 200, {});
    handler.onResponseData?.({ ...controller, pause() {}, resume() {}, abort() {} }, Buffer.from("hello"));
    handler.onResponseEnd?.({ ...controller, pause() {}, resume() {}, abort() {} }, {});
    return true;
  },
};

const asked = (dispatcher: Dispatching) =>
  new Promise<string>((resolve, reject) => {
    let text = "";
    dispatcher.dispatch(
      { path: "/", method: "GET", headers: [] },
      {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData(_controller, chunk) {
          text += chunk.toString();
        },
        onResponseEnd: () => resolve(text),
        onResponseError: (_controller, error) => reject(error),
      },
    );
  });

it("hears a preface that comes with the answer to its handshake", async () => {
  const said: string[] = [];
  let dispatcher: Dispatching | undefined;
  const port = await accepting((webSocket) => {
    dispatcher = h2Dispatcher(webSocket, (line) => said.push(line));
  });
  webSockets.push(await dialH2(port, hello, (line) => said.push(line)));
  expect(await asked(dispatcher as Dispatching)).toBe("hello");
  expect(said).toEqual([]);
});

it("says why a session ended, on the side that ended it and with what the WebSocket was closed", async () => {
  const said: string[] = [];
  const closed = Promise.withResolvers<void>();
  const port = await accepting((webSocket) => webSocket.send(Buffer.alloc(64, "x")));
  const webSocket = await dialH2(port, hello, (line) => {
    said.push(line);
    if (line.includes("the session is closed")) closed.resolve();
  });
  webSockets.push(webSocket);
  await closed.promise;
  if (webSocket.readyState !== webSocket.CLOSED) await once(webSocket, "close");
  const all = said.join("");
  expect(all).toMatch(/serving side: the session failed: .*Received bad client magic byte string/);
  expect(all).toMatch(/serving side: the WebSocket is closed: \d{4}/);
});
