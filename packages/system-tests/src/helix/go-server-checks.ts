/** What Helix's control plane asks of a request before it upgrades it, in its order, and how it refuses. */
import type { HttpHead } from "./frames.ts";

export interface HelixAccess {
  /** Taken for any key. */
  runnerToken: string;
  /** API keys ("hl-…"), and whose they are. */
  apiKeys: Record<string, string>;
  /** Sessions, and whose they are: a user's key opens `sandbox-<session>` of its own. */
  sessions: Record<string, string>;
  /** Does `/revdial` lead to the tunnel, or to what serves the web pages? */
  mounts: "api" | "both";
  /** Is there a connection with this dialer id? */
  isDialer: (id: string) => boolean;
}

export type HelixVerdict =
  | { kind: "refused"; answer: string }
  | { kind: "control"; key: string; hijack: boolean }
  | { kind: "data"; dialerId: string; requestId: string | undefined };

/** The token of a request, in the order in which places are looked at. */
function tokenOf(fields: Map<string, string>, query: URLSearchParams): string | undefined {
  const bearer = /^Bearer (.+)$/.exec(fields.get("authorization") ?? "")?.[1];
  const cookie = /(?:^|; )access_token=([^;]+)/.exec(fields.get("cookie") ?? "")?.[1];
  return (
    bearer ??
    fields.get("x-api-key") ??
    fields.get("api-key") ??
    cookie ??
    query.get("access_token") ??
    undefined
  );
}

export function helixVerdict({ line, fields }: HttpHead, access: HelixAccess): HelixVerdict {
  const [method = "", target = ""] = line.split(" ");
  const { pathname, searchParams: query } = new URL(target, "http://helix");
  const refused = (answer: string): HelixVerdict => ({ kind: "refused", answer });
  const mounted = access.mounts === "both" ? ["/api/v1/revdial", "/revdial"] : ["/api/v1/revdial"];
  // Whatever is no route of the API is for the pages, which are elsewhere.
  if (!mounted.includes(pathname)) return refused(textAnswer(502, "Bad Gateway", ""));
  if (method !== "GET") return refused(textAnswer(405, "Method Not Allowed", ""));
  const token = tokenOf(fields, query);
  const isRunner = token === access.runnerToken;
  const user = token === undefined ? undefined : access.apiKeys[token];
  if (!isRunner && user === undefined) return refused(textAnswer(401, "Unauthorized", "Unauthorized\n"));
  const isWebSocket = /(^|, ?)upgrade($|,)/i.test(fields.get("connection") ?? "") && fields.has("upgrade");
  const dialerId = query.get("revdial.dialer") ?? "";
  if (isWebSocket && dialerId !== "") {
    if (!access.isDialer(dialerId)) return refused(unknownDialer);
    const requestId = query.get("revdial.req") ?? undefined;
    return isHandshake(fields) ? { kind: "data", dialerId, requestId } : refused(badHandshake);
  }
  const key = query.get("runnerid") ?? "";
  if (key === "") return refused(textAnswer(400, "Bad Request", "runnerid is required\n"));
  if (!isRunner) {
    const session = /^sandbox-(.+)$/.exec(key)?.[1];
    if (session === undefined) return refused(textAnswer(400, "Bad Request", "invalid runner ID format\n"));
    if (access.sessions[session] !== user)
      return refused(textAnswer(403, "Forbidden", "unauthorized: session not owned by user\n"));
  }
  if (isWebSocket && !isHandshake(fields)) return refused(badHandshake);
  return { kind: "control", key, hijack: !isWebSocket };
}

const isHandshake = (fields: Map<string, string>) =>
  fields.get("sec-websocket-version") === "13" &&
  Buffer.from(fields.get("sec-websocket-key") ?? "", "base64").length === 16;

export function answerOf(status: number, reason: string, fields: readonly string[], body: string): string {
  const head = [`HTTP/1.1 ${status} ${reason}`, ...fields, `Content-Length: ${Buffer.byteLength(body)}`];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

function textAnswer(status: number, reason: string, body: string, ...fields: string[]): string {
  const text = ["Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff", ...fields];
  return answerOf(status, reason, text, body);
}

const badHandshake = textAnswer(400, "Bad Request", "Bad Request\n", "Sec-WebSocket-Version: 13");
const unknownDialer = answerOf(
  500,
  "Internal Server Error",
  ["Content-Type: application/json"],
  '{"status_code":500,"code":"INTERNAL_SERVER_ERROR","message":"unknown dialer"}\n',
);
