/** What the guard of a wolf lets through, asked of whoever has the guard. What a host answers is data to check. */
import { AGENT_SERVICE, GuardPolicy, POLICY_PATH, type WolfPolicyView } from "@wolfpack/api-contract";
import { refusedHeader } from "@wolfpack/wolf-api";
import { RevdialError, type RevdialErrorCode, tunnelFetch } from "revdial";
import { ApiError } from "../http/problem.ts";
import type { TunnelLink } from "./helix/grace.ts";

type Answer = Pick<WolfPolicyView, "policy" | "unknown_because">;

const TIMEOUT_MS = 5000;
/** Above what a policy of 64 folders of 1,024 characters takes. */
const ANSWER_BYTES_MAX = 256 * 1024;

const tooOld: Answer = { policy: null, unknown_because: "agent-too-old" };
const broken: Answer = { policy: null, unknown_because: "answer-broken" };

/** Codes of an agent that is there and has no answer. */
const noAnswer = new Set<RevdialErrorCode>(["HANDLER_FAILED", "CHANNEL_RESET"]);

/** Errors: wolf-timeout, wolf-unreachable. */
export async function askGuardPolicy(
  link: TunnelLink,
  { timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {},
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const reply = await tunnelFetch(link, AGENT_SERVICE)(POLICY_PATH, { deadlineMs: timeoutMs, signal });
    if (reply.status === 404 && reply.headers.get(refusedHeader) === "service-unknown") {
      await reply.body?.cancel();
      return tooOld;
    }
    const text = await bounded(reply);
    const policy = text === undefined ? undefined : GuardPolicy.safeParse(parseJson(text)).data;
    return reply.status === 200 && policy !== undefined ? { policy, unknown_because: null } : broken;
  } catch (cause) {
    const code = cause instanceof RevdialError ? cause.code : undefined;
    if (code === "SERVICE_UNKNOWN") return tooOld;
    if (code === "DEADLINE" || signal.aborted)
      throw new ApiError("wolf-timeout", "The wolf's agent did not answer in time.", { cause });
    if (code !== undefined && noAnswer.has(code)) return broken;
    throw new ApiError("wolf-unreachable", "The wolf cannot be reached now.", { cause });
  }
}

/** Undefined where it is too long. */
async function bounded(reply: Response): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
