/** A database of its own, with the newest schema and nothing in it, for whoever tests against real PostgreSQL. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { createPrisma, type Prisma } from "../src/database/prisma.prisma.ts";
import { TEMPLATE, URL_VARIABLE } from "./postgres-of-the-run.ts";

export interface TestDatabase {
  prisma: Prisma;
  url: string;
  /** Disconnects `prisma` and removes the database, whoever is still connected. */
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** False: an empty database, as before the first boot. Default true. */
  migrated?: boolean;
}

export async function testDatabase({ migrated = true }: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = process.env[URL_VARIABLE];
  if (server === undefined) throw new Error("run through jest: its global setup starts PostgreSQL");
  const name = `test_${randomBytes(6).toString("hex")}`;
  await inServer(server, `CREATE DATABASE ${name} TEMPLATE ${migrated ? TEMPLATE : "template0"}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const prisma = createPrisma(url.href);
  return {
    prisma,
    url: url.href,
    async drop() {
      await prisma.$disconnect();
      await inServer(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

async function inServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
