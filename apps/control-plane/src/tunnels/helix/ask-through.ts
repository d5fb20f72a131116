/**
 * One HTTP exchange with what is behind a legacy agent, whole and bounded: the agent passes on bytes, so that what an agent of ours
 * checks on its host is checked here.
 */
import { ReplyTooLarge, UpstreamError, type UpstreamErrorCode } from "@wolfpack/wolf-api";
import {
  type HeaderList,
  type IncomingRequest,
  type Reply,
  type RequestHandler,
  RevdialError,
} from "revdial";
import type { Clock } from "../../clock.ts";
import { WholeBody } from "../whole-body.ts";

export interface Question {
  method: "GET" | "POST";
  path: string;
  /** JSON; sent with its exact length. */
  body?: string | undefined;
  timeoutMs: number;
  replyBytesMax: number;
  signal?: AbortSignal | undefined;
}

export interface WholeAnswer {
  status: number;
  contentType: string | undefined;
  body: Buffer;
}

/** `handler`: of `forwardTo`. Rejects with an UpstreamError. */
export function askThrough(handler: RequestHandler, question: Question, clock: Clock): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    const { timeoutMs, signal } = question;
    const settle = (done: () => void) => {
      timer.cancel();
      signal?.removeEventListener("abort", cancel);
      done();
    };
    const reply = new WholeReply(question.replyBytesMax, {
      whole: (answer) => settle(() => resolve(answer)),
      failed: (error) => settle(() => reject(error)),
    });
    const cancel = () => reply.fail("cancelled", "the caller gave up");
    const timer = clock.setTimer(timeoutMs, () =>
      reply.fail("upstream-timeout", `no complete reply within ${timeoutMs} ms`),
    );
    if (signal?.aborted) return cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    run(handler, question, reply);
  });
}

/** Also what a handler throws at once is its exchange's. */
async function run(handler: RequestHandler, question: Question, reply: WholeReply): Promise<void> {
  try {
    await handler(asIncoming(question), reply);
    if (!reply.over)
      reply.fail("upstream-reply-broken", "the connection ended before the reply was complete");
  } catch (error) {
    const [code, message] = failureOf(error, question, reply);
    reply.fail(code, message, error);
  }
}

/**
 * A legacy agent connects to its target only once the connection is picked up, and closes it when it cannot: a GET that was
 * answered with nothing at all reached nobody. Of a POST that is not certain enough.
 */
function failureOf(error: unknown, { method }: Question, reply: WholeReply): [UpstreamErrorCode, string] {
  if (error instanceof RevdialError && error.code === "REFUSED")
    return ["upstream-unreachable", "its agent opens no connection"];
  const said = (error as { code?: unknown } | undefined)?.code;
  const spoke = reply.began || said === "ANSWER_MALFORMED" || said === "ANSWER_TOO_LARGE";
  if (method === "GET" && !spoke)
    return ["upstream-unreachable", "its agent closes the connection without an answer"];
  return ["upstream-reply-broken", "the connection ended before the reply was complete"];
}

function asIncoming({ method, path, body }: Question): IncomingRequest {
  const bytes = body === undefined ? undefined : Buffer.from(body, "utf8");
  const headers: [string, string][] =
    bytes === undefined
      ? []
      : [
          ["content-type", "application/json"],
          ["content-length", String(bytes.length)],
        ];
  return {
    service: "wolf",
    method,
    path,
    headers,
    hasBody: bytes !== undefined && bytes.length > 0,
    body: chunks(bytes),
    trailers: Promise.resolve([]),
    // Whoever gives up says so through the reply.
    signal: never,
  };
}

const never = new AbortController().signal;

async function* chunks(bytes: Buffer | undefined): AsyncIterable<Uint8Array> {
  if (bytes !== undefined && bytes.length > 0) yield bytes;
}

interface Outcome {
  whole(answer: WholeAnswer): void;
  failed(error: UpstreamError): void;
}

/** Collects an answer. The first outcome counts; whoever still speaks is told that it is over. */
class WholeReply implements Reply {
  over = false;
  private readonly bytesMax: number;
  private readonly outcome: Outcome;
  private status: number | undefined;
  private contentType: string | undefined;
  private readonly body: WholeBody;
  private closeListener: ((error: RevdialError | undefined) => void) | undefined;

  constructor(bytesMax: number, outcome: Outcome) {
    this.bytesMax = bytesMax;
    this.body = new WholeBody(bytesMax);
    this.outcome = outcome;
  }

  /** A head has come. */
  get began(): boolean {
    return this.status !== undefined;
  }

  fail(code: UpstreamErrorCode, message: string, cause?: unknown): void {
    if (this.over) return;
    this.failed(new UpstreamError(code, message, { cause, status: this.spokenStatus }));
  }

  /** Of a reply whose body had begun: whoever sent it lives. */
  private get spokenStatus(): number | undefined {
    return this.body.size > 0 ? this.status : undefined;
  }

  private failed(error: UpstreamError): void {
    this.over = true;
    this.outcome.failed(error);
    this.closeListener?.(new RevdialError("CANCELLED", error.message, { sent: "may-have-run" }));
  }

  interim(): void {
    // Hints are for browsers.
  }

  head(status: number, headers: HeaderList = []): void {
    if (this.over) return;
    const fieldOf = (wanted: string) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
    this.status = status;
    this.contentType = fieldOf("content-type");
    if (!/^[\x20-\x7e]{0,255}$/.test(this.contentType ?? ""))
      this.fail("upstream-reply-broken", "a content type that no reply has");
    else if (Number(fieldOf("content-length") ?? 0) > this.bytesMax) this.tooLarge();
  }

  write(bytes: Uint8Array): boolean {
    if (this.over || this.body.add(bytes)) return true;
    if (this.body.size > this.bytesMax) this.tooLarge();
    else this.fail("upstream-reply-broken", "a reply in too many pieces");
    return true;
  }

  end(bytes?: Uint8Array): void {
    if (bytes !== undefined) this.write(bytes);
    if (this.over) return;
    this.over = true;
    const { status = 0, contentType, body } = this;
    this.outcome.whole({ status, contentType, body: body.bytes() });
    this.closeListener?.(undefined);
  }

  accept(): never {
    throw new RevdialError("ARGUMENT", "nobody asked for a byte stream");
  }

  onDrain(): void {
    // There is always room, up to the limit.
  }

  onClose(listener: (error: RevdialError | undefined) => void): void {
    if (this.over) listener(undefined);
    else this.closeListener = listener;
  }

  private tooLarge(): void {
    this.failed(new ReplyTooLarge(this.bytesMax, this.spokenStatus));
  }
}
