/**
 * What the owner of a host lets through the guard beyond, or short of, what a control plane needs. A file of JSON; everything
 * in it is optional, and an empty object is the policy that holds without a file.
 */
import { z } from "zod";
import {
  type ClassLimits,
  classLimits,
  type RouteClass,
  routeName,
  type WolfRoute,
  wolfRoutes,
} from "./routes.ts";
import { StateFolder } from "./schemas.ts";

const openable = new Set(wolfRoutes.filter((route) => route.closed && !route.never).map(routeName));
const closable = new Set(wolfRoutes.filter((route) => !route.closed).map(routeName));
const routesAmong = (names: ReadonlySet<string>, why: string) =>
  z
    .array(z.string().refine((name) => names.has(name), why))
    .max(wolfRoutes.length)
    .default([]);
const WOLF_FOLDER = "/etc/wolf";
const folder = z
  .string()
  .max(1024)
  .refine(
    (path) => path.startsWith("/") && !path.split("/").some((part) => part === "." || part === ".."),
    "is not an absolute folder without dot segments",
  );

/** Wolf's configuration and its key lie in cfg; fake-udev runs as root in every sandbox. */
const stateFolder = StateFolder.refine(
  (path) => !/^(cfg|fake-udev)(\/|$)/.test(path),
  "holds what Wolf itself trusts",
);

/** No part of Wolf's own folder, and nothing above it: a home there would hold its key. */
const homesFolder = folder.refine(
  (path) =>
    /^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/.test(path) &&
    !`${WOLF_FOLDER}/`.startsWith(`${path}/`) &&
    !path.startsWith(`${WOLF_FOLDER}/`),
  "is not a plain folder apart from Wolf's own",
);

export const WolfPolicy = z.strictObject({
  /** Routes to open, as "POST /api/v1/lobbies/join". */
  open: routesAmong(openable, "is not a route that a policy can open"),
  /** Routes to close that are open otherwise. */
  close: routesAmong(closable, "is not a route that is open without a policy"),
  /** Host folders that a sandbox may mount something from. */
  mount_folders: z.array(folder).max(64).default([]),
  /**
   * Folders below Wolf's state folder, as "wolfpack". A sandbox mounts, writable, a folder exactly one name below one of
   * them. None lies below another: there a sandbox could plant a symbolic link for the next mount to follow.
   */
  state_folders: z
    .array(stateFolder)
    .min(1)
    .max(64)
    .refine(
      (folders) => !folders.some((inner) => folders.some((outer) => inner.startsWith(`${outer}/`))),
      "has a folder below another",
    )
    .default(["wolfpack"]),
  /**
   * Where a Helix control plane has the homes of its sandboxes, as "/wolf-state": its creations, which have a shape of their own, may
   * pass, with a home exactly one name below, also one of before. Null: they are refused.
   */
  helix_homes: homesFolder.nullable().default(null),
  /** How the names of images have to begin. Null: any image. */
  image_prefixes: z.array(z.string().min(1).max(255)).max(64).nullable().default(null),
  /** Commands as root in Wolf's container. */
  process_runners: z.boolean().default(false),
  /** A Docker create document of the caller's choice: root on the host. */
  base_create_json: z.boolean().default(false),
  /** GStreamer pipelines of the caller's choice in apps and profiles: they write files as root. */
  pipelines: z.boolean().default(false),
  /** Leave keys and PINs in replies. */
  secrets: z.boolean().default(false),
});
export type WolfPolicy = z.infer<typeof WolfPolicy>;

export const defaultWolfPolicy: WolfPolicy = Object.freeze(WolfPolicy.parse({}));

export type PolicyReading = { ok: true; policy: WolfPolicy } | { ok: false; reason: string };

/** A policy file's text; the reason names the place that is wrong. */
export function readWolfPolicy(fileText: string): PolicyReading {
  let json: unknown;
  try {
    json = JSON.parse(fileText);
  } catch (error) {
    // Not its words: they quote the file, which may be the token's by mistake.
    const [place] = / \(line \d+ column \d+\)$/.exec(String(error)) ?? [""];
    return { ok: false, reason: `it is not JSON${place}` };
  }
  const parsed = WolfPolicy.safeParse(json);
  if (parsed.success) return { ok: true, policy: parsed.data };
  const [issue] = parsed.error.issues;
  const place = issue?.path.map(String).join(".") || "the document";
  return { ok: false, reason: `${place}: ${issue?.message ?? "invalid"}`.slice(0, 300) };
}

/** Why the route is closed under this policy; undefined: it is open. */
export function closedBecause(route: WolfRoute, policy: WolfPolicy): string | undefined {
  if (route.closed === undefined)
    return policy.close.includes(routeName(route)) ? "the policy of this host closes it" : undefined;
  return !route.never && policy.open.includes(routeName(route)) ? undefined : route.closed;
}

export interface EffectivePolicy extends Omit<WolfPolicy, "open" | "close"> {
  open: string[];
  closed: { route: string; because: string }[];
  limits: Record<RouteClass, ClassLimits>;
}

/** The policy as it works, for people: every route with its state, and the limits. */
export function effectivePolicy(policy: WolfPolicy): EffectivePolicy {
  const { open: _open, close: _close, ...rules } = policy;
  const states = wolfRoutes.map((route) => ({
    route: routeName(route),
    because: closedBecause(route, policy),
  }));
  return {
    ...rules,
    open: states.filter(({ because }) => because === undefined).map(({ route }) => route),
    closed: states.flatMap(({ route, because }) => (because === undefined ? [] : [{ route, because }])),
    limits: { ...classLimits },
  };
}

/** The same as an answer of the API: snake_case, and `per-host` as the number it is there. */
export function policyDocument(policy: WolfPolicy, createsMax: number) {
  const { limits, ...rules } = effectivePolicy(policy);
  const limitsOf = ({ concurrentMax, waitingMax, waitMs, timeoutMs }: ClassLimits) => ({
    concurrent_max: concurrentMax === "per-host" ? createsMax : concurrentMax,
    waiting_max: waitingMax,
    wait_ms: waitMs,
    timeout_ms: timeoutMs,
  });
  return {
    ...rules,
    limits: {
      read: limitsOf(limits.read),
      change: limitsOf(limits.change),
      create: limitsOf(limits.create),
      pull: limitsOf(limits.pull),
    },
  };
}
