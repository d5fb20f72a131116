/**
 * Every setting of the agent in one table: flag, variables, meaning. The command line, the configuration and the README's
 * table come from it, and an error can name the flag and the variable.
 */

export interface Setting {
  /** Commander's form, with the value's placeholder. */
  flag: string;
  /** First one that is set wins; a flag wins over all. */
  env: readonly string[];
  meaning: string;
  default?: string;
  repeatable?: true;
}

export const settings = {
  apiUrl: {
    flag: "--api-url <url>",
    env: ["WOLFPACK_API_URL", "HELIX_API_URL"],
    meaning: "Control plane, http:// or https://",
  },
  wolfId: { flag: "--wolf-id <name>", env: ["WOLF_ID"], meaning: "Name of this wolf in the fleet" },
  sessionId: {
    flag: "--session-id <id>",
    env: ["WOLFPACK_SESSION_ID"],
    meaning: "Inside a sandbox: serve this session's screen, with its owner's API key; instead of --wolf-id",
  },
  tokenFile: {
    flag: "--token-file <path>",
    env: ["RUNNER_TOKEN_FILE"],
    meaning: "File with the runner token; - reads stdin",
  },
  token: {
    flag: "--token <token>",
    env: ["RUNNER_TOKEN"],
    meaning: "The runner token itself; as a flag others can see it",
  },
  joinTokenFile: {
    flag: "--join-token-file <path>",
    env: ["JOIN_TOKEN_FILE"],
    meaning:
      "File with a join token, with which this host enrols once; - reads stdin; JOIN_TOKEN holds one itself",
  },
  local: {
    flag: "--local <target>",
    env: ["WOLFPACK_LOCAL"],
    meaning: "Wolf's API: unix:///path or host:port",
    default: "localhost:8080",
  },
  service: {
    flag: "--service <name=target>",
    env: ["WOLFPACK_SERVICES"],
    meaning: "screen=unix:///path or screen=host:port; {session} stands for the session's id",
    repeatable: true,
  },
  policyFile: {
    flag: "--policy-file <path>",
    env: ["WOLFPACK_POLICY_FILE"],
    meaning: "JSON: what the guard lets through to Wolf beyond, or short of, the default",
  },
  gpuType: {
    flag: "--gpu-type <type>",
    env: ["GPU_TYPE"],
    meaning: "nvidia, amd, intel or none; detected when not given",
  },
  gpuFolder: {
    flag: "--gpu-folder <path>",
    env: ["WOLFPACK_GPU_FOLDER"],
    meaning: "Where the kernel's graphics cards are looked for",
    default: "/sys/class/drm",
  },
  maxSandboxes: {
    flag: "--max-sandboxes <n>",
    env: ["WOLFPACK_MAX_SANDBOXES"],
    meaning: "Sandboxes at once, 1 to 1000",
    default: "12",
  },
  encoderSessionsMax: {
    flag: "--encoder-sessions-max <n>",
    env: ["WOLFPACK_ENCODER_SESSIONS_MAX"],
    meaning: "Video streams that the GPU can encode at once, 1 to 1000; not limited when not given",
  },
  region: { flag: "--region <name>", env: ["WOLFPACK_REGION"], meaning: "Region, for display and placement" },
  label: {
    flag: "--label <key=value>",
    env: ["WOLFPACK_LABELS"],
    meaning: "Labels, at most 32",
    repeatable: true,
  },
  costPerHour: {
    flag: "--cost-per-hour <amount>",
    env: ["WOLFPACK_COST_PER_HOUR"],
    meaning: "Cost per hour, any currency",
  },
  address: {
    flag: "--address <text>",
    env: ["WOLFPACK_ADDRESS"],
    meaning: "Address for display; nothing connects to it",
  },
  disk: {
    flag: "--disk <path>",
    env: ["WOLFPACK_DISKS"],
    meaning: "Mounts to watch, at most 32; all local disks when not given",
    repeatable: true,
  },
  diskWarningPercent: {
    flag: "--disk-warning-percent <percent>",
    env: ["WOLFPACK_DISK_WARNING_PERCENT"],
    meaning: "Used share at which a mount's level is warning, 1 to 100",
    default: "85",
  },
  diskCriticalPercent: {
    flag: "--disk-critical-percent <percent>",
    env: ["WOLFPACK_DISK_CRITICAL_PERCENT"],
    meaning: "Used share at which a mount is critical and its wolf degraded, 1 to 100",
    default: "95",
  },
  diskFreeMinGib: {
    flag: "--disk-free-min-gib <gib>",
    env: ["WOLFPACK_DISK_FREE_MIN_GIB"],
    meaning:
      "Free GiB below which a mount is critical at any share, 0 to 100000; a tenth of a small mount counts instead",
    default: "5",
  },
  reconnect: {
    flag: "--reconnect <seconds>",
    env: ["WOLFPACK_RECONNECT_SECONDS"],
    meaning:
      "Longest wait between two tries, 1 to 3600; over HTTP also from one try of a WebSocket to the next",
    default: "30",
  },
  connections: {
    flag: "--connections <n>",
    env: ["WOLFPACK_CONNECTIONS"],
    meaning: "Tunnels at once, 1 to 8, at as many replicas of the control plane where there are so many",
    default: "1",
  },
  protocol: {
    flag: "--protocol <name>",
    env: ["WOLFPACK_PROTOCOL"],
    meaning: "What the control plane speaks: native, or helix as a Helix control plane does",
    default: "native",
  },
  transport: {
    flag: "--transport <kind>",
    env: ["WOLFPACK_TRANSPORT"],
    meaning: "What carries the tunnel: auto, websocket or http; auto falls back to plain HTTP",
    default: "auto",
  },
  caFile: {
    flag: "--ca-file <path>",
    env: ["WOLFPACK_CA_FILE"],
    meaning: "PEM certificates to trust instead of Node's own; the system's are trusted only when given here",
  },
  insecure: {
    flag: "--insecure",
    env: ["WOLFPACK_INSECURE"],
    meaning: "Accept any certificate (1 or true in the variable)",
  },
  stateDir: {
    flag: "--state-dir <path>",
    env: ["WOLFPACK_STATE_DIR", "STATE_DIRECTORY"],
    meaning: "Directory for what outlives this process; used if it can be when not given",
    default: "/var/lib/wolf-revdial-client",
  },
  healthListen: {
    flag: "--health-listen <address>",
    env: ["WOLFPACK_HEALTH_LISTEN"],
    meaning: "host:port of /healthz, /readyz and /metrics, on loopback; off when not given",
  },
  healthRemote: {
    flag: "--health-remote",
    env: ["WOLFPACK_HEALTH_REMOTE"],
    meaning: "Allow --health-listen beyond loopback (1 or true in the variable)",
  },
  logLevel: {
    flag: "--log-level <level>",
    env: ["WOLFPACK_LOG_LEVEL"],
    meaning: "fatal, error, warn, info, debug, trace or silent",
    default: "info",
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;
export const settingNames = Object.keys(settings) as SettingName[];

/** What the command line gave, before it is checked. */
export type Flags = { [Name in SettingName]?: string | string[] | boolean | undefined };

/** How an error names a setting. */
export function describeSetting(name: SettingName): string {
  const { flag, env } = settings[name];
  return `${flag.split(" ")[0]} (${env.join(", ")})`;
}
