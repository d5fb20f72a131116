/** Who asks, and whether this kind of caller may use a route at all; whose object it is, services decide. */
import type { RequestHandler, Response } from "express";
import type { Identity, Principal, UserPrincipal } from "../identity/principal.ts";
import { ApiError } from "./problem.ts";

function guard(identity: Identity, allowed: (principal: Principal) => boolean): RequestHandler {
  return async (req, res, next) => {
    const principal = await identity.authenticate(req.headers.authorization);
    if (principal === undefined)
      throw new ApiError("unauthenticated", "Send a valid API key as a bearer credential.");
    if (!allowed(principal)) throw new ApiError("forbidden", "This credential may not do that.");
    res.locals.principal = principal;
    next();
  };
}

export const requireUser = (identity: Identity): RequestHandler =>
  guard(identity, (principal) => principal.kind === "user");

export const requireAdmin = (identity: Identity): RequestHandler =>
  guard(identity, (principal) => principal.kind === "user" && principal.role === "admin");

export const requireRunnerOrAdmin = (identity: Identity): RequestHandler =>
  guard(identity, (principal) => principal.kind === "runner" || principal.role === "admin");

/** The user behind a request that passed requireUser or requireAdmin. */
export function userOf(res: Response): UserPrincipal {
  const principal = res.locals.principal as Principal | undefined;
  if (principal?.kind !== "user") throw new Error("a route asks for its user without requireUser");
  return principal;
}
