import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type TestDatabase, testDatabase } from "./database.ts";

describe("schema", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  it("answers", async () => {
    expect(await database.prisma.wolfInstance.count()).toBe(0);
  });
});
