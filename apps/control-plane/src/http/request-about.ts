/** What becomes known of a request on its way, for its line of the log and its numbers: closed words only, nothing that a caller wrote. */
import type { OperationId, ProblemCode } from "@wolfpack/api-contract";
import type { Response } from "express";
import type { Principal } from "../identity/principal.ts";

export interface RequestAbout {
  operation?: OperationId;
  /** Of the problem that it was answered with. */
  code?: ProblemCode;
  /** Of a caller's own mistake: a sentence of ours. */
  detail?: string;
  principal?: Principal;
  traceId?: string;
  /** The replica that it was passed on to. */
  replica?: string;
}

/** One of each answer, to be written to. */
export function aboutOf(response: Response): RequestAbout {
  const locals = response.locals as { about?: RequestAbout };
  locals.about ??= {};
  return locals.about;
}
