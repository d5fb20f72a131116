/** Hostile requests to the whole control plane, byte by byte: each is refused with a problem, once, and does nothing. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { RUNNER_TOKEN, startControlPlane, type TestControlPlane } from "../control-plane.ts";
import { contractCases } from "./contract-cases.ts";
import { type HostileCase, httpCases, SMUGGLED } from "./http-cases.ts";
import { type NaiveServer, naiveServer } from "./naive-server.ts";
import { runCorpus } from "./run.ts";
import type { Exchange } from "./wire.ts";

let plane: TestControlPlane;
let naive: NaiveServer;
let cases: HostileCase[];

beforeAll(async () => {
  plane = await startControlPlane();
  naive = await naiveServer(plane.adminKey);
  cases = [...httpCases(plane.adminKey), ...contractCases({ admin: plane.adminKey, runner: RUNNER_TOKEN })];
});
afterAll(async () => {
  await naive.close();
  await plane.stop();
});

/** All that an attack could have left in the database; events of the audit log tell of every attempt. */
async function rows(): Promise<Record<string, unknown[]>> {
  const { prisma } = plane.database;
  const tables = await prisma.$queryRaw<{ name: string }[]>`
    SELECT table_name AS name FROM information_schema.tables
    WHERE table_schema = current_schema() AND table_name NOT IN ('audit_event', '_prisma_migrations') ORDER BY 1`;
  const found: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    // Its lease is renewed all the time.
    if (name === "replica") continue;
    found[name] = await prisma.$queryRawUnsafe<unknown[]>(
      `SELECT to_jsonb(t) - 'last_used_at' AS row FROM "${name}" t ORDER BY 1`,
    );
  }
  return found;
}

describe("the HTTP corpus", () => {
  it("has more than a thousand cases, all different", () => {
    expect(new Set(cases.map(({ bytes }) => bytes.toString("latin1"))).size).toBeGreaterThan(1000);
  });

  it("fools a naive server with every kind of attack, and smuggles requests into it", async () => {
    const fooled = new Set<string>();
    const kinds = new Set(cases.map(({ kind }) => kind));
    const seen = ({ kind }: HostileCase, { answers }: Exchange) => {
      const [first] = answers;
      if (first === undefined || first.status < 400 || first.status > 499 || answers.length > 1)
        fooled.add(kind);
    };
    await runCorpus(naive.port, cases, { seen, patienceMs: 500 });
    expect([...kinds].filter((kind) => !fooled.has(kind))).toEqual([]);
    expect(naive.targets.filter((target) => target === SMUGGLED).length).toBeGreaterThan(10);
  }, 120_000);

  it("is refused case by case, with one problem each, and leaves nothing behind", async () => {
    const before = await rows();
    expect(before.user_account).toHaveLength(1);
    const faults = await runCorpus(Number(new URL(plane.url).port), cases);
    expect(faults).toEqual([]);
    expect(await rows()).toEqual(before);
    const lines = plane.lines.map(
      (line) => JSON.parse(line) as { msg: string; level: number; req?: { path: string } },
    );
    expect(lines.filter(({ req }) => req?.path.startsWith(SMUGGLED))).toEqual([]);
    // Nothing of it is a fault of ours.
    expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
  }, 120_000);

  it("left the prototypes of the process as they were", () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as { role?: unknown; x?: unknown }).role).toBeUndefined();
  });
});
