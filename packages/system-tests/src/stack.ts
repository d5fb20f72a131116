/** The whole fleet as real processes: a control plane with its own PostgreSQL, three emulated Wolfs, an agent beside each. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type WolfInstance, type WolfpackClient, wolfpackClient } from "@wolfpack/api-contract";
import type { WolfGeneration } from "@wolfpack/wolf-api/emulator";
import { Child, ChildFailed } from "./child.ts";

export { ChildFailed } from "./child.ts";

export interface HostPlan {
  name: string;
  gpu: "nvidia" | "amd" | "intel" | "none";
  maxSandboxes: number;
  /** Of its Wolf's API. Default: the newest. */
  generation?: WolfGeneration;
  /** Where its agent dials, such as a proxy. Default: the control plane itself. */
  apiUrl?: string;
  /** More flags of its agent, such as its address. */
  agentFlags?: Record<string, string>;
  /** What its agent is started through, such as a network namespace. */
  agentThrough?: readonly string[];
  /** More of its agent's environment. */
  agentEnv?: Record<string, string>;
  /** More flags of its emulated Wolf. */
  wolfFlags?: readonly string[];
  /** Puts something between agent and Wolf: gets Wolf's socket, resolves to the one that the agent is led to. */
  between?: (wolfSocket: string) => Promise<string>;
}

export const threeHosts: readonly HostPlan[] = [
  { name: "nvidia-1", gpu: "nvidia", maxSandboxes: 10 },
  { name: "nvidia-2", gpu: "nvidia", maxSandboxes: 10 },
  { name: "amd-1", gpu: "amd", maxSandboxes: 8 },
];

export interface StackOptions {
  dataDir: string;
  port: number;
  hosts: readonly HostPlan[];
  /** What the control plane is started through, such as a limit of its resources. */
  through?: readonly string[];
  /** Control planes that somebody else runs. Default: one of our own. */
  at?: { baseUrl: string; adminKey: string };
  /** More settings of the control plane. */
  env?: Record<string, string>;
  /** Hears each line that the control plane logs. */
  onLogLine?: (line: string) => void;
  say: (line: string) => void;
  /** A process ended that nobody stopped. */
  onCrash: (name: string, exitCode: number) => void;
}

/** From src and from dist alike. */
export const root = fileURLToPath(new URL("../../..", import.meta.url));
export const controlPlaneMain = path.join(root, "apps/control-plane/dist/main.js");
/** As in the containers: bodies in buffers are given back at once (docs/performance.md). */
const YOUNG_SPACE = "--max-semi-space-size=1";
/** Nothing can be written through `__proto__`. Not "throw": a header field of that name would end Node's server. */
const NO_PROTO = "--disable-proto=delete";
export const agentBundle = path.join(root, "apps/wolf-revdial-client/dist/wolf-revdial-client.mjs");
const emulatorCli = path.join(
  path.dirname(createRequire(import.meta.url).resolve("@wolfpack/wolf-api/emulator")),
  "cli.js",
);

interface Host {
  plan: HostPlan;
  socketPath: string;
  /** Where the agent finds Wolf. */
  localPath: string;
  folder: string;
  wolf: Child | undefined;
  agent: Child | undefined;
}

export class Stack {
  readonly baseUrl: string;
  readonly adminKey: string;
  /** Logs of all processes. */
  readonly logFolder: string;
  private readonly options: StackOptions;
  private readonly runFolder: string;
  private controlPlane: Child | undefined;
  private readonly hosts = new Map<string, Host>();
  private stopping = false;

  private constructor(options: StackOptions, runFolder: string, served: Served) {
    this.options = options;
    this.runFolder = runFolder;
    this.controlPlane = served.child;
    this.baseUrl = served.baseUrl;
    this.adminKey = served.adminKey;
    this.logFolder = path.join(options.dataDir, "logs");
    if (served.child !== undefined) this.watch(served.child);
  }

  /** Everything up and every wolf online. Rejects with ChildFailed, one sentence, after stopping what had started. */
  static async start(options: StackOptions): Promise<Stack> {
    const { dataDir, say } = options;
    const logFolder = path.join(dataDir, "logs");
    try {
      mkdirSync(logFolder, { recursive: true });
    } catch {
      throw new ChildFailed(`The data directory ${dataDir} cannot be used: move it away or set DATA_DIR.`);
    }
    // Unix socket paths have at most 107 bytes, wherever the clone lies.
    const runFolder = mkdtempSync(path.join(os.platform() === "win32" ? os.tmpdir() : "/tmp", "wp-"));
    let stack: Stack | undefined;
    try {
      stack = new Stack(options, runFolder, await served(options));
      say(`Starting ${options.hosts.length} emulated Wolfs and their agents …`);
      await Promise.all(options.hosts.map((plan) => (stack as Stack).startHost(plan)));
      await stack.until("every wolf is online", async (api) => {
        const { body } = await api.call("listWolves", { query: { status: "online" } });
        // A wolf is online from its registration on, and takes sessions once its Wolf was asked what it runs. One that lacks
        // the routes for it never can be.
        const isKnown = ({ reconciled, wolf_capabilities }: WolfInstance) =>
          reconciled || (wolf_capabilities?.missing ?? []).length > 0;
        const online = new Set(body.filter(isKnown).map(({ name }) => name));
        return options.hosts.every((plan) => online.has(plan.name));
      });
      return stack;
    } catch (error) {
      if (stack) await stack.stop();
      else rmSync(runFolder, { recursive: true, force: true });
      throw error;
    }
  }

