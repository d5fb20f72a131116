/** At which step of a session's life something is killed: the steps as they are seen from outside, and the plan of a seed. */
import { type GateStep, gateSteps } from "./wolf-gate.ts";

/** What the control plane logs of a session, and the step that it is. */
const logged = {
  "session placed": "placed",
  "session runs": "runs",
  "stop requested": "stop accepted",
  "session ended": "ended",
} as const;
type LoggedStep = (typeof logged)[keyof typeof logged];

const ownSteps = ["create sent", "create replied", "stop sent", "stop replied"] as const;

export type Step = GateStep | LoggedStep | (typeof ownSteps)[number];
export const steps: readonly Step[] = [...gateSteps, ...Object.values(logged), ...ownSteps];

/** Undefined for lines that tell of no step. */
export function stepOf(line: string): { step: Step; sessionId: string } | undefined {
  const [, message = ""] = /"msg":"([^"]*)"/.exec(line) ?? [];
  const [, sessionId] = /"session_id":"(ses_[^"]+)"/.exec(line) ?? [];
  if (sessionId === undefined || !Object.hasOwn(logged, message)) return undefined;
  return { step: logged[message as keyof typeof logged], sessionId };
}

export interface Kill {
  step: Step;
  /** The how manyeth of that step since the kill was planned. */
  nth: number;
  /** Turns of our event loop that pass meanwhile. */
  turns: number;
}

const NTH_MAX = 6;
const TURNS_MAX = 4;

/** Each of the steps once, in an order of the dice. */
export function killPlan(at: readonly Step[], random: () => number): Kill[] {
  const below = (max: number) => Math.floor(random() * max);
  return at
    .map((step) => ({ step, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ step }) => ({ step, nth: 1 + below(NTH_MAX), turns: below(TURNS_MAX) }));
}

/** The step that each session has come to, and one kill at a time that waits for its step. */
export class Journal {
  private readonly reached = new Map<string, Step>();
  private armed: (Kill & { strike: () => void }) | undefined;

  /** Calls `strike` once, at the kill's moment. */
  arm(kill: Kill, strike: () => void): void {
    this.armed = { ...kill, strike };
  }

  disarm(): void {
    this.armed = undefined;
  }

  /** `subject`: a session, or the key of a request whose session nobody knows yet. */
  write(step: Step, subject: string | undefined): void {
    if (subject !== undefined) this.reached.set(subject, step);
    const { armed } = this;
    if (armed?.step !== step) return;
    armed.nth -= 1;
    if (armed.nth > 0) return;
    this.armed = undefined;
    const turn = (left: number) => {
      if (left === 0) armed.strike();
      else setImmediate(turn, left - 1);
    };
    turn(armed.turns);
  }

  /** As of now. */
  copy(): ReadonlyMap<string, Step> {
    return new Map(this.reached);
  }
}
