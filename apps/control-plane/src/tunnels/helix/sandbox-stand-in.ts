/**
 * Stands in for the agent inside a sandbox of Helix, whose screen service has words of its own: a clipboard there is
 * `{"type":"text","data":"…"}`, and one session is all it knows of.
 */
import {
  ReplyTooLarge,
  Semaphore,
  screenReplyTooLarge,
  UpstreamError,
  WOLF_BODY_BYTES_MAX,
} from "@wolfpack/wolf-api";
import type { IncomingRequest, OutgoingResponse, Reply, RequestHandler } from "revdial";
import { forwardTo } from "revdial/http";
import { askThrough, type WholeAnswer } from "./ask-through.ts";
import { type Refusal, refuse, serviceUnknown, upstreamRefusal } from "./refusals.ts";
import { pipeOptions, type StandIn, type StandInOptions } from "./stand-in.ts";

/** For the wait and the exchange: its word comes before the control plane gives up. */
const TIMEOUT_MS = 10_000;
const WAIT_MS = 9000;
const IMAGE_BYTES_MAX = 20 * 1024 * 1024;
const CLIPBOARD_BYTES_MAX = 256 * 1024;
/** Each answer is whole in memory until it has gone, and the sandbox decides how large it is. */
const AT_ONCE_MAX = 2;
const WAITING_MAX = 16;

type What = "screenshot" | "clipboard";

export function sandboxStandIn(sessionId: string, { clock, log }: StandInOptions): StandIn {
  return (pipe) => {
    const kept = forwardTo(pipe, pipeOptions);
    // As for a wolf: what changes something has a connection of its own.
    const fresh = forwardTo(pipe, { ...pipeOptions, idleConnectionsMax: 0 });
    const places = new Semaphore(AT_ONCE_MAX, WAITING_MAX);

    async function serve(request: IncomingRequest, reply: Reply): Promise<OutgoingResponse> {
      const routed = routeOf(request, sessionId);
      if ("code" in routed) return refuse(log, request, routed);
      const { method, what } = routed;
      const given = method === "POST" ? await clipboardIn(request) : undefined;
      if (given !== undefined && typeof given !== "string") return refuse(log, request, given);
      const dueAt = clock.now().getTime() + TIMEOUT_MS;
      const giveBack = await places.take(request.signal, { waitMs: WAIT_MS });
      if (giveBack === undefined) return refuse(log, request, request.signal.aborted ? gaveUp : queueFull);
      reply.onClose(() => giveBack());
      const question = {
        method,
        path: `/${what}`,
        body: given,
        timeoutMs: Math.max(1, dueAt - clock.now().getTime()),
        replyBytesMax: what === "screenshot" ? IMAGE_BYTES_MAX : CLIPBOARD_BYTES_MAX,
        signal: request.signal,
      };
      return answerOf(routed, await askThrough(method === "GET" ? kept : fresh, question, clock));
    }

    const handler: RequestHandler = async (request, reply) => {
      try {
        return await serve(request, reply);
      } catch (error) {
        if (error instanceof ReplyTooLarge) return refuse(log, request, screenReplyTooLarge(error));
        if (error instanceof UpstreamError) return refuse(log, request, upstreamRefusal(error));
        throw error;
      }
    };
    return handler;
  };
}

interface Route {
  method: "GET" | "POST";
  what: What;
}

function routeOf({ service, method, path }: IncomingRequest, sessionId: string): Route | Refusal {
  const prefix = `/${sessionId}/`;
  if (service !== "screen" || !path.startsWith(prefix)) return serviceUnknown;
  const what = path.slice(prefix.length);
  if (what !== "screenshot" && what !== "clipboard")
    return { status: 404, code: "route-unknown", detail: "The screen service has no such path." };
  if (method === "GET" || (method === "POST" && what === "clipboard")) return { method, what };
  return {
    status: 405,
    code: "method-not-allowed",
    detail: "The screen service does not take this method.",
  };
}

const gaveUp: Refusal = { status: 499, code: "cancelled", detail: "The caller gave up." };
const queueFull: Refusal = {
  status: 503,
  code: "queue-full",
  detail: "Too many look at this screen already.",
};
const tooLarge: Refusal = {
  status: 413,
  code: "body-too-large",
  detail: `The body has more than ${WOLF_BODY_BYTES_MAX} bytes.`,
};
const notClipboard: Refusal = { status: 400, code: "body-invalid", detail: "The body is no clipboard." };

/** Our clipboard in the words of Helix. */
async function clipboardIn({ body }: IncomingRequest): Promise<string | Refusal> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > WOLF_BODY_BYTES_MAX) return tooLarge;
    chunks.push(chunk);
  }
  const text = textOf(jsonOf(Buffer.concat(chunks)), "text");
  return text === undefined ? notClipboard : JSON.stringify({ type: "text", data: text });
}

/** Its clipboard in ours. What is no text is none for us, and an empty one may come without any JSON. */
function clipboardOut({ contentType = "", body }: WholeAnswer): string | undefined {
  const isPlain = contentType.toLowerCase().startsWith("text/plain");
  if (body.length === 0 || isPlain) return JSON.stringify({ text: body.toString("utf8") });
  const json = jsonOf(body);
  const type = textOf(json, "type");
  const data = textOf(json, "data");
  if (type === undefined || data === undefined) return undefined;
  return JSON.stringify({ text: type === "text" ? data : "" });
}

function answerOf({ method, what }: Route, answer: WholeAnswer): OutgoingResponse {
  const { status, contentType, body } = answer;
  const headers: [string, string][] = contentType === undefined ? [] : [["content-type", contentType]];
  if (what === "screenshot") return { status, headers, body };
  // Of a clipboard only what we know how to read goes on.
  if (method === "POST" || status !== 200) return { status };
  const text = clipboardOut(answer);
  if (text === undefined)
    throw new UpstreamError("upstream-reply-broken", "the clipboard is none", { status });
  return { status, headers: [["content-type", "application/json"]], body: Buffer.from(text) };
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

function textOf(json: unknown, name: string): string | undefined {
  if (typeof json !== "object" || json === null || !Object.hasOwn(json, name)) return undefined;
  const value = (json as Record<string, unknown>)[name];
  return typeof value === "string" ? value : undefined;
}