  client(apiKey = this.adminKey): WolfpackClient {
    return wolfpackClient({ baseUrl: this.baseUrl, apiKey });
  }

  socketOf(name: string): string {
    return this.host(name).socketPath;
  }

  /** Where a host keeps its sockets, and where its agent finds programs. */
  folderOf(name: string): string {
    return this.host(name).folder;
  }

  private host(name: string): Host {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  /** A Wolf and its agent, beside those of the start. Resolves before the agent is connected. */
  async startHost(plan: HostPlan): Promise<void> {
    const folder = path.join(this.runFolder, plan.name);
    mkdirSync(folder);
    // What an agent keeps belongs to the data, as its wolf does; the sockets beside it need a short path.
    const state = path.join(this.options.dataDir, "hosts", plan.name);
    mkdirSync(state, { recursive: true, mode: 0o700 });
    symlinkSync(state, path.join(folder, "state"));
    const socketPath = path.join(folder, "wolf.sock");
    const host: Host = { plan, socketPath, localPath: socketPath, folder, wolf: undefined, agent: undefined };
    this.hosts.set(plan.name, host);
    await this.startWolf(plan.name);
    if (plan.between !== undefined) host.localPath = await plan.between(socketPath);
    // Used where the host has no key yet, or where its data were moved away: then it is how an operator replaces a host.
    const { body } = await this.client().createJoinToken({ body: { wolf_name: plan.name } });
    writeFileSync(path.join(folder, "join-token"), body.token, { mode: 0o600 });
    await this.startAgent(plan.name);
  }

  /** Starts the Wolf of a host that has none: it knows nothing of what ran before. */
  async startWolf(name: string): Promise<void> {
    const host = this.host(name);
    const { plan, folder, socketPath } = host;
    const generation = plan.generation === undefined ? [] : ["--generation", plan.generation];
    const flags = [
      "--socket",
      socketPath,
      "--state-folder",
      folder,
      ...generation,
      ...(plan.wolfFlags ?? []),
    ];
    host.wolf = await Child.start({
      name: `Wolf of ${name}`,
      command: [process.execPath, emulatorCli, ...flags],
      logFile: path.join(this.logFolder, `${name}.wolf.log`),
      isReady: (line) => line.includes('"ready":true'),
    });
    this.watch(host.wolf);
  }

  /** Starts the agent of a host that has none, with more of an environment if given. */
  async startAgent(name: string, env: Record<string, string> = {}): Promise<void> {
    const host = this.host(name);
    const { plan, folder, localPath } = host;
    const flags = {
      "--api-url": plan.apiUrl ?? this.baseUrl,
      "--wolf-id": plan.name,
      "--local": `unix://${localPath}`,
      "--service": `screen=unix://${folder}/wolfpack/{session}/screen.sock`,
      "--gpu-type": plan.gpu,
      "--gpu-folder": cardOf(plan, folder),
      "--max-sandboxes": String(plan.maxSandboxes),
      "--reconnect": "2",
      "--state-dir": path.join(folder, "state"),
      // In a file: what a process is started with can be read from outside of it.
      "--join-token-file": path.join(folder, "join-token"),
      ...plan.agentFlags,
    };
    const agent = await Child.start({
      name: `agent of ${plan.name}`,
      command: [
        ...(plan.agentThrough ?? []),
        process.execPath,
        YOUNG_SPACE,
        agentBundle,
        "connect",
        ...Object.entries(flags).flat(),
      ],
      // An emulated host has the tools of this machine no more than its graphics cards.
      env: { PATH: folder, ...plan.agentEnv, ...env },
      // Whether it is connected, the API says.
      logFile: path.join(this.logFolder, `${plan.name}.agent.log`),
    });
    host.agent = agent;
    this.watch(agent);
  }

  /** Starts another agent beside the one that runs, as an upgrade does; resolves to the exit code of the old one. */
  async handOver(name: string): Promise<number> {
    const { agent } = this.host(name);
    await this.startAgent(name);
    return (await agent?.exited) ?? 0;
  }

  /** The agent is gone without a word, as in a crash. */
  async killAgent(name: string): Promise<void> {
    const host = this.host(name);
    const { agent } = host;
    host.agent = undefined;
    agent?.kill();
    await agent?.exited;
  }

  /** The control plane stands still, with all its connections open, until `resumeControlPlane`. */
  pauseControlPlane(): void {
    this.controlPlane?.pause();
  }

  resumeControlPlane(): void {
    this.controlPlane?.resume();
  }

  /** The control plane is gone without a word; its own PostgreSQL ends with it. */
  async killControlPlane(): Promise<void> {
    const { controlPlane } = this;
    this.controlPlane = undefined;
    controlPlane?.kill();
    await controlPlane?.exited;
  }

  /** Starts it again on the same port and data; resolves when it serves. */
  async startControlPlane(): Promise<void> {
    const { child } = await startedControlPlane(this.options, Number(new URL(this.baseUrl).port));
    this.controlPlane = child;
    this.watch(child);
  }

  /** Wolf is gone without a word, and its sandboxes with it. */
  async killWolf(name: string): Promise<void> {
    const host = this.host(name);
    const { wolf } = host;
    host.wolf = undefined;
    wolf?.kill();
    await wolf?.exited;
  }

  private watch(child: Child): void {
    void child.exited.then((code) => {
      const wanted =
        child === this.controlPlane ||
        [...this.hosts.values()].some((host) => host.wolf === child || host.agent === child);
      if (wanted && !this.stopping) this.options.onCrash(child.name, code);
    });
  }

  /** Asks the API until the answer is yes; rejects after `limitMs` with the last reason. */
  async until(
    what: string,
    holds: (api: WolfpackClient) => Promise<boolean>,
    limitMs = 30_000,
  ): Promise<void> {
    const until = Date.now() + limitMs;
    let why = "";
    while (Date.now() < until) {
      try {
        if (await holds(this.client())) return;
      } catch (error) {
        why = ` (${error instanceof Error ? error.message : String(error)})`;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new ChildFailed(
      `Waited ${limitMs / 1000} s in vain: ${what}${why}. The logs are in ${this.logFolder}.`,
    );
  }

  /** Agents first, then Wolfs, then the control plane: each says its goodbye to somebody who still listens. */
  async stop(): Promise<void> {
    this.stopping = true;
    const hosts = [...this.hosts.values()];
    await Promise.all(hosts.map((host) => host.agent?.stop()));
    await Promise.all(hosts.map((host) => host.wolf?.stop()));
    await this.controlPlane?.stop();
    rmSync(this.runFolder, { recursive: true, force: true });
  }
}

interface Served {
  baseUrl: string;
  adminKey: string;
  child: Child | undefined;
}

async function served(options: StackOptions): Promise<Served> {
  if (options.at !== undefined) return { ...options.at, child: undefined };
  options.say("Starting the control plane and its PostgreSQL …");
  const { child, port } = await startedControlPlane(options, options.port);
  const adminKey = readFileSync(path.join(options.dataDir, "admin-api-key"), "utf8").trim();
  return { baseUrl: `http://127.0.0.1:${port}`, adminKey, child };
}

/** A control plane that serves, and where. */
export async function startedControlPlane(
  { dataDir, env, onLogLine, through = [] }: Pick<StackOptions, "dataDir" | "env" | "onLogLine" | "through">,
  port: number,
  name = "control-plane",
): Promise<{ child: Child; port: number }> {
  let served = port;
  const child = await Child.start({
    name: name.replaceAll("-", " "),
    command: [...through, process.execPath, YOUNG_SPACE, NO_PROTO, controlPlaneMain],
    env: { DATA_DIR: dataDir, PORT: String(port), ...env },
    logFile: path.join(dataDir, "logs", `${name}.log`),
    isReady(line) {
      const ready = /"port":(\d+).*"msg":"ready"/.exec(line);
      if (ready) served = Number(ready[1]);
      return ready !== null;
    },
    ...(onLogLine && { onLine: onLogLine }),
  });
  return { child, port: served };
}

/** PCI vendor ids. */
const vendors = { nvidia: "0x10de", amd: "0x1002", intel: "0x8086" } as const;

/** The host's graphics card as sysfs would show it; its folder. */
function cardOf({ gpu }: HostPlan, folder: string): string {
  const drm = path.join(folder, "drm");
  if (gpu === "none") return drm;
  const device = path.join(drm, "card0", "device");
  mkdirSync(device, { recursive: true });
  writeFileSync(path.join(device, "vendor"), `${vendors[gpu]}\n`);
  writeFileSync(path.join(device, "uevent"), "PCI_SLOT_NAME=0000:01:00.0\n");
  return drm;
}
