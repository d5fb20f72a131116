/** Whose tunnels are gone when a replica starts, or another one's lease has ended: real PostgreSQL, rows of replicas by hand. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { at, postgresStores } from "../../test/stores.ts";
import { newId } from "../ids.ts";
import { prismaWolfStore } from "./wolf-store.prisma.ts";
import { undescribed } from "./wolf-store.ts";

let stores: Awaited<ReturnType<typeof postgresStores>>;
beforeAll(async () => {
  stores = await postgresStores();
});
afterAll(() => stores.close());
beforeEach(async () => {
  await stores.clear();
  await stores.database.prisma.$executeRaw`DELETE FROM replica`;
});

/** A replica with a wolf whose tunnel it holds; `lease`: for so many seconds from now. Returns the wolf's id. */
async function held(name: string, { lease, url }: { lease?: number; url?: string | null }): Promise<string> {
  const { prisma } = stores.database;
  const replica = newId("rep");
  if (lease !== undefined)
    await prisma.$executeRaw`
      INSERT INTO replica (id, url, version, secret_print, started_at, lease_until)
      VALUES (${replica}, ${url ?? null}, '1', 'x', now(), now() + ${lease}::float8 * interval '1 s')`;
  const wolf = { id: newId("wlf"), name, address: "", ...undescribed };
  await stores.wolves.register(wolf, at(0));
  const opened = await prismaWolfStore(prisma, replica).openTunnel(wolf.id, at(1));
  expect(opened?.tunnelReplicaId).toBe(replica);
  return wolf.id;
}

const url = "http://10.0.0.1:8080";
const stateOf = async (id: string) => (await stores.wolves.get(id))?.connectivity;

describe("tunnels without a holder", () => {
  it("are, at a start, all but those of replicas that can be reached and whose lease runs", async () => {
    const kept = await held("kept", { lease: 60, url });
    const gone = [
      await held("ended", { lease: -1, url: "http://10.0.0.2:8080" }),
      await held("alone", { lease: 60 }),
      await held("unknown", {}),
    ];
    const suspects = await stores.wolves.orphanTunnels(at(2));
    expect(suspects.map(({ id }) => id).sort()).toEqual(gone.sort());
    expect(await stateOf(kept)).toBe("connected");
    for (const id of gone) expect(await stateOf(id)).toBe("suspect");
  });

  it("are, once replicas were removed, those of replicas without a row, and of nobody else", async () => {
    const kept = [await held("ended", { lease: -1, url }), await held("alone", { lease: 60 })];
    const gone = await held("removed", {});
    const nameless = { id: newId("wlf"), name: "before", address: "", ...undescribed };
    await stores.wolves.register(nameless, at(0));
    // By a version that says nothing of itself.
    await stores.wolves.openTunnel(nameless.id, at(1));
    expect(await stores.wolves.orphanTunnels(at(2), "removed")).toEqual([{ id: gone, epoch: 1 }]);
    for (const id of [...kept, nameless.id]) expect(await stateOf(id)).toBe("connected");
  });

  it("come back with the heartbeat of whoever holds them after all, and stay away with an older one's", async () => {
    const id = await held("back", {});
    await stores.wolves.orphanTunnels(at(2), "removed");
    expect(await stores.wolves.heartbeats([{ id, epoch: 0 }], at(3))).toBe(0);
    expect(await stateOf(id)).toBe("suspect");
    expect(await stores.wolves.heartbeats([{ id, epoch: 1, rttMs: 12.5 }], at(4))).toBe(1);
    expect(await stores.wolves.get(id)).toMatchObject({ connectivity: "connected", tunnelRttMs: 12.5 });
    // No ping since: the last one still says something.
    await stores.wolves.heartbeats([{ id, epoch: 1 }], at(5));
    expect((await stores.wolves.get(id))?.tunnelRttMs).toBe(12.5);
    expect((await stores.wolves.openTunnel(id, at(6)))?.tunnelRttMs).toBeNull();
  });
});
