/** One upgrade at a server of the original protocol, for control and for data: how it went, and nothing that was said is lost. */
import type { Clock } from "../clock.ts";
import { networkReason, refusal } from "../dialling.ts";
import { RevdialError } from "../errors.ts";
import { type HelixSocketOptions, openHelixSocket, type WebSocket } from "./web-socket-stream.ts";

export interface HelixConnecting {
  /** In the turn in which the upgrade was answered: whoever listens in it hears everything. */
  opened(socket: WebSocket): void;
  failed(error: RevdialError): void;
  /** Why is still being read. */
  refused(refusal: Promise<RevdialError>): void;
}

export interface HelixConnectOptions extends HelixSocketOptions {
  clock: Clock;
  /** As in "the pick-up was answered with status 500". */
  what: string;
}

/** Returns how to give up. */
export function connectHelix(target: URL, options: HelixConnectOptions, events: HelixConnecting): () => void {
  const socket = openHelixSocket(target, options);
  let opened = false;
  socket.on("error", (cause) => {
    if (!opened) events.failed(new RevdialError("DIAL_FAILED", networkReason(cause), { cause }));
  });
  socket.once("unexpected-response", (_request, response) => {
    events.refused(refusal(response, options.what, options.clock));
  });
  socket.once("open", () => {
    opened = true;
    events.opened(socket);
  });
  return () => socket.terminate();
}
