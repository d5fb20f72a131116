/** The checks of the control plane, by number. A number is never used again for something else. */
import type { Challenges } from "../identity/challenge.ts";
import type { FleetHealth } from "../wolves/eviction-valve.ts";
import type { Check, Finding } from "./check.ts";
import type { CheckFacts } from "./facts.ts";
import * as found from "./findings.ts";
import { echoFinding, echoThrough } from "./public-echo.ts";
import type { Replicas } from "./replicas.ts";

export interface ChecksOptions {
  facts: CheckFacts;
  replicas: Replicas;
  fleetHealth: () => Promise<FleetHealth>;
  loopDelay: () => { p99Ms: number; maxMs: number };
  challenges: Pick<Challenges, "issue">;
  /** Names of the migrations that this version comes with. */
  migrations: () => string[];
  /** Of the embedded database. Undefined: there is none. */
  disk: (() => Promise<found.Disk>) | undefined;
  publicUrls: readonly string[];
  queue: { lengthMax: number; waitMs: number };
  legacyRunnerToken: boolean;
  version: string;
  clock: () => Date;
  /** Milliseconds that never go back. */
  now: () => number;
}

/** Each opens a connection. */
const PUBLIC_URLS_MAX = 4;

export function controlPlaneChecks(options: ChecksOptions): Check[] {
  return [
    ...databaseChecks(options),
    ...processChecks(options),
    ...fleetChecks(options),
    ...keptChecks(options),
  ];
}

function databaseChecks({ facts, migrations, clock, now }: ChecksOptions): Check[] {
  return [
    {
      id: "C01",
      title: "Database",
      warning: "It takes 250 ms or more to answer `SELECT 1`.",
      failed: "It takes 2 s or more, or does not answer.",
      cure: "Look at PostgreSQL's log and load, at its connections (12 for each replica), and at the way there.",
      async run() {
        const begunAt = now();
        await facts.ping();
        return found.databaseFinding(now() - begunAt);
      },
    },
    {
      id: "C02",
      title: "Migrations",
      warning: "The database has migrations that this version does not know.",
      failed: "A migration of this version is missing or was not finished.",
      cure: "Start this version again: it migrates before it serves. A migration that fails says why in the log.",
      run: async () => found.migrationsFinding(migrations(), await facts.migrations()),
    },
    {
      id: "C03",
      title: "Clock of the database",
      warning: "It differs from this replica's by 1 s or more.",
      failed: "It differs by 30 s or more: agents' challenges and deadlines go wrong.",
      cure: "Synchronise both machines by NTP.",
      async run() {
        const askedAt = clock();
        const theirs = await facts.now();
        return found.skewFinding(askedAt, clock(), theirs);
      },
    },
  ];
}

function processChecks({ replicas, loopDelay, publicUrls, challenges, clock, now }: ChecksOptions): Check[] {
  return [
    {
      id: "C04",
      title: "Replicas",
      warning: "They are of different versions.",
      failed: "Never.",
      cure: "Bring all replicas to one version; while they are being replaced this is as it should be.",
      run: async () => found.replicasFinding(await replicas()),
    },
    {
      id: "C05",
      title: "WebSocket through the public URL",
      warning: "This replica cannot reach `WOLFPACK_PUBLIC_URL` at all.",
      failed: "What answers there opens no WebSocket for tunnels, or one that carries nothing.",
      cure: "Let the proxy pass Upgrade and Connection for /api/v1/revdial, and look at where it sends that path.",
      async run() {
        if (publicUrls.length === 0)
          return {
            status: "skipped",
            detail: "No public URL is configured.",
            advice: "Set WOLFPACK_PUBLIC_URL to the URL that agents are given.",
          };
        const token = Buffer.from(challenges.issue(clock()).nonce).toString("base64url");
        const echoes = publicUrls.slice(0, PUBLIC_URLS_MAX).map(async (url) => {
          const echo = await echoThrough(url, { token, now });
          return echoFinding(new URL(url).host, echo);
        });
        return together(await Promise.all(echoes));
      },
    },
    {
      id: "C06",
      title: "Event loop",
      warning: "One of 100 turns was late by 100 ms or more, or one by 1 s, within the last two minutes.",
      failed: "One of 100 turns was late by 1 s or more.",
      cure: "This process has too much to do, or too little processor: give it more, or start another replica.",
      run: async () => found.loopFinding(loopDelay()),
    },
  ];
}

function fleetChecks({ facts, fleetHealth, queue, version, clock }: ChecksOptions): Check[] {
  return [
    {
      id: "C07",
      title: "Queue",
      warning:
        "It is 80 % full, or its first session has waited for half of the time after which it is given up.",
      failed: "It is full: whoever asks for a session is refused.",
      cure: "Add wolves, uncordon some, or stop sessions; the queue's page says what each waits for.",
      run: async () => found.queueFinding(await facts.queue(), { now: clock(), ...queue }),
    },
    {
      id: "C08",
      title: "Evictions",
      warning: "An operator has lifted the freeze of evictions for ten minutes.",
      failed: "They are frozen: most of the fleet left at once.",
      cure: "Look at what the wolves have in common: network, name service, this replica. If the loss is real, unfreeze.",
      run: async () => found.evictionsFinding(await fleetHealth(), clock()),
    },
    {
      id: "C09",
      title: "Wolves",
      warning: "One is suspect, lost, degraded or failed.",
      failed: "More than half of those expected are suspect or lost.",
      cure: "Look at the wolf's page for its reasons; on its host, at the agent's doctor.",
      run: async () => found.wolvesFinding(await facts.wolves()),
    },
    {
      id: "C10",
      title: "Versions of agents",
      warning: "An agent is older or newer than the control plane, or does not say.",
      failed: "Never.",
      cure: "Upgrade the older side: first the control plane, then the agents.",
      run: async () => found.agentsFinding(await facts.agents(), version),
    },
  ];
}

function keptChecks({ facts, disk, legacyRunnerToken, clock }: ChecksOptions): Check[] {
  return [
    {
      id: "C11",
      title: "Retention and disk",
      warning:
        "The oldest event is 31 days old; or the disk of the embedded database has less than 2 GiB or 10 % left.",
      failed: "That disk has less than 512 MiB or 2 % left.",
      cure: "Make room on the disk; what is not removed in time has its reason in the log.",
      async run() {
        const [storage, seen] = await Promise.all([facts.storage(), disk?.()]);
        return found.storageFinding(storage, { now: clock(), disk: seen });
      },
    },
    {
      id: "C12",
      title: "Legacy credentials",
      warning: "A tunnel was opened with the RUNNER_TOKEN, or may be.",
      failed: "Never.",
      cure: "Enrol those hosts with join tokens, then remove LEGACY_RUNNER_TOKEN.",
      run: async () => found.legacyFinding(await facts.legacyTunnels(), legacyRunnerToken),
    },
    {
      id: "C13",
      title: "Clocks of hosts",
      warning: "A host's clock was off by 30 s or more when its tunnel was opened.",
      failed: "Never.",
      cure: "Synchronise that host by NTP, then restart its agent: at 5 minutes its next tunnel is refused.",
      run: async () => found.clocksFinding(await facts.clocks(found.thresholds.hostClockMs.warning)),
    },
  ];
}

/** The worst of several, and what all of them say. */
function together(findings: readonly Finding[]): Finding {
  const worst =
    findings.find(({ status }) => status === "failed") ??
    findings.find(({ status }) => status === "warning") ??
    findings[0];
  const detail = findings.map((finding) => finding.detail).join(" ");
  return { status: "ok", ...worst, detail };
}
