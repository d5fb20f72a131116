/** Under which key a wish is sent, and sent again: it makes one session, however often its answer is lost. */
import type { ApiFailure } from "../../api/failure.ts";

type Failed = Pick<ApiFailure, "code" | "status">;

/** No answer of the control plane's: nothing at all, half of one, or a page of a proxy, whatever its status. */
const unanswered = new Set(["network-failed", "unexpected-reply"]);

/**
 * Whether a session may have been made all the same. A refusal with a status of 4xx comes before anything is made; but for the
 * answer that the first request is still being served. What failed within the control plane may have failed after it was made.
 */
export function isInDoubt({ code, status }: Failed): boolean {
  return unanswered.has(code) || code === "idempotency-key-in-use" || !(status >= 400 && status < 500);
}

export interface Attempts {
  /** The same for the same wish as long as its outcome is in doubt. */
  keyOf(wish: string): string;
  failed(failure: Failed): void;
}

export function createAttempts(newKey: () => string): Attempts {
  let asked: { wish: string; key: string } | undefined;
  return {
    keyOf(wish) {
      if (asked?.wish !== wish) asked = { wish, key: newKey() };
      return asked.key;
    },
    failed(failure) {
      if (!isInDoubt(failure)) asked = undefined;
    },
  };
}
