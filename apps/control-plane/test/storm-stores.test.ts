/** What a fleet that comes back as one costs PostgreSQL: statements for many, and nothing for what is no news. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { becauseAgent } from "../src/events/author.ts";
import { prismaAgentKeyStore } from "../src/identity/agent-key-store.prisma.ts";
import type { AuditRecord } from "../src/identity/audit.ts";
import { prismaAuditStore } from "../src/identity/audit-store.prisma.ts";
import { newId } from "../src/ids.ts";
import { prismaWolfStore } from "../src/wolves/wolf-store.prisma.ts";
import type { Wolf, WolfStore } from "../src/wolves/wolf-store.ts";
import { aUsage } from "./a-wolf.ts";
import { type TestDatabase, testDatabase } from "./database.ts";
import { at } from "./stores.ts";

let database: TestDatabase;
let wolves: WolfStore;
let asked = 0;
beforeAll(async () => {
  database = await testDatabase();
  const counted = new Proxy(database.prisma, {
    get(prisma, name) {
      if (name === "$queryRaw" || name === "$executeRaw") asked += 1;
      return Reflect.get(prisma, name);
    },
  });
  wolves = prismaWolfStore(counted);
});
beforeEach(() => database.prisma.$executeRaw`TRUNCATE wolf_instance, agent_key, spent_challenge CASCADE`);
afterAll(() => database.drop());

const report = {
  gpuType: "nvidia" as const,
  maxSandboxes: 4,
  labels: { rack: "r1" },
  region: "eu",
  costPerHour: 1.5,
  agentVersion: "1.0.0",
  encoderSessionsMax: null,
};

async function tunnelled(count: number): Promise<{ id: string; name: string; epoch: number }[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const wolf = await wolves.register(
        { id: newId("wlf"), name: `wolf-${n}`, address: "", ...report },
        at(0),
      );
      const { id, name, epoch } = (await wolves.openTunnel(wolf.id, at(1))) ?? wolf;
      return { id, name, epoch };
    }),
  );
}

/** Only transactions that write are given an id. */
async function writes(work: () => Promise<unknown>): Promise<number> {
  const next = async () => {
    const [row] = await database.prisma.$queryRaw<{ next: bigint }[]>`
      SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next`;
    return Number(row?.next);
  };
  const before = await next();
  await work();
  return (await next()) - before;
}

/** How many statements of the store it took, and what came of it. */
async function statements<Result>(work: () => Promise<Result>): Promise<[number, Result]> {
  const before = asked;
  const result = await work();
  return [asked - before, result];
}

describe("what agents say again", () => {
  const host = { cpu_model: "cpu", cpu_count: 4, memory_bytes: 1000, gpus: [] };
  const gpu = { model: "L40S", renderNode: "/dev/dri/renderD128", vramMb: 48_000 };
  const capabilities = { schema_hash: "0".repeat(64), features: ["lobbies"], missing: [] };
  const images = [
    { name: "xfce", state: "present" as const, id: null, digest: null, size_bytes: 5, created_at: null },
  ];
  const reasons = [{ code: "wolf-slow" as const, detail: "slow" }];
  const sayAll = (id: string, epoch: number, seconds: number) =>
    Promise.all([
      wolves.changeReport(id, epoch, { ...report, host, gpu }, at(seconds)),
      wolves.changeCapabilities(id, epoch, capabilities, at(seconds)),
      wolves.changeImages(id, epoch, images, at(seconds)),
      wolves.changeHealth(id, epoch, "degraded", reasons as never, at(seconds)),
    ]);

  it("is written once, and taken after that without a write", async () => {
    const all = await tunnelled(20);
    expect(await writes(() => Promise.all(all.map(({ id, epoch }) => sayAll(id, epoch, 2))))).toBe(80);
    const again = () => Promise.all(all.map(({ id, epoch }) => sayAll(id, epoch, 3)));
    let said: boolean[][] = [];
    expect(
      await writes(async () => {
        said = await again();
      }),
    ).toBe(0);
    expect(said.flat()).not.toContain(false);
  });

  it("is written again where one thing of it is another, also when that is null now", async () => {
    const [wolf] = await tunnelled(1);
    const { id = "", epoch = 0 } = wolf ?? {};
    await sayAll(id, epoch, 2);
    await wolves.changeReport(id, epoch, { ...report, host, gpu, region: null }, at(3));
    await wolves.changeCapabilities(id, epoch, null, at(3));
    await wolves.changeImages(id, epoch, null, at(3));
    await wolves.changeHealth(id, epoch, "ok", [], at(3));
    const row = await wolves.get(id);
    expect(row).toMatchObject({
      region: null,
      capabilities: null,
      images: null,
      health: "ok",
      healthReasons: [],
    });
  });

  it("right after a new tunnel is compared with what its row said as it was opened, without a statement", async () => {
    const [one, other] = await tunnelled(2);
    const known = { id: one?.id ?? "", epoch: 2 };
    const changed = { id: other?.id ?? "", epoch: 2 };
    await sayAll(known.id, 1, 2);
    await sayAll(changed.id, 1, 2);
    await wolves.openTunnel(known.id, at(3));
    await wolves.openTunnel(changed.id, at(3));
    const [first] = await statements(() => sayAll(known.id, known.epoch, 4));
    expect(first).toBe(0);
    const [, heard] = await statements(() => wolves.changeHealth(changed.id, changed.epoch, "ok", [], at(4)));
    expect(heard).toBe(true);
    expect(await wolves.get(changed.id)).toMatchObject({ health: "ok", updatedAt: at(4) });
    // Said a second time it is looked up: somebody else may have changed the row by now.
    await database.prisma.wolfInstance.update({ where: { id: known.id }, data: { health: "failed" } });
    const [second] = await statements(() => sayAll(known.id, known.epoch, 5));
    expect(second).toBeGreaterThan(0);
    expect(await wolves.get(known.id)).toMatchObject({ health: "degraded", updatedAt: at(5) });
  });

  it("counts for nothing through an older tunnel, though the row says the same", async () => {
    const [wolf] = await tunnelled(1);
    const { id = "", epoch = 0 } = wolf ?? {};
    await sayAll(id, epoch, 2);
    await wolves.openTunnel(id, at(3));
    expect(await sayAll(id, epoch, 4)).toEqual([false, false, false, false]);
  });
});

