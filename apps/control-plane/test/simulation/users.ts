/**
 * Users and operators: they create with every option there is, repeat themselves, change their minds at any moment, and note
 * whatever they were told, so that it can be held against the rows.
 */
import { CreateSessionRequest, type DisconnectPolicy, DrainRequest } from "@wolfpack/api-contract";
import { ApiError } from "../../src/http/problem.ts";
import type { UserPrincipal } from "../../src/identity/principal.ts";
import type { Session } from "../../src/sessions/session-store.ts";
import { DatabaseGone } from "./database.ts";
import type { Dice } from "./dice.ts";
import { operator, type Plan, usersOf } from "./plan.ts";
import type { Replica } from "./replica.ts";
import type { Rows } from "./rows.ts";
import type { World } from "./world.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** What a request may take besides the time it was asked to wait. */
const ANSWERED_WITHIN_MS = 2 * MINUTE;
const NETWORK_MS = [1, 40] as const;

/** Answers that are no fault of ours. */
const expected = new Set([
  "placement-impossible",
  "no-capacity",
  "queue-full",
  "quota-exceeded",
  "rate-limited",
  "session-start-failed",
  "session-not-found",
  "session-ended",
  "session-not-running",
  "intent-refused",
  "wolf-has-sessions",
  "wolf-not-found",
  "draining",
  "unavailable",
]);

export interface UsersOptions {
  world: World;
  dice: Dice;
  plan: Plan;
  rows: Rows;
  wolfIds: readonly string[];
  regions: readonly string[];
  /** The one that a load balancer would choose. */
  replica: () => Replica | undefined;
}

type Outcome<T> = { answer: T } | { error: unknown } | { reset: true };

export class Users {
  private readonly options: UsersOptions;
  private readonly users: UserPrincipal[];
  /** Sessions that their owners were told of, by what they were told. */
  private readonly told = new Map<string, Session["status"]>();
  private readonly byKey = new Map<string, Set<string>>();
  private readonly waiting = new Map<number, string>();
  private requests = 0;
  private over = false;

  constructor(options: UsersOptions) {
    this.options = options;
    this.users = usersOf(options.plan);
  }

  begin(): void {
    const { dice, plan } = this.options;
    this.every(plan.createEveryMs, () => this.create());
    this.every(plan.createEveryMs * 3, () => this.meddle());
    if (plan.faults.operator !== undefined) this.every(plan.faults.operator, () => this.steer());
    // A fleet that begins with a rush.
    for (let at = dice.int(0, 2 * plan.users); at > 0; at -= 1)
      this.after(dice.between(5, 20) * SECOND, () => this.create());
  }

  /** Nobody asks for anything any more, and operators undo what they did. */
  end(): void {
    this.over = true;
    for (const id of this.options.wolfIds)
      this.ask("uncordon", (replica) => replica.wolves.changeIntent(id, "uncordon", {}));
  }

  /** What was said is still so, or there is a word on why not. */
  checkTold(): void {
    for (const [id, status] of this.told)
      if (this.options.rows.session(id) === undefined)
        this.options.world.violate(
          "told",
          `its owner was told that ${id} is ${status}, and there is no such session`,
        );
  }

  private after(ms: number, run: () => void): void {
    this.options.world.timeline.after(ms, () => {
      if (!this.over) run();
    });
  }

  private every(meanMs: number, run: () => void): void {
    const again = () =>
      this.after(this.options.dice.gapMs(meanMs), () => {
        run();
        again();
      });
    again();
  }

