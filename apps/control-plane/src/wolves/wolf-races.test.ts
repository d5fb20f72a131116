/** Wolves where statements race, on real PostgreSQL and as from two replicas. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { aDisk, aUsage } from "../../test/a-wolf.ts";
import {
  aClaim,
  aPlaceableWolf,
  aReport,
  aSession,
  aSessionThatIs,
  at,
  lenient,
  mustBe,
  noQuotas,
  OWNER,
  postgresStores,
  untilBlocked,
} from "../../test/stores.ts";
import { createPrisma, type Prisma } from "../database/prisma.prisma.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "./wolf-store.prisma.ts";
import type { Wolf, WolfStore } from "./wolf-store.ts";

let stores: Awaited<ReturnType<typeof postgresStores>>;
let prisma: Prisma;
let otherPrisma: Prisma;
let store: WolfStore;
beforeAll(async () => {
  stores = await postgresStores();
  prisma = stores.database.prisma;
  store = stores.wolves;
  otherPrisma = createPrisma(stores.database.url);
});
beforeEach(async () => {
  await stores.clear();
  await stores.addOwner(OWNER);
});
afterAll(async () => {
  await otherPrisma.$disconnect();
  await stores.close();
});

const register = (name: string) =>
  store.register({ id: newId("wlf"), name, address: "", ...aReport() }, at(0));
const reload = (id: string) => mustBe(store.get(id));

/** Another replica's transaction that holds what `first` takes, until `call` waits for it; then does `rest`. */
async function during<Result>(
  first: (tx: Prisma) => Promise<unknown>,
  call: () => Promise<Result>,
  rest: (tx: Prisma) => Promise<unknown> = async () => undefined,
): Promise<Result> {
  let waiting: Promise<Result> | undefined;
  await otherPrisma.$transaction(async (tx) => {
    await first(tx as Prisma);
    waiting = call();
    await untilBlocked(prisma);
    await rest(tx as Prisma);
  });
  return waiting as Promise<Result>;
}

describe("a wolf whose heartbeat lands between the look and the mark", () => {
  it("stays connected", async () => {
    const { id } = await register("a");
    const marked = await during(
      (tx) => tx.$executeRaw`UPDATE wolf_instance SET last_heartbeat = ${at(129)} WHERE id = ${id}`,
      // Sees the old heartbeat, waits for the row, and has to look again.
      () => store.markStale(at(10), [], at(130)),
    );
    expect(marked).toEqual([]);
    expect((await reload(id)).connectivity).toBe("connected");
  });

  it("is not lost when its tunnel comes back in that moment", async () => {
    const { id, epoch } = await aPlaceableWolf(store, "a");
    await store.loseTunnel(id, epoch, lenient, at(1));
    const marked = await during(
      (tx) => prismaWolfStore(tx).openTunnel(id, at(2)),
      () => store.markLost(id, epoch, at(2)),
    );
    expect(marked).toBe(false);
    expect((await reload(id)).connectivity).toBe("connected");
  });
});

describe("the clock of a host", () => {
  it("is not known of a tunnel that a replica of an earlier version has opened", async () => {
    const { id } = await register("a");
    await store.openTunnel(id, at(1), undefined, { clockOffsetMs: 45_000 });
    const opens = (second: number) => prisma.$executeRaw`
      UPDATE wolf_instance SET epoch = epoch + 1, tunnel_since = ${at(second)} WHERE id = ${id}`;
    await opens(2);
    expect(await reload(id)).toMatchObject({ epoch: 2, tunnelClockOffsetMs: null });
    await store.openTunnel(id, at(3), undefined, { clockOffsetMs: -7 });
    expect(await reload(id)).toMatchObject({ epoch: 3, tunnelClockOffsetMs: -7 });
    await opens(4);
    expect((await reload(id)).tunnelClockOffsetMs).toBeNull();
  });

  it("belongs to the tunnel with the highest epoch, of twenty that open at once", async () => {
    const { id } = await register("a");
    const offsets = Array.from({ length: 20 }, (_, n) => n - 10);
    const opened = await Promise.all(
      offsets.map((clockOffsetMs) => store.openTunnel(id, at(1), undefined, { clockOffsetMs })),
    );
    expect(opened.map((wolf) => wolf?.tunnelClockOffsetMs)).toEqual(offsets);
    const newest = opened.find((wolf) => wolf?.epoch === 20);
    expect((await reload(id)).tunnelClockOffsetMs).toBe(newest?.tunnelClockOffsetMs);
  });
});

