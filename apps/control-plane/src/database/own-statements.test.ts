/** Statements of our own on a real PostgreSQL, held to what Prisma makes of the same within a transaction. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type TestDatabase, testDatabase } from "../../test/database.ts";
import { eventually } from "../../test/host.ts";
import { becauseAgent } from "../events/author.ts";
import { Prisma as Sql } from "../generated/client.ts";
import { isDatabaseDown, isDatabaseUnanswered } from "./database-down.ts";
import { databaseSentence } from "./migrate.prisma.ts";
import { createPrisma, type Prisma } from "./prisma.prisma.ts";

let database: TestDatabase;
let prisma: Prisma;
beforeAll(async () => {
  database = await testDatabase();
  prisma = database.prisma;
});
afterAll(() => database.drop());

/** The same statement, by both. */
async function both(query: Sql.Sql): Promise<{ own: unknown; prismas: unknown }> {
  const own = await prisma.$queryRaw(query).catch((error: unknown) => error);
  const prismas = await prisma.$transaction((tx) => tx.$queryRaw(query)).catch((error: unknown) => error);
  return { own, prismas };
}

describe("a statement by hand", () => {
  it.each([
    [
      "numbers",
      Sql.sql`SELECT 1::int AS a, 2::int8 AS b, 1.5::float8 AS c, 12.50::numeric AS d, 3::int2 AS e`,
    ],
    [
      "more than a number can say",
      Sql.sql`SELECT 9007199254740993::int8 AS a, sum(x) AS b FROM generate_series(1, 3) x`,
    ],
    [
      "texts",
      Sql.sql`SELECT 'ä'::text AS a, 'b'::varchar AS b, 'c'::char(2) AS c, gen_random_uuid() IS NULL AS d`,
    ],
    ["truth", Sql.sql`SELECT true AS a, false AS b, NULL::bool AS c`],
    [
      "moments",
      Sql.sql`SELECT '2026-11-28 05:21:28.123456+02'::timestamptz AS a, '2026-11-28'::date AS b,
      '2026-11-28 05:21:28'::timestamp AS c`,
    ],
    [
      "JSON",
      Sql.sql`SELECT '{"a": [1, null, "x"]}'::jsonb AS a, 'null'::jsonb AS b, NULL::jsonb AS c, '"x"'::json AS d`,
    ],
    ["bytes", Sql.sql`SELECT '\\x00ff10'::bytea AS a, ''::bytea AS b`],
    [
      "lists",
      Sql.sql`SELECT ARRAY['a', NULL, 'b,c"']::text[] AS a, ARRAY[1, 2]::int[] AS b, ARRAY[3, NULL]::int8[] AS c,
      ARRAY['2026-11-28 05:21:28+00']::timestamptz[] AS d, '{}'::text[] AS e, ARRAY['{"a": 1}']::jsonb[] AS f,
      ARRAY[1.5]::numeric[] AS g, ARRAY[true]::bool[] AS h, ARRAY['\\x01']::bytea[] AS i`,
    ],
    [
      "times of the day",
      Sql.sql`SELECT '05:21:28'::time AS a, '05:21:28.5'::timetz AS b, ARRAY['05:21:28']::time[] AS c`,
    ],
    ["no rows", Sql.sql`SELECT 1 AS a WHERE false`],
    ["a statement that gives none", Sql.sql`SET LOCAL application_name = 'x'`],
    [
      "rows of a table",
      Sql.sql`SELECT oid, relname, relnatts, reltuples, relhasindex FROM pg_class ORDER BY oid LIMIT 3`,
    ],
  ])("reads as Prisma would: %s", async (_, query) => {
    const { own, prismas } = await both(query);
    expect(prismas).not.toBeInstanceOf(Error);
    expect(own).toStrictEqual(prismas);
  });

  it.each([
    ["texts and nothing", [`a'"\\`, null]],
    ["numbers", [1, 1.5]],
    ["more than a number can say", [9007199254740993n, 1n]],
    ["no numbers", [Number.NaN, Number.POSITIVE_INFINITY]],
    ["decimals", [new Sql.Decimal("12.50"), new Sql.Decimal(0)]],
    ["moments", [new Date("2026-11-28T05:21:28.120Z"), null]],
    ["truth", [true, false]],
    ["lists", [["a", 'b"c', null], []]],
    ["lists of moments", [[new Date(0), null], [new Date("2026-06-01T12:00:00Z")]]],
  ])("says values as Prisma would: %s", async (_, [a, b]) => {
    const { own, prismas } = await both(
      Sql.sql`SELECT pg_typeof(a)::text AS type, a::text, b::text FROM (SELECT ${a} AS a, ${b} AS b) AS said`,
    );
    expect(own).toStrictEqual(prismas);
    const typed = await both(
      Sql.sql`SELECT * FROM jsonb_build_object('a', ${a}::text, 'b', ${b}::text) AS said`,
    );
    expect(typed.own).toStrictEqual(typed.prismas);
  });

  it("says bytes as Prisma would", async () => {
    const bytes = new Uint8Array([0, 255, 1]).subarray(0, 2);
    const { own, prismas } = await both(
      Sql.sql`SELECT encode(${bytes}::bytea, 'hex') AS a, encode(${Buffer.from("x")}::bytea, 'hex') AS b`,
    );
    expect(own).toEqual([{ a: "00ff", b: "78" }]);
    expect(own).toStrictEqual(prismas);
  });

  it("takes parts, and the template itself", async () => {
    const part = Sql.sql`b = ${2}`;
    expect(
      await prisma.$queryRaw`SELECT ${1}::int AS a FROM (SELECT 2 AS b) AS t WHERE ${part} ${Sql.empty}`,
    ).toEqual([{ a: 1 }]);
  });

  it("counts the rows that it has changed", async () => {
    await prisma.$executeRaw`CREATE TABLE own_statement (a int UNIQUE)`;
    expect(await prisma.$executeRaw`INSERT INTO own_statement VALUES (1), (2)`).toBe(2);
    expect(await prisma.$executeRaw`DELETE FROM own_statement WHERE a > ${2}`).toBe(0);
  });

  it("says who makes it", async () => {
    const [row] = await becauseAgent(
      "wlf_1",
      "connected",
      () => prisma.$queryRaw<{ query: string }[]>`SELECT current_query() AS query`,
    );
    expect(row?.query).toMatch(/^\/\* wolfpack agent wlf_1 connected - \*\/ SELECT/);
  });

  it("is not part of a transaction that is open beside it, and one within is", async () => {
    await prisma
      .$transaction(async (tx) => {
        await tx.$executeRaw`INSERT INTO own_statement VALUES (7)`;
        expect(await tx.$queryRaw`SELECT a FROM own_statement WHERE a = 7`).toEqual([{ a: 7 }]);
        expect(await prisma.$queryRaw`SELECT a FROM own_statement WHERE a = 7`).toEqual([]);
        throw new Error("back");
      })
      .catch(() => undefined);
    expect(await prisma.$queryRaw`SELECT a FROM own_statement WHERE a = 7`).toEqual([]);
  });
});

