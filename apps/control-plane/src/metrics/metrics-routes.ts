/** GET /metrics: for operators and admins by their API key, and for whoever has the token that was made for it alone. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type Request, Router } from "express";
import { ApiError } from "../http/problem.ts";
import { aboutOf } from "../http/request-about.ts";
import { requestIdOf } from "../http/request-id.ts";
import type { AuditLog } from "../identity/audit.ts";
import { decide } from "../identity/policy.ts";
import type { Identity, Principal } from "../identity/principal.ts";
import type { Metrics } from "./metrics.ts";

export interface MetricsRoutesOptions {
  metrics: Pick<Metrics, "text" | "contentType">;
  identity: Identity;
  audit: AuditLog;
  /** Undefined: API keys only. */
  token: string | undefined;
  /** Once it is clear that nobody known calls. Throws to refuse with something else. */
  onUnknown: (request: Request) => void;
}

export function metricsRoutes({ metrics, identity, audit, token, onUnknown }: MetricsRoutesOptions): Router {
  const router = Router();
  const tokenHash = token === undefined ? undefined : hashOf(token);

  function isToken({ headers }: Request): boolean {
    const [, shown] = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(headers.authorization ?? "") ?? [];
    return tokenHash !== undefined && shown !== undefined && timingSafeEqual(hashOf(shown), tokenHash);
  }

  router.get("/metrics", async (request, response) => {
    const about = aboutOf(response);
    about.operation = "getMetrics";
    const denied = async (principal: Principal | undefined, code: "unauthenticated" | "forbidden") => {
      const requestId = requestIdOf(response);
      await audit.record({
        principal,
        action: "metrics.read",
        result: "denied",
        code,
        requestId,
        address: request.ip,
      });
    };
    if (!isToken(request)) {
      const principal = await identity.authenticate(request.headers);
      if (principal === undefined) {
        onUnknown(request);
        await denied(undefined, "unauthenticated");
        throw new ApiError(
          "unauthenticated",
          "Send the API key of an operator or an admin, or the metrics token, as a bearer credential.",
        );
      }
      about.principal = principal;
      if (decide(principal, "metrics.read") !== "allowed") {
        await denied(principal, "forbidden");
        throw new ApiError("forbidden", "This credential may not do that.");
      }
    }
    const text = await metrics.text();
    response.set("cache-control", "no-store").type(metrics.contentType).send(Buffer.from(text));
  });
  return router;
}

const hashOf = (text: string) => createHash("sha256").update(text).digest();