  /** One request to a replica, by way of the network; `done` hears the answer, or that the connection broke. */
  private ask<T>(
    what: string,
    run: (replica: Replica) => Promise<T>,
    done: (outcome: Outcome<T>) => void = () => undefined,
    withinMs = ANSWERED_WITHIN_MS,
  ): void {
    const { world, dice } = this.options;
    this.requests += 1;
    const number = this.requests;
    let settled = false;
    let lookAway = () => {};
    const settle = (outcome: Outcome<T>) => {
      if (settled) return;
      settled = true;
      lookAway();
      this.waiting.delete(number);
      if ("error" in outcome) this.checkError(what, outcome.error);
      done(outcome);
    };
    world.timeline.after(dice.between(...NETWORK_MS), () => {
      const replica = this.options.replica();
      if (replica === undefined) return settle({ reset: true });
      const { process } = replica;
      lookAway = process.onDeath(() =>
        world.timeline.after(dice.between(...NETWORK_MS), () => settle({ reset: true })),
      );
      process.enter(() => {
        if (!replica.ready) return settle({ reset: true });
        this.waiting.set(number, what);
        this.expect(replica, number, what, withinMs);
        run(replica).then(
          (answer) => process.after(dice.between(...NETWORK_MS), () => settle({ answer })),
          (error: unknown) => process.after(dice.between(...NETWORK_MS), () => settle({ error })),
        );
      });
    });
  }

  private expect({ process }: Replica, number: number, what: string, withinMs: number): void {
    const { world } = this.options;
    const resumes = process.resumes;
    process.after(withinMs, () => {
      if (!this.waiting.has(number)) return;
      // It was stopped meanwhile: it has all its time again.
      if (process.resumes !== resumes) return this.expect({ process } as Replica, number, what, withinMs);
      world.violate("answer", `no answer to ${what} within ${withinMs} ms`);
    });
  }

  private checkError(what: string, error: unknown): void {
    const { world } = this.options;
    if (error instanceof DatabaseGone) return world.count("answers: database gone");
    if (error instanceof ApiError && expected.has(error.code)) return world.count(`answers: ${error.code}`);
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    world.violate("answer", `${what} was answered with a fault of ours: ${words}`);
  }

  private create(): void {
    const { dice, world } = this.options;
    const user = dice.any(this.users) as UserPrincipal;
    const request = this.wish();
    const key = dice.chance(0.6) ? `create-${this.requests}` : null;
    const send = () =>
      this.ask(
        "create",
        (replica) => replica.sessions.create(user, request, key),
        (outcome) => {
          if ("answer" in outcome) this.created(user, outcome.answer, key);
          // It does not know what became of it.
          else if ("reset" in outcome && key !== null && dice.chance(0.8))
            this.after(dice.between(0.2, 5) * SECOND, send);
        },
        request.wait_seconds * SECOND + ANSWERED_WITHIN_MS,
      );
    world.count("creates");
    send();
    if (key !== null && dice.chance(0.1)) this.after(dice.between(0, 3) * SECOND, send);
  }

  private created(user: UserPrincipal, session: Session, key: string | null): void {
    const { world, dice, rows } = this.options;
    const { id, status, ownerId } = session;
    world.note(`user ${user.userId} is told that ${id} is ${status}`);
    if (ownerId !== user.userId) world.violate("told", `${user.userId} was given ${id} of ${ownerId}`);
    this.told.set(id, status);
    if (key !== null) this.sameKey(user.userId + key, id);
    const holdMs = dice.gapMs(8 * MINUTE);
    if (dice.chance(0.6)) this.after(holdMs, () => this.stop(user, id, dice.chance(0.1)));
    else if (dice.chance(0.2))
      this.after(holdMs, () =>
        this.ask("extend", (replica) => replica.sessions.extend(user, id, dice.int(60, 900))),
      );
    if (dice.chance(0.2)) this.after(dice.gapMs(MINUTE), () => rows.session(id) && this.use(user, id));
  }

  private use(user: UserPrincipal, id: string): void {
    this.ask("use", async (replica) =>
      replica.sessions.used(await replica.sessions.get(user, "session.read", id)),
    );
  }

  private sameKey(key: string, id: string): void {
    const { rows, world } = this.options;
    const ids = this.byKey.get(key) ?? new Set();
    ids.add(id);
    this.byKey.set(key, ids);
    const live = [...ids].filter((one) => rows.session(one)?.endedAt === null);
    if (live.length > 1) world.violate("idempotency", `one request has made ${live.join(" and ")}`);
  }

