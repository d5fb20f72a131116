/** Screenshot and clipboard of a sandbox, through its own tunnel or its wolf's. What a host answers is data to check, never a page to pass on. */
import { ClipboardContent } from "@wolfpack/api-contract";
import { refusedHeader, screenReplyTooLarge } from "@wolfpack/wolf-api";
import { tunnelFetch } from "revdial";
import { ApiError } from "../http/problem.ts";
import type { Links } from "../tunnels/tunnels.ts";
import { WholeBody } from "../tunnels/whole-body.ts";
import { screenProblem } from "./lobbies.ts";
import type { Session } from "./session-store.ts";

export interface Image {
  type: "image/png" | "image/jpeg";
  bytes: Uint8Array;
}

export interface Screen {
  screenshot(session: Session): Promise<Image>;
  readClipboard(session: Session): Promise<ClipboardContent>;
  writeClipboard(session: Session, content: ClipboardContent): Promise<void>;
}

/** The agent gives a screen service 10 s; its word on one that does not answer has to arrive first. */
const TIMEOUT_MS = 15_000;
const IMAGE_BYTES_MAX = 20 * 1024 * 1024;
const JSON_BYTES_MAX = 256 * 1024;
const signatures: readonly { type: Image["type"]; bytes: readonly number[] }[] = [
  { type: "image/png", bytes: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] },
  { type: "image/jpeg", bytes: [0xff, 0xd8, 0xff] },
];

const screenFailed = (detail: string, cause?: unknown) =>
  new ApiError("screen-failed", detail, cause === undefined ? {} : { cause });
const tooLarge = (bytesMax: number) => screenFailed(screenReplyTooLarge({ bytesMax }).detail);

export function createScreen(links: Links, timeoutMs = TIMEOUT_MS): Screen {
  /** The bytes of a 200. Nothing of the user's request but this method, path and body goes down. */
  async function ask(
    session: Session,
    method: "GET" | "POST",
    what: "screenshot" | "clipboard",
    bytesMax: number,
    body?: string,
  ): Promise<Uint8Array> {
    if (session.status !== "running")
      throw new ApiError("session-not-running", `The session is ${session.status}.`);
    const link =
      (await links.sandbox(session.id)) ?? (session.wolfId === null ? undefined : links.wolf(session.wolfId));
    if (link === undefined)
      throw new ApiError("wolf-unreachable", "The session's wolf cannot be reached now.");
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const reply = await tunnelFetch(link, "screen")(`/${session.id}/${what}`, {
        method,
        deadlineMs: timeoutMs,
        signal,
        ...(body === undefined ? {} : { body, headers: { "content-type": "application/json" } }),
      });
      const bytes = await bounded(reply, bytesMax);
      if (reply.status !== 200 && reply.status !== 204) {
        const refusal = reply.headers.get(refusedHeader);
        if (refusal === "upstream-timeout")
          throw new ApiError("wolf-timeout", "The sandbox did not answer in time.");
        if (refusal === "queue-full")
          throw new ApiError("screen-busy", "Too many look at the screens of this host already.");
        // In our words, with our limit, which is the agent's.
        if (refusal === "reply-too-large") throw tooLarge(bytesMax);
        if (refusal === "service-unknown")
          throw screenFailed("The agent of the session's wolf serves no screens (--service screen=…).");
        throw screenFailed(`The sandbox's screen service answered with status ${reply.status}.`);
      }
      return bytes;
    } catch (error) {
      // The deadline in the request and this signal are due at once; which of them ends it is chance.
      if (signal.aborted)
        throw new ApiError("wolf-timeout", "The wolf did not answer in time.", { cause: error });
      throw screenProblem(error);
    }
  }

  return {
    async screenshot(session) {
      const bytes = await ask(session, "GET", "screenshot", IMAGE_BYTES_MAX);
      // What it says it is does not count: these bytes will be shown from our origin.
      const kind = signatures.find((signature) => signature.bytes.every((byte, at) => bytes[at] === byte));
      if (kind === undefined)
        throw screenFailed("The screen service sent something that is no PNG or JPEG image.");
      return { type: kind.type, bytes };
    },

    async readClipboard(session) {
      const bytes = await ask(session, "GET", "clipboard", JSON_BYTES_MAX);
      try {
        const { text } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as {
          text?: unknown;
        };
        return ClipboardContent.parse({ text });
      } catch (cause) {
        throw screenFailed("The screen service sent something that is no clipboard.", cause);
      }
    },

    async writeClipboard(session, content) {
      await ask(session, "POST", "clipboard", JSON_BYTES_MAX, JSON.stringify(content));
    },
  };
}

async function bounded(reply: Response, bytesMax: number): Promise<Uint8Array> {
  const whole = new WholeBody(bytesMax);
  for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
    if (whole.add(chunk)) continue;
    throw whole.size > bytesMax
      ? tooLarge(bytesMax)
      : screenFailed("The screen service's answer came in too many pieces.");
  }
  return whole.bytes();
}
