/** Prisma's schema engine as WebAssembly, without its downloaded binary: it says what schema.prisma asks of a database beyond what is there. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { bindMigrationAwareSqlAdapterFactory } from "@prisma/driver-adapter-utils";
import { CatalogAdapter, CatalogPool } from "./catalog-adapter.prisma.ts";

export interface SchemaEngine {
  diff(input: unknown): Promise<{ exitCode: number; stdout: string | null }>;
  free(): void;
}

const CONNECT_TIMEOUT_MS = 10_000;

type WasmExports = Record<string, unknown>;
/** Node's types leave WebAssembly to the browser's. */
interface Wasm {
  instantiate(
    bytes: Uint8Array,
    imports: Record<string, object>,
  ): Promise<{ instance: { exports: WasmExports } }>;
}

interface EngineModule {
  __wbg_set_wasm(exports: WasmExports): void;
  SchemaEngine: {
    new: (
      options: { datamodels: [string, string][] },
      log: (line: string) => void,
      adapter: object,
    ) => Promise<SchemaEngine>;
  };
}

/** Runs `use` with an engine on the database at `url` and closes every connection it opened. */
export async function withSchemaEngine<Result>(
  url: string,
  datamodels: [string, string][],
  use: (engine: SchemaEngine) => Promise<Result>,
): Promise<Result> {
  // The engine never ends a pool of its own making, and a connection left open blocks CREATE DATABASE … TEMPLATE.
  const pool = new CatalogPool({
    connectionString: url,
    max: 2,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  pool.on("error", () => undefined);
  try {
    engineModule ??= loadEngine();
    const { SchemaEngine } = await engineModule;
    const adapter = bindMigrationAwareSqlAdapterFactory(new CatalogAdapter(pool));
    const engine = await SchemaEngine.new({ datamodels }, () => undefined, adapter);
    try {
      return await use(engine);
    } finally {
      engine.free();
    }
  } finally {
    await pool.end();
  }
}

/** The module keeps its one instance in a global of its own: a second instance would take over the first one's calls. */
let engineModule: Promise<EngineModule> | undefined;

async function loadEngine(): Promise<EngineModule> {
  const specifier = "@prisma/schema-engine-wasm/schema_engine_bg";
  const module = (await import(specifier)) as EngineModule;
  const wasmFile = createRequire(import.meta.url)
    .resolve(specifier)
    .replace(/\.js$/, ".wasm");
  const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: Wasm };
  const imports = { "./schema_engine_bg.js": { ...module, ...unreferencedTimers(module) } };
  const { instance } = await wasm.instantiate(readFileSync(wasmFile), imports);
  module.__wbg_set_wasm(instance.exports);
  (instance.exports.__wbindgen_start as () => void)();
  return module;
}

/** The engine forgets the timer of its own lock time-out (10 s), which must not keep the process from ending. */
function unreferencedTimers(module: object): Record<string, (run: () => void, ms: number) => NodeJS.Timeout> {
  const names = Object.keys(module).filter((name) => name.startsWith("__wbg_setTimeout_"));
  return Object.fromEntries(names.map((name) => [name, (run, ms) => setTimeout(run, ms >>> 0).unref()]));
}
