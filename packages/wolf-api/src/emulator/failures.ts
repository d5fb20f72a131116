/** Failures on demand: which can be played where, and which one is next. What they do is told where they are played. */

export type FailureMode = "500" | "no-reply" | "half-body" | "die" | "stall" | "container-exits";

export interface FailureRule {
  /** "POST /api/v1/lobbies/create" or any other route; or "container-start", the moment a lobby's runner starts. */
  on: string;
  /**
   * At a route: `500` refuses before anything is done. `no-reply` and `half-body` do it, then lose the answer. `die` ends
   * the process. `stall` answers 500 after `stallMs`; a lobby is listed meanwhile for a quarter of it, as when Wolf's compositor hangs.
   *
   * At "container-start": `container-exits` means that Docker refuses or the container ends before it was seen to run, so
   * the lobby vanishes after its 200. `stall`: it never starts. `die`: as above.
   */
  mode: FailureMode;
  /** How many times, at least 1. Default: always. */
  times?: number;
}

/** A rule that could never be played. */
export class FailureRuleError extends Error {
  override readonly name = "FailureRuleError";
}

export const CONTAINER_START = "container-start";
const modesOfRoutes: readonly FailureMode[] = ["500", "no-reply", "half-body", "die", "stall"];
const modesOfContainerStart: readonly FailureMode[] = ["die", "stall", "container-exits"];
export const failureModes: readonly FailureMode[] = [...modesOfRoutes, "container-exits"];

export class Failures {
  private readonly rules: Required<FailureRule>[] = [];
  private readonly isRoute: (on: string) => boolean;

  constructor(isRoute: (on: string) => boolean) {
    this.isRoute = isRoute;
  }

  /** Rules for one place are played in the order they came. Throws FailureRuleError for one that makes no sense. */
  add({ on, mode, times = Number.POSITIVE_INFINITY }: FailureRule): void {
    if (on !== CONTAINER_START && !this.isRoute(on))
      throw new FailureRuleError(
        `"${on}" is neither "${CONTAINER_START}" nor a route such as "GET /api/v1/lobbies".`,
      );
    const modes = on === CONTAINER_START ? modesOfContainerStart : modesOfRoutes;
    if (!modes.includes(mode))
      throw new FailureRuleError(`"${mode}" cannot happen on "${on}", only ${modes.join(", ")}.`);
    if (!(times >= 1))
      throw new FailureRuleError(`A failure has to happen at least once, not ${times} times.`);
    this.rules.push({ on, mode, times });
  }

  /** The failure to play at this place now, if any; used up when its times are. */
  take(on: string): FailureMode | undefined {
    const rule = this.rules.find((candidate) => candidate.on === on && candidate.times > 0);
    if (rule === undefined) return undefined;
    rule.times -= 1;
    return rule.mode;
  }
}