describe("many at once", () => {
  it("open tunnels with an epoch each", async () => {
    const { id } = await register("a");
    const opened = await Promise.all(Array.from({ length: 20 }, () => store.openTunnel(id, at(1))));
    expect(opened.map((wolf) => wolf?.epoch).sort((x = 0, y = 0) => x - y)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  it("fail to create, and are all counted, with one quarantine", async () => {
    const { id } = await register("a");
    const rules = { ...lenient, createFailuresMax: 7, firstMs: 5000, maxMs: 60_000 };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => store.createFailed(id, "failed", rules, at(1))),
    );
    expect(answers.filter((answer) => answer === "quarantined")).toHaveLength(1);
    expect(await reload(id)).toMatchObject({ createFailures: 7, quarantine: { times: 1, until: at(6) } });
  });

  it("steer one wolf, and one of them has its way", async () => {
    const { id } = await register("a");
    const answers = await Promise.all(
      (["cordoned", "maintenance", "retired"] as const).map((to) =>
        store.changeIntent(id, { from: ["active"], to, reason: to }, at(1)),
      ),
    );
    expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(["changed", "refused", "refused"]);
    const wolf = await reload(id);
    expect(wolf.intentReason).toBe(wolf.intent);
  });
});

describe("figures", () => {
  it("of an older tunnel leave no sample of a disk", async () => {
    const { id, epoch } = await aPlaceableWolf(store, "a");
    const report = { usage: aUsage({ disks: [aDisk("/")] }), wolfRestarts: 1, sampleIds: [newId("dsk")] };
    expect(await store.changeUsage(id, epoch - 1, report, at(3))).toBe(false);
    expect(await prisma.diskSample.count()).toBe(0);
    expect(await store.changeUsage(id, epoch, report, at(3))).toBe(true);
    expect(await prisma.diskSample.count()).toBe(1);
  });
});

describe("an intent", () => {
  /** As `store`, and somebody else does `meanwhile` after each statement by which it changes something. */
  const overtaken = (meanwhile: () => Promise<unknown>): WolfStore =>
    prismaWolfStore(
      new Proxy(prisma, {
        get(target, name) {
          const found: unknown = Reflect.get(target, name);
          if (name !== "$queryRaw") return found;
          return async (...given: Parameters<Prisma["$queryRaw"]>) => {
            const rows = await target.$queryRaw(...given);
            await meanwhile();
            return rows;
          };
        },
      }),
    );
  const uncordon = { from: ["cordoned" as const], to: "active" as const, reason: null };
  const retire = { from: ["active" as const], to: "retired" as const, reason: null, unlessSessions: true };

  it("that somebody else changes between a refusal and its reason is overtaken, and has no sessions in its way", async () => {
    const { id } = await register("a");
    await store.changeIntent(id, { from: ["pending"], to: "active", reason: null }, at(1));
    const cordon = () =>
      otherPrisma.wolfInstance.update({
        where: { id },
        data: { intent: "cordoned", connected_sandboxes: 3 },
      });
    expect(await overtaken(cordon).changeIntent(id, uncordon, at(2))).toMatchObject({
      outcome: "overtaken",
      wolf: { intent: "cordoned" },
    });
  });

  it("that is refused because of sessions that end just then is overtaken, too", async () => {
    const { id } = await register("a");
    await otherPrisma.wolfInstance.update({
      where: { id },
      data: { intent: "active", connected_sandboxes: 1 },
    });
    const end = () => otherPrisma.wolfInstance.update({ where: { id }, data: { connected_sandboxes: 0 } });
    expect((await store.changeIntent(id, retire, at(2))).outcome).toBe("has-sessions");
    expect((await overtaken(end).changeIntent(id, retire, at(2))).outcome).toBe("overtaken");
  });
});

describe("removing a wolf", () => {
  it("by force waits for a session that is just ending, without a deadlock", async () => {
    const wolf = await aPlaceableWolf(store, "a");
    const { id } = await aSessionThatIs("stopping", stores, wolf);
    const outcome = await during(
      (tx) => tx.session.update({ where: { id }, data: { updated_at: at(8) } }),
      () => store.deregister(wolf.id, true, at(9)),
      (tx) => tx.$executeRaw`
        WITH ended AS (
          UPDATE session SET status = 'stopped', slot_held = false, encoder_sessions = 0, ended_at = ${at(8)} WHERE id = ${id}
        )
        UPDATE wolf_instance SET connected_sandboxes = connected_sandboxes - 1 WHERE id = ${wolf.id}`,
    );
    expect(outcome).toBe("deleted");
    expect(await stores.sessions.get(id)).toMatchObject({ status: "stopped", endedAt: at(8) });
  });

  it.each([
    [false, "has-sessions"],
    [true, "deleted"],
  ])("sees a session that is claimed meanwhile (force %s)", async (force, expected) => {
    const { id } = await register("a");
    const session = newId("ses");
    const outcome = await during(
      (tx) =>
        tx.$executeRaw`UPDATE wolf_instance SET connected_sandboxes = connected_sandboxes + 1 WHERE id = ${id}`,
      () => store.deregister(id, force, at(9)),
      (tx) => tx.$executeRaw`
        INSERT INTO session (id, owner_id, name, status, wolf_instance_id, spec, placement, slot_held, created_at, updated_at)
        VALUES (${session}, ${OWNER}, 's', 'placed', ${id}, '{}', '{}', true, ${at(1)}, ${at(1)})`,
    );
    expect(outcome).toBe(expected);
    expect(await prisma.session.findUnique({ where: { id: session } })).toMatchObject({
      status: force ? "failed" : "placed",
      slot_held: !force,
    });
  });
});

describe("what placement hears", () => {
  it("is what commits late, too, however many have looked meanwhile", async () => {
    const [late, other] = [await aPlaceableWolf(store, "late"), await aPlaceableWolf(store, "other")];
    const removed = await register("removed");
    let { mark } = await store.changedCandidates(undefined);
    const since = async () => {
      const heard = await store.changedCandidates(mark);
      mark = heard.mark;
      return { ids: heard.wolves.map(({ id }) => id), gone: heard.gone };
    };
    await otherPrisma.$transaction(async (tx) => {
      await prismaWolfStore(tx as Prisma).reconciled(late.id, late.epoch, 3, at(1));
      await tx.$executeRaw`DELETE FROM wolf_instance WHERE id = ${removed.id}`;
      for (let n = 1; n < 4; n += 1) {
        await store.reconciled(other.id, other.epoch, n, at(1));
        expect(await since()).toEqual({ ids: [other.id], gone: [] });
      }
    });
    const { ids, gone } = await since();
    expect(ids).toContain(late.id);
    expect(gone).toEqual([removed.id]);
    expect(await since()).toEqual({ ids: [], gone: [] });
  });

  it("keeps a view true while everything changes at once, and long after", async () => {
    const wolves: Wolf[] = [];
    for (let n = 0; n < 12; n += 1) wolves.push(await aPlaceableWolf(store, `w${n}`, { maxSandboxes: 50 }));
    const view = new Map<string, Wolf>();
    let mark: string | undefined;
    const look = async () => {
      const heard = await store.changedCandidates(mark);
      mark = heard.mark;
      for (const wolf of heard.wolves) view.set(wolf.id, wolf);
      for (const id of heard.gone) view.delete(id);
    };
    let working = true;
    const looking = (async () => {
      while (working) await look();
    })();
    const other = prismaWolfStore(otherPrisma);
    const worker = async (n: number) => {
      for (let round = 0; round < 12; round += 1) {
        const wolf = wolves[(n * 5 + round) % wolves.length] as Wolf;
        await stores.sessions.claim([aClaim(wolf, aSession())], noQuotas, at(1));
        await other.reconciled(wolf.id, wolf.epoch, (n + round) % 3, at(1));
        if (round % 5 === 4)
          await other.changeHealth(wolf.id, wolf.epoch, n % 2 ? "ok" : "degraded", [], at(1));
        if (round === 7 && n < 4) await store.deregister(wolf.id, true, at(2));
        if (round === 9 && n < 4) await register(`new-${n}`);
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, n) => worker(n)));
    working = false;
    await looking;
    await look();
    const { wolves: truth } = await store.changedCandidates(undefined);
    expect([...view.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(truth);
  });
});
