/** A WebSocket to ourselves, the way agents come: through the public URL, with whatever stands in between. */
import { randomBytes } from "node:crypto";
import { WebSocket } from "ws";
import { TUNNEL_PATH } from "../tunnels/admission.ts";
import { ECHO_BYTES_MAX, ECHO_HEADER, ECHO_SUBPROTOCOL } from "../tunnels/echo-upgrade.ts";
import type { Finding } from "./check.ts";

/**
 * `answered`: by something that opens no WebSocket, with this status. `unreachable`: nobody answered, for this reason. `silent`: opened,
 * and not echoed. `altered`: something else came back.
 */
export type EchoOutcome =
  | { outcome: "echoed"; ms: number }
  | { outcome: "answered"; status: number }
  | { outcome: "unreachable"; code: string }
  | { outcome: "silent" | "altered" };

const MESSAGE_BYTES = 16;
export const ECHO_TIMEOUT_MS = 5000;

/** `url` is http or https. Never rejects. */
export function echoThrough(
  url: string,
  { token, now, timeoutMs = ECHO_TIMEOUT_MS }: { token: string; now: () => number; timeoutMs?: number },
): Promise<EchoOutcome> {
  const { promise, resolve } = Promise.withResolvers<EchoOutcome>();
  const begunAt = now();
  const message = randomBytes(MESSAGE_BYTES);
  let opened = false;
  const webSocket = new WebSocket(targetOf(url), [ECHO_SUBPROTOCOL], {
    headers: { [ECHO_HEADER]: token },
    maxPayload: ECHO_BYTES_MAX,
    perMessageDeflate: false,
  });
  const timer = setTimeout(
    () => settle(opened ? { outcome: "silent" } : { outcome: "unreachable", code: "ETIMEDOUT" }),
    timeoutMs,
  );
  timer.unref();

  function settle(outcome: EchoOutcome): void {
    clearTimeout(timer);
    resolve(outcome);
    webSocket.terminate();
  }

  webSocket.on("open", () => {
    opened = true;
    webSocket.send(message);
  });
  webSocket.on("message", (data: Buffer) => {
    const same = Buffer.compare(data, message) === 0;
    settle(same ? { outcome: "echoed", ms: now() - begunAt } : { outcome: "altered" });
  });
  webSocket.on("unexpected-response", (_request, { statusCode = 0 }) =>
    settle({ outcome: "answered", status: statusCode }),
  );
  webSocket.on("error", (error: NodeJS.ErrnoException) =>
    settle(opened ? { outcome: "silent" } : { outcome: "unreachable", code: codeOf(error) }),
  );
  webSocket.on("close", () => settle({ outcome: "silent" }));
  return promise;
}

function targetOf(url: string): URL {
  const target = new URL(url);
  target.protocol = target.protocol === "https:" ? "wss:" : "ws:";
  target.pathname = `${target.pathname.replace(/\/+$/, "")}${TUNNEL_PATH}`;
  target.search = "";
  target.hash = "";
  return target;
}

/** A code of Node or of its TLS; what `ws` finds wrong with an answer has none. */
const codeOf = ({ code }: NodeJS.ErrnoException): string =>
  typeof code === "string" && /^[A-Z0-9_]{1,60}$/.test(code) ? code : "EPROTO";

const hairpin =
  "Check the URL and its name. Some networks let nobody reach their own public address from inside: then this warning can stay, and the agent's doctor says more.";

export function echoFinding(host: string, echo: EchoOutcome): Finding {
  switch (echo.outcome) {
    case "echoed":
      return { status: "ok", detail: `${host} said it back after ${Math.round(echo.ms)} ms.` };
    case "unreachable":
      return {
        status: "warning",
        detail: `${host} cannot be reached from here (${echo.code}).`,
        advice: hairpin,
      };
    case "answered":
      return {
        status: "failed",
        detail: `${host} opens no WebSocket: it answered with status ${echo.status}.`,
      };
    case "silent":
      return { status: "failed", detail: `${host} opened a WebSocket, and nothing came back.` };
    case "altered":
      return { status: "failed", detail: `${host} sent something else back.` };
  }
}
