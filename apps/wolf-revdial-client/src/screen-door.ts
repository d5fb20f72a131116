/**
 * The way to a sandbox's screen that its user cannot lead elsewhere. The socket lies in a folder that the sandbox writes, so
 * that a link in its place would have the agent, which is root, ask the screen of another user.
 */
import { constants } from "node:fs";
import { open, readlink, realpath } from "node:fs/promises";
import path from "node:path";
import type { Target } from "./target.ts";
import { UpstreamError } from "./upstream.ts";

/** open(2): a name for the file itself, which a socket can be had by. Node does not name it. */
const O_PATH = 0o10000000;

export interface Door {
  target: Target;
  close(): Promise<void>;
}

/**
 * What lies at the target now, until it is closed: links below the folder that bears the session's id are not followed,
 * nor is what is put there later. Rejects with an UpstreamError.
 */
export async function openDoor(target: Target, sessionId: string): Promise<Door> {
  const own = "socketPath" in target ? ownFolder(target.socketPath, sessionId) : undefined;
  if (!("socketPath" in target) || own === undefined || process.platform !== "linux")
    return { target, close: async () => undefined };
  const { socketPath } = target;
  const unreachable = (why: string, cause?: unknown) =>
    new UpstreamError("upstream-unreachable", `nothing answers there (${why})`, { cause });
  const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? "unknown";
  const handle = await open(socketPath, O_PATH | constants.O_NOFOLLOW).catch((error: unknown) => {
    throw unreachable(codeOf(error), error);
  });
  const itself = `/proc/self/fd/${handle.fd}`;
  try {
    const wanted = path.join(await realpath(own), socketPath.slice(own.length));
    // A link would have its own name here, or another one's.
    if (!(await handle.stat()).isSocket() || (await readlink(itself)) !== wanted)
      throw unreachable("a link, or no socket");
  } catch (error) {
    await handle.close();
    throw error instanceof UpstreamError ? error : unreachable(codeOf(error), error);
  }
  return { target: { socketPath: itself }, close: () => handle.close() };
}

/** The last folder that is the host's own; undefined where the path is not the session's. */
function ownFolder(socketPath: string, sessionId: string): string | undefined {
  const at = socketPath.indexOf(sessionId);
  if (at < 0) return undefined;
  const end = socketPath.indexOf("/", at);
  return end < 0 ? path.dirname(socketPath) : socketPath.slice(0, end);
}
