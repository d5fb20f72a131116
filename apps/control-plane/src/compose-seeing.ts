/** A part of the composition root: what is looked at and never changed: checks, replicas, histories, policies. */
import { statfs } from "node:fs/promises";
import { createExaminer } from "./checks/check.ts";
import { checkHandlers } from "./checks/check-routes.ts";
import { controlPlaneChecks } from "./checks/checks.ts";
import { prismaCheckFacts } from "./checks/facts.prisma.ts";
import type { Disk } from "./checks/findings.ts";
import { createLoopDelay } from "./checks/loop-delay.ts";
import { replicasOf } from "./checks/replicas.ts";
import type { Base } from "./compose-access.ts";
import { migrationNames } from "./database/migrate.prisma.ts";
import { createChallenges } from "./identity/challenge.ts";
import type { Membership } from "./replicas/membership.ts";
import { createEchoUpgrades, ECHO_PURPOSE } from "./tunnels/echo-upgrade.ts";
import { type SeeingHandlersOptions, seeingHandlers } from "./tunnels/seeing-routes.ts";
import type { TunnelGateway } from "./tunnels/tunnel-gateway.ts";
import { createTunnelHistory } from "./tunnels/tunnel-history.ts";
import { version } from "./version.ts";
import type { HealthMonitor } from "./wolves/health-monitor.ts";

export interface Seen
  extends Pick<SeeingHandlersOptions, "requireWolf" | "usageHistory" | "replica" | "calls"> {
  gateway: Pick<TunnelGateway, "wolf" | "wolfEpoch" | "liveWolves" | "rttMsOf" | "onWolfConnected">;
  monitor: Pick<HealthMonitor, "state">;
  membership: Pick<Membership, "id" | "list">;
}

export function composeSeeing({ config, prisma, log, clock, draining }: Base, seen: Seen) {
  const { gateway, monitor, replica, membership } = seen;
  const tunnelHistory = createTunnelHistory({ clock, ...gateway });
  const loopDelay = createLoopDelay(clock);
  const challenges = createChallenges(config.apiKeySecret, ECHO_PURPOSE);
  const echo = createEchoUpgrades({ challenges, clock });
  const replicas = replicasOf({
    membership,
    tunnels: () => gateway.liveWolves().length,
    draining,
  });
  const now = () => performance.now();
  const checks = controlPlaneChecks({
    facts: prismaCheckFacts(prisma),
    replicas,
    fleetHealth: monitor.state,
    loopDelay: loopDelay.read,
    challenges,
    migrations: migrationNames,
    disk: config.databaseUrl === undefined ? () => diskOf(config.dataDir) : undefined,
    publicUrls: config.publicUrls,
    queue: { lengthMax: config.queueMax, waitMs: config.queueMs },
    legacyRunnerToken: config.legacyRunnerToken,
    version,
    clock: () => clock.now(),
    now,
  });
  const onFailed = (check: string, err: unknown) => log.warn({ err, check }, "a check could not be made");
  const examine = createExaminer({ checks, clock, now, onFailed });
  return {
    handlers: {
      ...checkHandlers({ examine, replicas, replica, version }),
      ...seeingHandlers({ ...seen, tunnelHistory }),
    },
    echo,
    start() {
      tunnelHistory.start();
      loopDelay.start();
    },
    stop() {
      tunnelHistory.stop();
      loopDelay.stop();
      echo.close();
    },
  };
}

async function diskOf(folder: string): Promise<Disk> {
  const { bavail, blocks, bsize } = await statfs(folder);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