describe("tunnels that are opened together", () => {
  const open = (id: string, seconds: number) =>
    becauseAgent(id, "connected", () => wolves.openTunnel(id, at(seconds)));

  it("are given their epochs by few statements, and each is an event of its own agent", async () => {
    const all = await tunnelled(30);
    const unknown = newId("wlf");
    let opened: (Wolf | undefined)[] = [];
    expect(
      await writes(async () => {
        opened = await Promise.all([...all.map(({ id }) => open(id, 5)), open(unknown, 5)]);
      }),
    ).toBeLessThanOrEqual(3);
    expect(opened.map((wolf) => wolf?.epoch)).toEqual([...all.map(() => 2), undefined]);
    const events = await database.prisma.fleetEvent.findMany({
      where: { kind: "wolf.tunnel", wolf_instance_id: { in: all.map(({ id }) => id) }, actor: "agent" },
    });
    expect(
      events.map(({ wolf_instance_id, actor_id, cause }) => [wolf_instance_id, actor_id, cause]).sort(),
    ).toEqual(all.map(({ id }) => [id, id, "connected"]).sort());
  });

  it("have an epoch each, also when two are of one wolf", async () => {
    const [wolf] = await tunnelled(1);
    const { id = "" } = wolf ?? {};
    const opened = await Promise.all([open(id, 5), open(id, 6), open(id, 7), open(id, 8)]);
    expect(opened.map((one) => one?.epoch).sort()).toEqual([2, 3, 4, 5]);
    expect(await wolves.get(id)).toMatchObject({ epoch: 5 });
  });

  it("wait for nobody whose row somebody else holds", async () => {
    const [held, ...others] = await tunnelled(20);
    const { promise: letGo, resolve } = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const holding = database.prisma.$transaction(
      async (tx) => {
        await tx.$executeRaw`SET LOCAL idle_in_transaction_session_timeout = 0`;
        await tx.$executeRaw`SELECT 1 FROM wolf_instance WHERE id = ${held?.id} FOR UPDATE`;
        locked.resolve();
        await letGo;
      },
      { timeout: 60_000 },
    );
    await Promise.race([locked.promise, holding]);
    const late = open(held?.id ?? "", 5);
    const rest = await Promise.all(others.map(({ id }) => open(id, 5)));
    expect(rest.map((wolf) => wolf?.epoch)).toEqual(others.map(() => 2));
    expect(await wolves.get(held?.id ?? "")).toMatchObject({ epoch: 1 });
    resolve();
    await holding;
    expect((await late)?.epoch).toBe(2);
  });
});

