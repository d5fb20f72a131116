/** The doctor's own numbered checks: does this machine reach the control plane, with a key, a clock and a version that fit. docs/operations/wolfctl.md repeats the table, a test compares. */
import { Problem } from "@wolfpack/api-contract";
import { z } from "zod";
import { readKeyFile } from "../config/key-file.ts";
import type { Connection } from "../connection.ts";
import { createSseParser } from "../events/sse.ts";
import { networkReason } from "../failure.ts";

export type Status = "ok" | "warning" | "failed" | "skipped";
export interface Finding {
  id: string;
  title: string;
  status: Status;
  detail: string;
  advice: string | null;
  ms: number;
}

export const wolfctlChecks = {
  W01: {
    title: "Settings",
    advice:
      "Make a profile: wolfctl config set NAME --url https://…; wolfctl config show tells what is used.",
  },
  W02: {
    title: "Key file",
    advice: "Write the key anew with wolfctl config set-key, and see that only you can read its file.",
  },
  W03: {
    title: "Control plane",
    advice: "Check the address, the network, a proxy on the way and, for https, its certificate.",
  },
  W04: {
    title: "Ready",
    advice: "Look at the control plane's log: it shuts down, or its database does not answer.",
  },
  W05: { title: "Clock", advice: "Synchronise this machine by NTP; if it is right, the control plane's." },
  W06: { title: "Versions", advice: "Take wolfctl from the release that the control plane is of." },
  W07: {
    title: "Key",
    advice: "Ask an admin for a new key (wolfctl keys create) and give it to wolfctl config set-key.",
  },
  W08: {
    title: "Event stream",
    advice:
      "Let the proxy on the way pass text/event-stream without buffering; until then events are polled.",
  },
} as const;
export type CheckId = keyof typeof wolfctlChecks;

export type Verdict = { status: Status; detail: string };
export const ok = (detail: string): Verdict => ({ status: "ok", detail });
export const failed = (detail: string): Verdict => ({ status: "failed", detail });
export const warning = (detail: string): Verdict => ({ status: "warning", detail });

const SKEW_WARNING_MS = 30_000;
const SKEW_FAILED_MS = 5 * 60_000;

export function readKeyCheck(file: string | null): Verdict {
  if (file === null) return failed("no key file is named");
  readKeyFile(file);
  return ok(`${file} holds a key and is closed to others`);
}

/** By the `Date` of an answer, which has whole seconds. */
export function clockCheck(dateHeader: string | null, nowMs: number): Verdict {
  const theirs = Date.parse(dateHeader ?? "");
  if (Number.isNaN(theirs)) return { status: "skipped", detail: "the answer has no date" };
  const skewMs = Math.abs(nowMs - theirs - 500);
  const words = `${(skewMs / 1000).toFixed(skewMs < 10_000 ? 1 : 0)} s apart`;
  if (skewMs >= SKEW_FAILED_MS) return failed(words);
  return skewMs >= SKEW_WARNING_MS ? warning(words) : ok(skewMs < 2000 ? "less than 2 s apart" : words);
}

export function versionCheck(ours: string, theirs: string): Verdict {
  const words = `wolfctl ${ours}, control plane ${theirs}`;
  const [a, b] = [ours, theirs].map((version) => version.split(".").map(Number));
  if (a === undefined || b === undefined || a[0] !== b[0]) return failed(words);
  return a[1] === b[1] ? ok(words) : warning(words);
}

const Liveness = z.looseObject({ status: z.literal("ok"), version: z.string() });

export async function reach(
  connection: Connection,
  signal: AbortSignal,
): Promise<{ date: string | null; version: string }> {
  let reply: Response;
  try {
    reply = await connection.request("/healthz", { signal });
  } catch (error) {
    throw new Error(signal.aborted ? "no answer in time" : networkReason(error), { cause: error });
  }
  const liveness = Liveness.safeParse(await reply.json().catch(() => undefined));
  if (!liveness.success)
    throw new Error(`what answers with ${reply.status} there is no control plane of Wolfpack`);
  return { date: reply.headers.get("date"), version: liveness.data.version };
}

export async function readiness(connection: Connection, signal: AbortSignal): Promise<Verdict> {
  const reply = await connection.request("/readyz", { signal });
  if (reply.ok) {
    await reply.body?.cancel();
    return ok("its database answers");
  }
  const problem = Problem.safeParse(await reply.json().catch(() => undefined));
  return failed(problem.success ? problem.data.detail : `answered with ${reply.status}`);
}

/** The first words of the stream come at once, unless somebody on the way keeps them back. */
export async function streamCheck(connection: Connection, signal: AbortSignal): Promise<Verdict> {
  const reply = await connection.request("/api/v1/events", {
    signal,
    headers: { accept: "text/event-stream" },
  });
  if (!(reply.headers.get("content-type") ?? "").startsWith("text/event-stream") || reply.body === null) {
    await reply.body?.cancel();
    return reply.ok
      ? warning("this control plane answers with pages: events are polled")
      : warning(`answered with ${reply.status}: events are polled`);
  }
  const parser = createSseParser();
  const decoder = new TextDecoder();
  for await (const chunk of reply.body as unknown as AsyncIterable<Uint8Array>)
    for (const { event } of parser.push(decoder.decode(chunk, { stream: true })))
      return ok(event === "hello" ? "its first words arrived at once" : "events arrive");
  return warning("it ended before it said anything");
}
