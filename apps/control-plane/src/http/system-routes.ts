/** What every deployment needs and no user owns: liveness, readiness, the OpenAPI document, Swagger UI. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { Router } from "express";
import { version } from "../version.ts";
import { ApiError } from "./problem.ts";
import { swaggerHeaders } from "./security-headers.ts";

export interface SystemRoutesOptions {
  draining: () => boolean;
  /** Rejects when the database does not answer. */
  pingDatabase: () => Promise<void>;
}

const require = createRequire(import.meta.url);

export function systemRoutes({ draining, pingDatabase }: SystemRoutesOptions): Router {
  const router = Router();
  const openApi = readFileSync(require.resolve("@wolfpack/api-contract/openapi.json"));

  router.get("/healthz", (_req, res) => {
    res.json({ status: "ok", version });
  });

  router.get("/readyz", async (_req, res) => {
    if (draining()) throw new ApiError("draining", "This replica is shutting down.");
    await pingDatabase().catch((cause: unknown) => {
      throw new ApiError("database-unavailable", "The database does not answer.", { cause });
    });
    res.json({ status: "ok" });
  });

  router.get("/openapi.json", (_req, res) => {
    res.type("application/json").send(openApi);
  });

  router.use("/swagger", swaggerHeaders, swaggerRoutes());
  return router;
}

const page = `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="UTF-8">
    <title>Wolfpack API</title>
    <link rel="stylesheet" href="./swagger-ui.css">
    <link rel="stylesheet" href="./index.css">
    <link rel="icon" type="image/png" href="./favicon-32x32.png" sizes="32x32">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="./swagger-ui-bundle.js"></script>
    <script src="./initializer.js"></script>
  </body>
</html>
`;

const initializer = `SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The default asks a validator on the internet.
  validatorUrl: null,
});
`;

/** Everything else of the package (source maps, other bundles) stays unserved. */
const assets = ["swagger-ui.css", "index.css", "favicon-32x32.png", "swagger-ui-bundle.js"];

function swaggerRoutes(): Router {
  const router = Router();
  const folder = path.dirname(require.resolve("swagger-ui-dist/package.json"));
  router.get("/", (_req, res) => {
    res.redirect("/swagger/index.html");
  });
  router.get("/index.html", (_req, res) => {
    res.type("html").send(page);
  });
  router.get("/initializer.js", (_req, res) => {
    res.type("text/javascript").send(initializer);
  });
  for (const name of assets) {
    router.get(`/${name}`, (_req, res, next) => {
      // pnpm's store lies below a folder whose name begins with a dot.
      res.sendFile(name, { root: folder, dotfiles: "allow", maxAge: "1h" }, (error) => error && next(error));
    });
  }
  return router;
}
