/**
 * Calls of users and agents that another replica has passed on to this one, whole and with their own credentials: by whom, and from
 * which address they first came. Only the door makes them (door.ts); what a caller writes of it itself counts nothing.
 */
import type { IncomingMessage } from "node:http";
import { pairsOf } from "./fields.ts";
import { OURS } from "./internal-wire.ts";

export interface PassedOn {
  /** The replica. */
  from: string;
  /** The caller's. */
  address: string;
}

const marks = new WeakMap<IncomingMessage, PassedOn>();

/** Undefined: it came here first. What is something else is never passed on again. */
export const passedOn = (request: IncomingMessage): PassedOn | undefined => marks.get(request);

/** From now on it reads as it did where it first came. */
export function becomeCall(request: IncomingMessage, path: string, by: PassedOn): void {
  marks.set(request, by);
  request.url = path;
  request.rawHeaders = pairsOf(request.rawHeaders)
    .filter(([name]) => !name.startsWith(OURS))
    .flat();
  for (const name of Object.keys(request.headers)) if (name.startsWith(OURS)) delete request.headers[name];
  // Express would make it of the connection.
  Object.defineProperty(request, "ip", { value: by.address });
}
