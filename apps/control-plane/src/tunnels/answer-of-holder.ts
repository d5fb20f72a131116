/** What the replica that holds a wolf's tunnel answers to a caller of ours. It is data to check: it may be of another version. */
import { Problem } from "@wolfpack/api-contract";
import { RevdialError } from "revdial";
import type { z } from "zod";
import type { AnyCall } from "../http/call.ts";
import { ApiError } from "../http/problem.ts";
import { aboutOf } from "../http/request-about.ts";
import type { Calls } from "../replicas/calls.ts";
import { WholeBody } from "./whole-body.ts";

/** Above what the figures of six hours, or a policy, take. */
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Undefined: no other replica holds it. Errors: what that one refused with, and wolf-unreachable. */
export async function answerOfHolder<Body>(
  calls: Pick<Calls, "askHolder">,
  wolfId: string,
  { request, response }: Pick<AnyCall, "request" | "response">,
  schema: z.ZodType<unknown, Body>,
): Promise<Body | undefined> {
  const answer = await calls.askHolder(wolfId, request).catch((cause: unknown) => {
    throw cause instanceof RevdialError ? unreachable("does not answer", cause) : cause;
  });
  if (answer === undefined) return undefined;
  aboutOf(response).replica = answer.owner.id;
  const { status, body } = answer.reply;
  try {
    const whole = new WholeBody(ANSWER_BYTES_MAX);
    for await (const piece of body) if (!whole.add(piece)) throw new Error("the answer is too long");
    const said: unknown = JSON.parse(whole.bytes().toString());
    if (status === 200) return schema.parse(said) as Body;
    const { code, detail } = Problem.parse(said);
    throw new ApiError(code, detail);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw unreachable(cause instanceof RevdialError ? "does not answer" : "answered something else", cause);
  }
}

const unreachable = (what: string, cause: unknown) =>
  new ApiError("wolf-unreachable", `The replica that holds the wolf's tunnel ${what}.`, { cause });
