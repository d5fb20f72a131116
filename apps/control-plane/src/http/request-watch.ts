/** Every request of Express with somebody beside it who counts and traces. */
import type { IncomingMessage } from "node:http";
import type { OperationId, ProblemCode } from "@wolfpack/api-contract";
import type { RequestHandler, Response } from "express";
import { aboutOf } from "./request-about.ts";

export interface RequestEnd {
  operation: OperationId | undefined;
  status: number;
  code: ProblemCode | undefined;
  /** The answer is a stream or a tunnel, which lasts as long as its reader wants. */
  isStream: boolean;
}

export interface RequestWatch {
  /** Its head has come. Gives what is told of its end, once, and the way to call what serves it. */
  began(request: { method: string; path: string; traceparent: string | undefined }): {
    traceId: string | undefined;
    within: (run: () => void) => void;
    ended: (end: RequestEnd) => void;
  };
  /** It never came to Express. */
  unread(refusal: { status: number; code: ProblemCode }): void;
}

export function requestWatch(watch: RequestWatch): RequestHandler {
  return (request, response, next) => {
    const { method, path } = request;
    const began = watch.began({ method, path, traceparent: traceparentOf(request) });
    const about = aboutOf(response);
    if (began.traceId !== undefined) about.traceId = began.traceId;
    response.once("close", () =>
      began.ended({
        operation: about.operation,
        status: response.statusCode,
        code: about.code,
        isStream: isStream(response),
      }),
    );
    began.within(next);
  };
}

function traceparentOf({ headers }: IncomingMessage): string | undefined {
  const { traceparent } = headers;
  return typeof traceparent === "string" ? traceparent : undefined;
}

const streams = /^(text\/event-stream|application\/x-ndjson|application\/vnd\.revdial)/;
const isStream = (response: Response) => streams.test(String(response.getHeader("content-type") ?? ""));