  private stop(user: UserPrincipal, id: string, force: boolean): void {
    this.options.world.count(force ? "forced stops" : "stops");
    this.ask("stop", (replica) => replica.sessions.stop(user, id, force));
  }

  /** Something is done to a session in whatever status it is. */
  private meddle(): void {
    const { dice, rows } = this.options;
    const session = dice.any(rows.live());
    const owner = this.users.find(({ userId }) => userId === session?.ownerId);
    if (session === undefined || owner === undefined) return;
    const { id } = session;
    const roll = dice.random();
    if (roll < 0.5) this.stop(owner, id, dice.chance(0.2));
    else if (roll < 0.6) this.stop(operator, id, true);
    else if (roll < 0.8)
      this.ask("extend", (replica) => replica.sessions.extend(owner, id, dice.int(60, 900)));
    else if (roll < 0.9) this.use(owner, id);
    else this.ask("queue", (replica) => replica.sessions.queue(owner, { limit: 100 }));
  }

  /** An operator wants something of a wolf, and most often undoes it later. */
  private steer(): void {
    const { dice, world, wolfIds } = this.options;
    const id = dice.any(wolfIds);
    if (id === undefined) return;
    const event = dice.pick(["cordon", "drain", "drain", "maintain", "retire", "readmit", "unfreeze"]);
    world.note(`an operator asks for ${event} of ${id}`);
    world.count(`operator: ${event}`);
    this.ask(event, async (replica): Promise<unknown> => {
      if (event === "readmit") return replica.wolves.readmit(id);
      if (event === "unfreeze") return replica.monitor.unfreeze();
      if (event !== "drain") return replica.wolves.changeIntent(id, event, { reason: "simulated" });
      const request = DrainRequest.parse({
        deadline_seconds: dice.pick([0, 30, 120, 600]),
        // biome-ignore lint/suspicious/noThenProperty: a word of the API, in an object that nobody awaits
        then: dice.pick(["cordoned", "maintenance", "retired"]),
      });
      return replica.wolves.drain(id, request);
    });
    this.after(dice.gapMs(3 * MINUTE), () =>
      this.ask("uncordon", (replica) => replica.wolves.changeIntent(id, "uncordon", {})),
    );
  }

  private wish(): CreateSessionRequest {
    const { dice, regions } = this.options;
    const policy = dice.pick([
      undefined,
      undefined,
      "least-loaded",
      "bin-pack",
      "random-of-best",
      "cost",
      "weighted",
    ]);
    const maybe = <T>(share: number, name: string, value: T) => (dice.chance(share) ? { [name]: value } : {});
    const region = dice.any(regions);
    return CreateSessionRequest.parse({
      disconnect_policy: dice.pick<DisconnectPolicy>(["keep", "replace", "replace", "stop"]),
      queue: dice.chance(0.8),
      wait_seconds: dice.pick([0, 5, 30, 60]),
      ...(policy === undefined ? {} : { policy }),
      ...maybe(0.2, "gpu_type", dice.pick(["nvidia", "nvidia", "amd", "none"])),
      ...maybe(0.15, "region", region),
      ...maybe(0.1, "labels", { tier: dice.pick(["a", "b", "c"]) }),
      ...maybe(0.2, "resources", { vram_mb: dice.pick([0, 1024, 4096]), encoder_sessions: dice.int(0, 2) }),
      ...maybe(0.15, "ttl_seconds", dice.int(60, 600)),
      ...maybe(0.15, "idle_timeout_seconds", dice.int(60, 300)),
      ...maybe(0.2, "pin", String(dice.int(1000, 9999))),
      ...maybe(0.3, "queue_deadline_seconds", dice.int(1, 300)),
      ...maybe(0.3, "priority", dice.int(0, 4)),
      ...maybe(0.1, "allow_degraded", false),
    });
  }
}
