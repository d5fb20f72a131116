/** Everything of one run and how it hangs together: hosts, replicas, one database, and those who judge. */
import { type MemoryFleet, memoryFleet } from "../../src/database/memory-fleet.ts";
import type { LobbyApi } from "../../src/sessions/lobbies.ts";
import { memorySessionStore } from "../../src/sessions/session-store.memory.ts";
import { memoryWolfStore } from "../../src/wolves/wolf-store.memory.ts";
import { Bounds } from "./bounds.ts";
import { Database } from "./database.ts";
import type { Dice } from "./dice.ts";
import { addHost, goneSinceMs, type Host, observe } from "./hosts.ts";
import { Invariants } from "./invariants.ts";
import { type Plan, usersOf } from "./plan.ts";
import type { Stores } from "./replica.ts";
import { Replicas } from "./replicas.ts";
import { type Rows, rowsOf } from "./rows.ts";
import type { SimWolf } from "./wolf.ts";
import type { World } from "./world.ts";

/** Other parts than the production ones, to see that the invariants notice. */
export interface Alterations {
  stores?: (stores: Stores, rows: MemoryFleet) => Stores;
  lobbies?: (api: LobbyApi) => LobbyApi;
}

export interface FleetOptions {
  world: World;
  plan: Plan;
  dice: Dice;
  alter?: Alterations | undefined;
  onLog?: ((line: string) => void) | undefined;
}

export class Fleet {
  readonly world: World;
  readonly plan: Plan;
  readonly database: Database;
  readonly replicas: Replicas;
  readonly invariants: Invariants;
  readonly bounds: Bounds;
  readonly rows: Rows;
  readonly hosts: Host[] = [];
  readonly wolves = new Map<string, SimWolf>();
  /** Hears nothing for good, and is heard; or the other way round. */
  deaf: Host | undefined;
  private readonly byId = new Map<string, Host>();
  private readonly stores: Stores;
  private readonly dice: Dice;
  private ids = 0;

  constructor({ world, plan, dice, alter = {}, onLog }: FleetOptions) {
    this.world = world;
    this.plan = plan;
    this.dice = dice;
    const memory = memoryFleet();
    for (const { userId } of usersOf(plan))
      memory.owners.set(userId, { sessionsMax: null, createsPerMinute: null });
    const stores = { sessions: memorySessionStore(memory), wolves: memoryWolfStore(memory) };
    this.stores = alter.stores?.(stores, memory) ?? stores;
    this.rows = rowsOf(memory);
    this.invariants = new Invariants(world, this.rows, (id) => this.reachableMs(id));
    this.database = new Database({
      world,
      dice: dice.fork(),
      temper: plan.database,
      hooks: {
        done: (method, args, result) => this.invariants.done(method, args, result),
        step: (process, method) => this.replicas.step(process, method),
      },
    });
    this.replicas = new Replicas({
      world,
      dice: dice.fork(),
      database: this.database,
      stores: this.stores,
      newId: () => this.newId("ses"),
      alterLobbies: alter.lobbies ?? ((api) => api),
      killAtStep: plan.killAtStep,
      onLog,
    });
    this.bounds = new Bounds({
      world,
      rows: this.rows,
      invariants: this.invariants,
      wolves: this.wolves,
      servingSinceMs: () => this.replicas.sinceMs,
      reachableSinceMs: (id) => this.reachableSinceMs(id),
      goneSinceMs: (id) => {
        const host = this.byId.get(id);
        return host && goneSinceMs(host);
      },
    });
  }

  async populate(): Promise<void> {
    const { world, plan, replicas, invariants: witness } = this;
    for (let number = 1; number <= plan.wolves; number += 1) {
      const id = this.newId("wlf");
      const { wolves } = this.stores;
      const host = await addHost({
        id,
        number,
        world,
        dice: this.dice.fork(),
        plan,
        wolves,
        witness,
        replicas,
      });
      this.hosts.push(host);
      this.byId.set(id, host);
      this.wolves.set(id, host.wolf);
    }
    replicas.start();
  }

  /** ULIDs that rise with time, the same in every run of a seed. */
  newId(prefix: "ses" | "wlf"): string {
    this.ids += 1;
    const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let text = "";
    for (let rest = this.ids, at = 0; at < 8; at += 1, rest = Math.floor(rest / 32))
      text = `${digits[rest % 32]}${text}`;
    return `${prefix}_01KB00000000000000${text}`;
  }

  /** One path carries one way only from now on: requests do not arrive, or their answers do not. */
  deafen(dice: Dice): void {
    this.deaf = dice.any(this.hosts);
    if (this.deaf === undefined) return;
    const way = dice.pick(["up", "down", "muted"]);
    this.world.note(`${this.deaf.wolf.id} is cut one way for good: ${way}`);
    if (way === "muted") this.deaf.path.muted = true;
    else this.deaf.path.set({ [way]: false });
  }

  /** Who can be reached, and whether somebody serves: to be called often. */
  observe(): void {
    this.replicas.observe();
    for (const host of this.hosts) observe(host, this.world.nowMs);
  }

  /** Undefined: its Wolf cannot be asked. */
  reachableSinceMs(id: string): number | undefined {
    const reachable = this.byId.get(id)?.reachable;
    return reachable?.is === true ? reachable.sinceMs : undefined;
  }

  private reachableMs(id: string): number {
    const { sinceMs } = this.replicas;
    const reachableSinceMs = this.reachableSinceMs(id);
    if (sinceMs === undefined || reachableSinceMs === undefined) return 0;
    return this.world.nowMs - Math.max(sinceMs, reachableSinceMs);
  }
}
