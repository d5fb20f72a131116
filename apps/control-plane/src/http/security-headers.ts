/** Headers that keep browsers from doing more with an answer than showing it. */
import type { Request, RequestHandler, Response } from "express";
import helmet from "helmet";

/** An API's answers load nothing. */
export const apiHeaders: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  referrerPolicy: { policy: "no-referrer" },
});

/** The same as plain fields, for answers that Express has no part in: what is no request, a refused upgrade. */
export const apiHeaderFields: Readonly<Record<string, string>> = fieldsOf(apiHeaders);

function fieldsOf(middleware: RequestHandler): Record<string, string> {
  const fields: Record<string, string> = {};
  const response = {
    setHeader: (name: string, value: unknown) => {
      fields[name.toLowerCase()] = String(value);
    },
    removeHeader: () => undefined,
  };
  middleware({} as Request, response as unknown as Response, () => undefined);
  return fields;
}

/** Swagger UI: scripts from here only; its stylesheet has inline styles and `data:` images. */
export const swaggerHeaders: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", "data:"],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  referrerPolicy: { policy: "no-referrer" },
});
