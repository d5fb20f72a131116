/**
 * The build: static files in `dist`, nothing downloaded. The contract's tables come in as data, made here from the package itself,
 * since its schemas would be half of what a browser has to load.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import {
  actions,
  auditActions,
  CSRF_HEADER,
  fleetEventKinds,
  operations,
  problems,
} from "@wolfpack/api-contract";
import { defineConfig, type Plugin } from "vite";

/** `import … from "virtual:contract"`; its types are in src/api/virtual-contract.d.ts. */
function contract(): Plugin {
  const id = "\0virtual:contract";
  const calls = Object.fromEntries(
    Object.entries(operations).map(([name, { method, path, responses }]) => {
      const bodies = Object.values(responses);
      const reads = bodies.includes("image") ? "bytes" : bodies.includes("ndjson") ? "stream" : "json";
      return [name, { method, path, reads }];
    }),
  );
  const users = Object.fromEntries(Object.entries(actions).map(([name, { users }]) => [name, users]));
  const meanings = Object.fromEntries(Object.entries(problems).map(([code, { meaning }]) => [code, meaning]));
  return {
    name: "wolfpack-contract",
    resolveId: (source) => (source === "virtual:contract" ? id : undefined),
    load: (module) =>
      module === id
        ? [
            `export const calls = ${JSON.stringify(calls)};`,
            `export const actionUsers = ${JSON.stringify(users)};`,
            `export const auditActions = ${JSON.stringify(auditActions)};`,
            `export const problemMeanings = ${JSON.stringify(meanings)};`,
            `export const eventKinds = ${JSON.stringify(fleetEventKinds)};`,
            `export const CSRF_HEADER = ${JSON.stringify(CSRF_HEADER)};`,
          ].join("\n")
        : undefined,
  };
}

/** The best, 11, takes ten times as long for three percent. */
const BROTLI_QUALITY = 9;

/** Beside each text its compressed forms, so that serving one costs no work. */
function compressed(): Plugin {
  let folder = "dist";
  return {
    name: "wolfpack-compressed",
    apply: "build",
    configResolved({ root, build }) {
      folder = path.resolve(root, build.outDir);
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|svg)$/.test(name)) continue;
        const file = path.join(folder, name);
        const bytes = readFileSync(file);
        writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
        const params = {
          [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
          [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
        };
        writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), contract(), compressed()],
  build: {
    target: "es2022",
    // Small enough to be read in an error report, and nothing of ours is secret.
    sourcemap: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 600,
    manifest: "manifest.json",
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
    // Preloads by <link>; the policy of the page allows no inline script.
    modulePreload: { polyfill: false },
  },
});