describe("figures of many hosts", () => {
  it("are one statement, which keeps each wolf's own and leaves out tunnels that were overtaken", async () => {
    const all = await tunnelled(30);
    const [late, ...others] = all;
    await wolves.openTunnel(late?.id ?? "", at(2));
    const say = ({ id, epoch }: { id: string; epoch: number }, n: number) =>
      wolves.changeUsage(
        id,
        epoch,
        { usage: aUsage({ cpu_load: n }), wolfRestarts: n, sampleIds: [newId("dsk")] },
        at(3),
      );
    let taken: boolean[] = [];
    // Whoever begins a batch may be alone in it.
    expect(
      await writes(async () => {
        taken = await Promise.all(all.map(say));
      }),
    ).toBeLessThanOrEqual(2);
    expect(taken).toEqual([false, ...others.map(() => true)]);
    const rows = await Promise.all(others.map(({ id }) => wolves.get(id)));
    expect(rows.map((row) => [row?.usage?.cpu_load, row?.wolfRestarts])).toEqual(
      others.map((_, n) => [n + 1, n + 1]),
    );
    expect(await database.prisma.diskSample.count()).toBe(29);
  });
});

describe("heartbeats by HTTP of many wolves", () => {
  it("are one statement, and one for a wolf that nobody knows is false beside those that are known", async () => {
    const all = await tunnelled(30);
    const ids = [...all.map(({ id }) => id), newId("wlf")];
    let known: boolean[] = [];
    expect(
      await writes(async () => {
        known = await Promise.all(ids.map((id) => wolves.heartbeat(id, {}, at(5))));
      }),
    ).toBeLessThanOrEqual(2);
    expect(known).toEqual([...all.map(() => true), false]);
    const rows = await Promise.all(all.map(({ id }) => wolves.get(id)));
    expect(new Set(rows.map((row) => row?.lastHeartbeat?.getTime()))).toEqual(new Set([at(5).getTime()]));
  });

  it("of one wolf together leave the newest word on each thing", async () => {
    const [wolf] = await tunnelled(1);
    const { id = "" } = wolf ?? {};
    await Promise.all([
      wolves.heartbeat(id, { maxSandboxes: 7 }, at(5)),
      wolves.heartbeat(id, { gpuType: "amd" }, at(6)),
      wolves.heartbeat(id, {}, at(7)),
    ]);
    expect(await wolves.get(id)).toMatchObject({ maxSandboxes: 7, gpuType: "amd", lastHeartbeat: at(7) });
  });
});

describe("keys that are shown together", () => {
  it("spend each challenge once, whoever answers it beside others in one statement", async () => {
    const keys = prismaAgentKeyStore(database.prisma);
    const all = await tunnelled(5);
    const [first, ...others] = await Promise.all(
      all.map(async ({ id: wolf_instance_id }, n) => {
        const id = newId("agk");
        const key = {
          id,
          wolf_instance_id,
          public_key: new Uint8Array(32).fill(n),
          status: "active",
          enrolled_by: "test",
        };
        await database.prisma.agentKey.create({ data: { ...key, created_at: at(0), expires_at: at(3600) } });
        return id;
      }),
    );
    const challenge = (n: number) => ({ nonce: new Uint8Array(48).fill(n), expiresAt: at(60) });
    const shown = await Promise.all([
      ...others.map((id, n) => keys.spend(challenge(n), id, true, at(1))),
      // The same challenge twice, by two keys.
      keys.spend(challenge(100), first ?? "", true, at(1)),
      keys.spend(challenge(100), others[0] ?? "", true, at(1)),
      keys.spend(challenge(101), newId("agk"), true, at(1)),
    ]);
    expect(shown).toEqual([...others.map(() => true), true, false, false]);
    expect(await keys.spend(challenge(0), first ?? "", true, at(1))).toBe(false);
    // Neither is one that was shown with a key that there is not ever good again.
    expect(await keys.spend(challenge(101), first ?? "", true, at(1))).toBe(false);
  });
});

describe("events of the audit log that come together", () => {
  const record = (requestId: string): AuditRecord => ({
    id: newId("aud"),
    at: at(0),
    actor: "system",
    actorId: null,
    credentialId: null,
    action: "agent.connect",
    object: null,
    result: "allowed",
    code: null,
    requestId,
    replica: "test",
    address: null,
    detail: {},
  });

  it("are written together, and one that cannot be written fails alone", async () => {
    const audit = prismaAuditStore(database.prisma);
    // PostgreSQL takes no NUL.
    const all = [...Array.from({ length: 20 }, (_, n) => record(`r${n}`)), record("\0")];
    const settled = await Promise.allSettled(all.map((one) => audit.add(one)));
    expect(settled.map(({ status }) => status)).toEqual([...Array(20).fill("fulfilled"), "rejected"]);
    expect(await database.prisma.auditEvent.count()).toBe(20);
    expect(
      await writes(() => Promise.all(all.slice(0, 20).map(({ requestId }) => audit.add(record(requestId))))),
    ).toBeLessThanOrEqual(2);
  });
});
