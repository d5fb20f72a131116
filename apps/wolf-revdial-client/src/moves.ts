/** A control plane that is about to end, or has more tunnels than its share, asks for another tunnel in place of the one it has, which serves until the new one does. */
import { AGENT_SERVICE, MOVE_PATH, MoveRequest } from "@wolfpack/api-contract";
import type { IncomingRequest, OutgoingResponse, RequestHandler } from "revdial";

const BODY_BYTES_MAX = 1024;

/** `onMove` hears of each wish, with the milliseconds after which it is to be met; everything else is the handler's. */
export function movable(handler: RequestHandler, onMove: (afterMs: number) => void): RequestHandler {
  return (request, reply) =>
    request.service === AGENT_SERVICE && request.path === MOVE_PATH
      ? move(request, onMove)
      : handler(request, reply);
}

async function move(request: IncomingRequest, onMove: (afterMs: number) => void): Promise<OutgoingResponse> {
  if (request.method !== "POST") return problem(405, "method-not-allowed", "A move is asked for with POST.");
  const wish = MoveRequest.safeParse(await readJson(request));
  if (!wish.success) return problem(400, "invalid-request", "The body has to be {after_ms}.");
  onMove(wish.data.after_ms);
  return { status: 202 };
}

/** Undefined: too long, or no JSON. */
async function readJson({ body }: IncomingRequest): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return undefined;
  }
}

function problem(status: number, code: string, detail: string): OutgoingResponse {
  const body = { type: `/problems/${code}`, title: "Refused by the agent", status, detail, code };
  return {
    status,
    headers: [["content-type", "application/problem+json"]],
    body: Buffer.from(JSON.stringify(body)),
  };
}