describe("a statement that fails", () => {
  it.each([
    ["what is twice", Sql.sql`INSERT INTO own_statement VALUES (1)`],
    ["what is no SQL", Sql.sql`SELEC 1`],
    ["a value that is none", Sql.sql`SELECT ${"x"}::int`],
    ["a table that is not there", Sql.sql`SELECT * FROM nowhere`],
  ])("is the error that Prisma would give, without its stack: %s", async (_, query) => {
    const { own, prismas } = (await both(query)) as { own: Failed; prismas: Failed };
    expect(prismas.code).toBe("P2010");
    expect({ ...own, name: own.name }).toMatchObject({
      code: "P2010",
      name: prismas.name,
      clientVersion: prismas.clientVersion,
    });
    expect(own.meta.driverAdapterError.cause).toEqual(prismas.meta.driverAdapterError.cause);
    expect(prismas.message.endsWith(own.message)).toBe(true);
    expect(own).toBeInstanceOf(Sql.PrismaClientKnownRequestError);
  });

  it("is told before PostgreSQL is asked where a date is none", async () => {
    await expect(prisma.$queryRaw`SELECT ${new Date("x")}::timestamptz`).rejects.toThrow(
      /a date that is none/,
    );
  });

  it.each([
    "postgresql://u:p@127.0.0.1:1/x",
    "postgresql://u:p@localhost:1/x",
    "postgresql://u:p@nowhere.invalid/x",
  ])("says what Prisma would where nobody answers: %s", async (url) => {
    const nowhere = createPrisma(url);
    const own = (await nowhere.$queryRaw`SELECT 1`.catch((one: unknown) => one)) as Failed;
    const prismas = (await nowhere.user.findFirst().catch((one: unknown) => one)) as Failed;
    expect([own.name, isDatabaseUnanswered(own), isDatabaseDown(own)]).toEqual([
      prismas.name,
      isDatabaseUnanswered(prismas),
      isDatabaseDown(prismas),
    ]);
    expect(isDatabaseDown(own)).toBe(true);
    // Prisma's has its call in front.
    const why = /(Can't reach database server[^`]*|ECONN[A-Z]+)/;
    expect(why.exec(own.message)?.[1]).toEqual(why.exec(prismas.message)?.[1]);
    expect(databaseSentence(own, url)).toContain(String(why.exec(own.message)?.[1]));
    await nowhere.$disconnect();
  });

  it("connects anew after its client was disconnected, as Prisma does, and leaves no connection behind", async () => {
    const pid = async (one: Prisma) =>
      (await one.$queryRaw<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`)[0]?.pid;
    const again = createPrisma(database.url);
    const first = await pid(again);
    await again.$disconnect();
    const second = await pid(again);
    await again.$disconnect();
    // PostgreSQL takes a moment to see that they went.
    await eventually(
      () => prisma.$queryRaw<unknown[]>`SELECT pid FROM pg_stat_activity WHERE pid IN (${first}, ${second})`,
      (left) => left.length === 0,
    );
  });
});

interface Failed extends Error {
  code: string;
  clientVersion: string;
  meta: { driverAdapterError: { cause: unknown } };
}
