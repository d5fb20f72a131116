/** Prisma's adapter for PostgreSQL as the schema engine needs it: it reads the type "char" of PostgreSQL's catalogue. */
import { PrismaPg } from "@prisma/adapter-pg";
import { ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import pg from "pg";

/** Types by number (PostgreSQL, src/include/catalog/pg_type.dat). */
const SINGLE_BYTE_CHAR = 18;
/** The catalogue has none of these, so the pool may use it as a mark that the adapter lets through. */
const UUID = 2950;

export class CatalogPool extends pg.Pool {
  // biome-ignore lint/suspicious/noExplicitAny: pg declares a dozen overloads, of which the adapter uses one
  override async query(...args: any[]): Promise<any> {
    const query = super.query as (...args: unknown[]) => Promise<pg.QueryResult>;
    const result = await query.apply(this, args);
    // A script has several results, which nobody reads.
    for (const field of result.fields ?? [])
      if (field.dataTypeID === SINGLE_BYTE_CHAR) field.dataTypeID = UUID;
    return result;
  }
}

/** Leaves the pool's end to its maker. */
export class CatalogAdapter extends PrismaPg {
  override async connect(): ReturnType<PrismaPg["connect"]> {
    const adapter = await super.connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      const result = await queryRaw(query);
      const { Uuid, Character } = ColumnTypeEnum;
      return { ...result, columnTypes: result.columnTypes.map((type) => (type === Uuid ? Character : type)) };
    };
    return adapter;
  }
}
