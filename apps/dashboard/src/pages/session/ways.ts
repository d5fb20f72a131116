/** Which ways there are to end a session, as a function of it. */
import type { Session } from "@wolfpack/api-contract";
import { isLive } from "../../fleet/session-words.ts";

export type Way = "cancel" | "stop" | "force";

/** What makes sense now; the control plane decides again when it is done. */
export function waysToEnd(session: Pick<Session, "status" | "reachable">): Way[] {
  if (!isLive(session)) return [];
  if (session.status === "queued") return ["cancel"];
  // Without its wolf, a stop waits for it.
  const isStuck = !session.reachable || session.status === "lost";
  if (session.status === "stopping") return ["force"];
  return isStuck ? ["stop", "force"] : ["stop"];
}
