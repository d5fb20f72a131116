/** The dashboard: files that its build has left, and its one page for every address that no part of the API has. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type RequestHandler, type Response, Router } from "express";
import helmet from "helmet";
import { ApiError } from "./problem.ts";

/** Beside this workspace, from sources and from the build alike. Nothing is imported from there. */
export const dashboardFolder = fileURLToPath(new URL("../../../dashboard/dist", import.meta.url));

/** What the build puts where the page's nonce belongs. */
const NONCE_PLACE = "%%NONCE%%";
const NONCE_BYTES = 16;
/** One segment without a leading dot; what is not there is 404. */
const assetName = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*\.(js|css|svg|woff2)$/;
/** Below these, an unknown address is a caller's mistake and no page. */
const notPages = /^\/(api|swagger|assets|revdial|metrics|healthz|readyz|openapi\.json)(\/|$)/;

export function dashboardFiles(folder = dashboardFolder): Router {
  const router = Router();
  router.get("/assets/:name", (req, res, next) => {
    const { name } = req.params;
    if (!assetName.test(name)) return next();
    // The name has the hash of its content.
    send({ folder: `${folder}/assets`, name, cache: "public, max-age=31536000, immutable" }, req, res, next);
  });
  for (const name of ["theme.js", "favicon.svg"])
    router.get(`/${name}`, (req, res, next) => send({ folder, name, cache: "no-cache" }, req, res, next));
  router.get(/.*/, async (req, res, next) => {
    if (notPages.test(req.path)) return next();
    // Whoever asks for JSON, or for anything, gets the API's own 404.
    if (req.path !== "/" && !/text\/html/i.test(req.headers.accept ?? "")) return next();
    await sendPage(folder, res);
  });
  return router;
}

/** Read each time: it is small, and a newer build is served at once. */
async function sendPage(folder: string, response: Response): Promise<void> {
  const page = await readFile(`${folder}/index.html`, "utf8").catch((cause: unknown) => {
    throw new ApiError("not-found", "The dashboard is not built: npm run build.", { cause });
  });
  const nonce = randomBytes(NONCE_BYTES).toString("base64");
  pageHeaders(nonce)(response.req, response, () => undefined);
  response.setHeader("cache-control", "no-cache");
  response.type("html").send(page.replace(NONCE_PLACE, nonce));
}

/**
 * Scripts and styles from here only, and styles that the page's own scripts make with its nonce; pictures from here, or made by the
 * page from bytes that it has looked at.
 */
function pageHeaders(nonce: string): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        styleSrc: ["'self'", `'nonce-${nonce}'`],
        imgSrc: ["'self'", "blob:"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    referrerPolicy: { policy: "no-referrer" },
  });
}

type Sent = { folder: string; name: string; cache: string };

/** As it was compressed when it was built, where its reader takes that. */
function send({ folder, name, cache }: Sent, ...[req, res, next]: Parameters<RequestHandler>): void {
  const taken = /\.(js|css|svg)$/.test(name) ? req.acceptsEncodings("br", "gzip", "identity") : false;
  const suffix = { br: ".br", gzip: ".gz" }[String(taken)] ?? "";
  const headers = {
    vary: "accept-encoding",
    "cache-control": cache,
    ...(suffix ? { "content-encoding": String(taken) } : {}),
  };
  res.type(name.slice(name.lastIndexOf(".")));
  const options = { root: folder, headers, cacheControl: false, dotfiles: "allow" } as const;
  res.sendFile(`${name}${suffix}`, options, (error) => {
    if (!error || res.headersSent) return;
    for (const header of [...Object.keys(headers), "content-type"]) res.removeHeader(header);
    const status = (error as { statusCode?: number }).statusCode;
    next(status === 404 ? undefined : error);
  });
}
