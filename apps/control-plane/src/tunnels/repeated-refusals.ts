/**
 * An agent of Helix that is refused comes again every second to five, for ever. Of each, what it asks for and why it is refused, one
 * event of the audit log in ten minutes says that; the log has every one.
 */
import type { ProblemCode } from "@wolfpack/api-contract";
import type { Clock } from "../clock.ts";
import type { Principal } from "../identity/principal.ts";

export interface Refused {
  /** Undefined: nobody was authenticated. */
  principal: Principal | undefined;
  address: string;
  action: string | undefined;
  object: string | undefined;
  code: ProblemCode;
}

const REPEATED_MS = 600_000;
const KEPT_MAX = 10_000;

export function repeatedRefusals(clock: Clock) {
  /** Milliseconds of the first of those alike, in their order. */
  const saidAt = new Map<string, number>();
  return {
    /** Whether one like it was told of a moment ago; otherwise this is the one. */
    isRepeated({ principal, address, action, object, code }: Refused): boolean {
      const credential = principal !== undefined && "credentialId" in principal ? principal.credentialId : "";
      const key = JSON.stringify([principal?.kind, credential, address, action, object, code]);
      const now = clock.now().getTime();
      const before = saidAt.get(key);
      // The wall clock may step back: then it is told once more.
      if (before !== undefined && now >= before && now - before < REPEATED_MS) return true;
      saidAt.delete(key);
      saidAt.set(key, now);
      if (saidAt.size > KEPT_MAX) saidAt.delete(saidAt.keys().next().value as string);
      return false;
    },
  };
}
