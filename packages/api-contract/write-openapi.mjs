// Writes openapi.json from the built schemas: `pnpm --filter @wolfpack/api-contract openapi`.
import { writeFileSync } from "node:fs";
import { openApiDocument } from "./dist/index.js";

writeFileSync(new URL("openapi.json", import.meta.url), `${JSON.stringify(openApiDocument(), null, 2)}\n`);
