/** The Express application on one screen: what a request passes, in order, and what is mounted where. */
import express, { type Express, type RequestHandler, type Router } from "express";
import { cors } from "./http/cors.ts";
import { dashboardFiles } from "./http/dashboard-files.ts";
import { methodCheck } from "./http/method-check.ts";
import { ApiError, notFound, problemHandler } from "./http/problem.ts";
import { requestLog } from "./http/request-log.ts";
import { type RequestWatch, requestWatch } from "./http/request-watch.ts";
import { apiHeaders } from "./http/security-headers.ts";
import { systemRoutes } from "./http/system-routes.ts";
import type { Log } from "./logger.ts";

export interface AppOptions {
  log: Log;
  /** Not ready, and no connection is kept; it serves on until it is closing. */
  draining: () => boolean;
  /** Nothing new is taken. */
  closing: () => boolean;
  /** Rejects when the database does not answer. */
  pingDatabase: () => Promise<void>;
  /** POSTs of tunnels over HTTP; see there why they come first. */
  tunnelPosts: RequestHandler;
  /** Of a proxy: whether its forwarded fields are to be believed. */
  trustsProxy: (address: string) => boolean;
  limitByAddress: RequestHandler;
  countCall: RequestHandler;
  /** Who counts and traces. */
  requests: RequestWatch;
  /** GET /metrics. */
  metrics: Router;
  /** Other origins whose pages may call. */
  corsOrigins: readonly string[];
  /** Mounted at /api/v1. */
  routers: readonly Router[];
}

export function createApp(options: AppOptions): Express {
  const { log, draining, closing, pingDatabase, tunnelPosts, trustsProxy, limitByAddress, corsOrigins } =
    options;
  const app = express();
  app.disable("x-powered-by");
  // The API makes its own, of what has one.
  app.disable("etag");
  app.set("trust proxy", trustsProxy);
  // `?a[b]=c` is a parameter named "a[b]", not an object.
  app.set("query parser", "simple");

  app.use(tunnelPosts);
  // Not those of tunnels: what is sent on their connections belongs to this replica.
  app.use(leaving(draining));
  app.use(requestLog(log));
  app.use(requestWatch(options.requests));
  app.use(apiHeaders);
  app.use(cors(corsOrigins));
  app.use(limitByAddress);
  app.use(methodCheck());
  app.use(systemRoutes({ draining, pingDatabase }));
  app.use(options.metrics);
  app.use("/api/v1", refuseWhen(closing), options.countCall, neverStored, ...options.routers);
  app.use(dashboardFiles());
  app.use(notFound);
  app.use(problemHandler(log));
  return app;
}

const neverStored: RequestHandler = (_req, res, next) => {
  res.setHeader("cache-control", "no-store");
  next();
};

/** Whoever keeps a connection makes its next one, to another replica if a load balancer stands in between. */
function leaving(draining: () => boolean): RequestHandler {
  return (_req, res, next) => {
    if (draining()) res.setHeader("connection", "close");
    next();
  };
}

function refuseWhen(closing: () => boolean): RequestHandler {
  return (_req, _res, next) => {
    if (closing()) throw new ApiError("draining", "This replica is shutting down.");
    next();
  };
}
