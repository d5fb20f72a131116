// Bundles the agent into one file that runs with plain `node`, wherever it is copied.
import { chmodSync, readFileSync } from "node:fs";
import { build } from "esbuild";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
const outfile = "dist/wolf-revdial-client.mjs";

await build({
  entryPoints: ["src/cli.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  legalComments: "inline",
  define: { AGENT_VERSION: JSON.stringify(version) },
  // ws looks for these optional native helpers and does without them.
  external: ["bufferutil", "utf-8-validate"],
  banner: {
    js: [
      "#!/usr/bin/env node",
      'import { createRequire as createRequireOfBundle } from "node:module";',
      "const require = createRequireOfBundle(import.meta.url);",
      "// Node 20 has no Promise.withResolvers (ES2024).",
      "Promise.withResolvers ??= function () { let resolve, reject; const promise = new this((a, b) => { resolve = a; reject = b; }); return { promise, resolve, reject }; };",
    ].join("\n"),
  },
  logLevel: "warning",
});
chmodSync(outfile, 0o755);
