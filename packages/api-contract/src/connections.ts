/** An agent with several tunnels at once (`--connections`): what it says of each, and what it hears of who holds them. */
import { z } from "zod";

/** Of one agent. */
export const CONNECTIONS_MAX = 8;
/**
 * Query of a tunnel that is not its agent's first: `connection=1` to `connections - 1`, of `connections=2` to 8. The first is opened
 * without, as ever: a control plane that does not know of others refuses the parameters, and is not asked again.
 */
export const CONNECTION_PARAMETER = "connection";
export const CONNECTIONS_PARAMETER = "connections";

/** In answers that open a tunnel: which replica holds it, of how many; `rep_01KB…;of=3`. Absent: others are not taken. */
export const HELD_BY_FIELD = "wolfpack-held-by";

export interface HeldBy {
  replica: string;
  of: number;
}

const Of = z.coerce.number().int().min(1).max(100_000);

export function heldByText({ replica, of }: HeldBy): string {
  return `${replica};of=${of}`;
}

/** Undefined: it is none. */
export function readHeldBy(text: unknown): HeldBy | undefined {
  const [, replica, of] =
    /^([A-Za-z0-9_]{1,64});of=(\d{1,6})$/.exec(typeof text === "string" ? text : "") ?? [];
  const count = Of.safeParse(of);
  return replica === undefined || !count.success ? undefined : { replica, of: count.data };
}
