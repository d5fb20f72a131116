/** Prisma's schema engine as WebAssembly: the same migrations and the same `_prisma_migrations` table as Prisma's own CLI, without its downloaded binary. */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

export interface SchemaEngine {
  applyMigrations(input: { migrationsList: MigrationList; filters: SchemaFilter }): Promise<{ appliedMigrationNames: string[] }>;
  diff(input: unknown): Promise<{ exitCode: number; stdout: string | null }>;
  free(): void;
}

export interface MigrationList {
  baseDir: string;
  lockfile: { path: string; content: string | null };
  migrationDirectories: { path: string; migrationFile: { path: string; content: { tag: "ok"; value: string } } }[];
  shadowDbInitScript: string;
}

export interface SchemaFilter {
  externalTables: string[];
  externalEnums: string[];
}

export const noFilter: SchemaFilter = { externalTables: [], externalEnums: [] };

type WasmExports = Record<string, unknown>;
/** Node's types leave WebAssembly to the browser's. */
interface Wasm {
  instantiate(bytes: Uint8Array, imports: Record<string, object>): Promise<{ instance: { exports: WasmExports } }>;
}

interface EngineModule {
  __wbg_set_wasm(exports: WasmExports): void;
  SchemaEngine: { new: (options: { datamodels: [string, string][] }, log: (line: string) => void, adapter: object) => Promise<SchemaEngine> };
}

/** `adapterFactory` is Prisma's migration-aware driver adapter factory, bound for errors. */
export async function createSchemaEngine(adapterFactory: object, datamodels: [string, string][] = []): Promise<SchemaEngine> {
  const specifier = "@prisma/schema-engine-wasm/schema_engine_bg";
  const module = (await import(specifier)) as EngineModule;
  const wasmFile = createRequire(import.meta.url).resolve(specifier).replace(/\.js$/, ".wasm");
  const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: Wasm };
  const { instance } = await wasm.instantiate(readFileSync(wasmFile), { "./schema_engine_bg.js": module });
  module.__wbg_set_wasm(instance.exports);
  (instance.exports.__wbindgen_start as () => void)();
  return module.SchemaEngine.new({ datamodels }, () => undefined, adapterFactory);
}

/** What lies in prisma/migrations, oldest first. */
export function readMigrations(baseDir: string): MigrationList {
  const names = readdirSync(baseDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  return {
    baseDir,
    lockfile: { path: "./migration_lock.toml", content: 'provider = "postgresql"\n' },
    migrationDirectories: names.map((name) => ({
      path: name,
      migrationFile: {
        path: "migration.sql",
        content: { tag: "ok", value: readFileSync(path.join(baseDir, name, "migration.sql"), "utf8") },
      },
    })),
    shadowDbInitScript: "",
  };
}
