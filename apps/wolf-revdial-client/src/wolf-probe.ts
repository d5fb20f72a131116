/**
 * One look at Wolf, which tells answering, slow, stuck and gone apart. A Wolf whose threads all wait still takes connections
 * (a lobby that does not come up holds one for 20 s): short silence is load, longer silence does not end by itself.
 */
import type { AgentHeartbeat } from "@wolfpack/api-contract";
import type { Clock } from "./clock.ts";
import type { Target } from "./target.ts";
import { askUpstream, UpstreamError, type UpstreamReply } from "./upstream.ts";

export interface ProbeOptions {
  wolf: Target;
  clock: Clock;
  signal: AbortSignal;
  /** This Wolf is known to have no list of lobbies, so that its 404 is an answer. */
  noLobbies: boolean;
  /** Called when there is no answer after `SLOW_MS`; it is still waited for. */
  onSlow: (found: AgentHeartbeat) => void;
}

export type Probed = AgentHeartbeat & {
  /** The list of lobbies. */
  reply?: Buffer;
};

export const SLOW_MS = 3000;
/** Above the 20 s for which Wolf itself waits. */
export const STUCK_MS = 25_000;
const REPLY_BYTES_MAX = 4 * 1024 * 1024;
const DETAIL_CHARACTERS_MAX = 200;

/** Never rejects. The connection is gone when it resolves. */
export async function probeWolf(options: ProbeOptions): Promise<Probed> {
  const { clock, onSlow } = options;
  const begunAt = clock.now();
  const timer = clock.setTimer(SLOW_MS, () =>
    onSlow({ wolf: "slow", detail: `no answer within ${SLOW_MS / 1000} s` }),
  );
  try {
    const found = await askTwice(options);
    const ms = clock.now() - begunAt;
    if (found.wolf !== "ok" || ms < SLOW_MS) return found;
    return { ...found, wolf: "slow", detail: `answered after ${Math.round(ms / 1000)} s` };
  } catch (error) {
    if (!(error instanceof UpstreamError)) return { wolf: "unreachable", detail: "unknown" };
    if (error.code === "upstream-timeout")
      return { wolf: "stuck", detail: `no answer within ${STUCK_MS / 1000} s` };
    return {
      wolf: "unreachable",
      detail: `${error.code}: ${error.message}`.slice(0, DETAIL_CHARACTERS_MAX),
    };
  } finally {
    timer.cancel();
  }
}

/**
 * Wolf breaks three of four replies above 64 KiB. A broken one is asked for again, for the list; the beginning of a 200 shows
 * already that Wolf answers.
 */
async function askTwice(options: ProbeOptions): Promise<Probed> {
  const { wolf, clock, signal } = options;
  const begunAt = clock.now();
  const ask = () =>
    askUpstream({
      target: wolf,
      method: "GET",
      path: "/api/v1/lobbies",
      timeoutMs: begunAt + STUCK_MS - clock.now(),
      replyBytesMax: REPLY_BYTES_MAX,
      signal,
      clock,
    });
  try {
    return outcome(await ask(), options);
  } catch (error) {
    if (!isBroken(error)) throw error;
    // Late as it is, it would be asked with too little time left.
    if (isAnswer(error) && clock.now() - begunAt >= SLOW_MS) return { wolf: "ok" };
  }
  try {
    return outcome(await ask(), options);
  } catch (error) {
    if (isAnswer(error)) return { wolf: "ok" };
    throw error;
  }
}

const isBroken = (error: unknown): error is UpstreamError =>
  error instanceof UpstreamError && error.code === "upstream-reply-broken";
/** A 200 whose body began to come. */
export const isAnswer = (error: unknown): boolean => isBroken(error) && error.status === 200;

function outcome({ status, body }: UpstreamReply, { noLobbies }: ProbeOptions): Probed {
  if (status === 200) return { wolf: "ok", reply: body };
  if (status === 404 && noLobbies) return { wolf: "ok" };
  // Something else may listen there, or Wolf is out of order: neither can take a lobby.
  return { wolf: "unreachable", detail: `the list of lobbies is answered with status ${status}` };
}
