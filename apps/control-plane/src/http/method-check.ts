/** A known path with another method is 405 with `Allow`, before anything else looks at the request. */
import { operations } from "@wolfpack/api-contract";
import type { RequestHandler } from "express";
import { ApiError } from "./problem.ts";

interface KnownPath {
  pattern: RegExp;
  methods: Set<string>;
}

/** From the contract's table; Express matches without regard to case and to one slash at the end, so this does too. */
function knownPaths(): KnownPath[] {
  const paths = new Map<string, Set<string>>();
  for (const { path, method } of Object.values(operations)) {
    const methods = paths.get(path) ?? new Set();
    methods.add(method);
    if (method === "GET") methods.add("HEAD");
    paths.set(path, methods);
  }
  return [...paths].map(([path, methods]) => {
    const source = path.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+");
    return { pattern: new RegExp(`^${source}/?$`, "i"), methods };
  });
}

export function methodCheck(): RequestHandler {
  const known = knownPaths();
  return (req, _res, next) => {
    const fitting = known.filter(({ pattern }) => pattern.test(req.path));
    if (fitting.length > 0 && !fitting.some(({ methods }) => methods.has(req.method))) {
      const allow = [...new Set(fitting.flatMap(({ methods }) => [...methods]))].sort().join(", ");
      throw new ApiError("method-not-allowed", `This route knows ${allow}.`, { headers: { allow } });
    }
    next();
  };
}
