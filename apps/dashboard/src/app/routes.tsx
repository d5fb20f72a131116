/** Every page, by its address: loaded when it is first opened. What the navigation shows is here too. */

import type { QueryClient } from "@tanstack/react-query";
import { createRootRoute, createRoute, lazyRouteComponent, redirect } from "@tanstack/react-router";
import type { Action } from "@wolfpack/api-contract";
import { ApiFailure, call } from "../api/client.ts";
import { keyOf } from "../api/queries.ts";
import { LoginPage } from "../pages/login/login-page.tsx";
import type { IconName } from "../ui/icon.tsx";
import { NotFound } from "./not-found.tsx";
import { WholeFailure } from "./page-failure.tsx";
import { Root } from "./root.tsx";
import { Shell } from "./shell.tsx";

let client: QueryClient;
/** Before the router is made. */
export function provideClient(given: QueryClient): void {
  client = given;
}

const root = createRootRoute({
  component: Root,
  notFoundComponent: NotFound,
  errorComponent: WholeFailure,
});

const login = createRoute({ getParentRoute: () => root, path: "/login", component: LoginPage });

/** Everything but the login: only for those who are signed in. */
const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  component: Shell,
  errorComponent: WholeFailure,
  async beforeLoad({ location }) {
    try {
      await client.ensureQueryData({
        queryKey: keyOf("getMe"),
        queryFn: async ({ signal }) => (await call("getMe", undefined, { signal })).body,
      });
    } catch (error) {
      if (!(error instanceof ApiFailure) || error.status !== 401) throw error;
      const next = location.href === "/" ? undefined : location.href;
      throw redirect({ to: "/login", search: { next } as never, replace: true });
    }
  },
});

const page = <Path extends string>(path: Path, load: Parameters<typeof lazyRouteComponent>[0]) =>
  createRoute({ getParentRoute: () => shell, path, component: lazyRouteComponent(load as never) });

const fleet = page("/", () => import("../pages/fleet/fleet-page.tsx"));
const topology = page("/topology", () => import("../pages/topology/topology-page.tsx"));
const wolf = page("/wolves/$id", () => import("../pages/wolf/wolf-page.tsx"));
const sessions = page("/sessions", () => import("../pages/sessions/sessions-page.tsx"));
const createSession = page("/sessions/new", () => import("../pages/create-session/create-session-page.tsx"));
const session = page("/sessions/$id", () => import("../pages/session/session-page.tsx"));
const queue = page("/queue", () => import("../pages/queue/queue-page.tsx"));
const events = page("/events", () => import("../pages/events/events-page.tsx"));
const audit = page("/audit", () => import("../pages/audit/audit-page.tsx"));
const access = page("/access", () => import("../pages/access/access-page.tsx"));
const health = page("/health", () => import("../pages/health/health-page.tsx"));

export const routeTree = root.addChildren([
  login,
  shell.addChildren([
    fleet,
    topology,
    wolf,
    sessions,
    createSession,
    session,
    queue,
    events,
    audit,
    access,
    health,
  ]),
]);

export interface NavItem {
  to: "/" | "/topology" | "/sessions" | "/queue" | "/events" | "/audit" | "/access" | "/health";
  label: string;
  icon: IconName;
  /** Shown only to those who may do one of these. */
  actions: readonly Action[];
}

export const navigation: readonly NavItem[] = [
  { to: "/", label: "Fleet", icon: "fleet", actions: ["wolf.read"] },
  { to: "/topology", label: "Topology", icon: "topology", actions: ["wolf.read"] },
  { to: "/sessions", label: "Sessions", icon: "sessions", actions: ["session.read"] },
  { to: "/queue", label: "Queue", icon: "queue", actions: ["session.read"] },
  { to: "/events", label: "Events", icon: "events", actions: ["event.read"] },
  { to: "/audit", label: "Audit", icon: "audit", actions: ["audit.read"] },
  { to: "/access", label: "Access", icon: "access", actions: ["api-key.read", "user.read"] },
  { to: "/health", label: "Health", icon: "health", actions: ["health.read" as Action] },
];
