/** Where a local service listens: a Unix socket or TCP, with {session} filled in per request. */

export type Target = { socketPath: string } | { host: string; port: number };

/** Linux's sun_path without its final zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `unix:///path` or `host:port`. Undefined for anything else. */
export function parseTarget(text: string): Target | undefined {
  if (text.startsWith("unix://")) {
    const socketPath = text.slice("unix://".length);
    const plain =
      socketPath.startsWith("/") &&
      !socketPath.split("/").includes("..") &&
      /^[\x21-\x7e]+$/.test(socketPath);
    return plain && socketPath.length <= SOCKET_PATH_BYTES_MAX ? { socketPath } : undefined;
  }
  const match = /^(?:tcp:\/\/)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port < 1 || port > 65_535) return undefined;
  return { host: match[1].replace(/^\[|\]$/g, ""), port };
}

const PLACEHOLDER = "{session}";
/** As long as a real session id, so that a template's length is checked with it. */
const SESSION_EXAMPLE = "ses_00000000000000000000000000";

/** A template of a target; undefined when it could never become one. */
export function parseTargetTemplate(text: string): ((sessionId: string) => Target) | undefined {
  if (/[{}]/.test(text.replaceAll(PLACEHOLDER, ""))) return undefined;
  if (parseTarget(text.replaceAll(PLACEHOLDER, SESSION_EXAMPLE)) === undefined) return undefined;
  return (sessionId) => parseTarget(text.replaceAll(PLACEHOLDER, sessionId)) as Target;
}
