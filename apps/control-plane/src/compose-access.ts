/** A part of the composition root: who calls, what is no longer valid, and the audit log. */
import type { Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { createExclusive } from "./database/exclusive.prisma.ts";
import { createNotifications } from "./database/notifications.ts";
import type { Prisma } from "./database/prisma.prisma.ts";
import { clientAddresses } from "./http/client-address.ts";
import { createLimits } from "./http/limits.ts";
import { prismaAgentKeyStore } from "./identity/agent-key-store.prisma.ts";
import { prismaAgentRenewalStore } from "./identity/agent-renewal-store.prisma.ts";
import { createAgentRenewals } from "./identity/agent-renewals.ts";
import { createAgentService } from "./identity/agent-service.ts";
import { createAuditLog } from "./identity/audit.ts";
import { prismaAuditStore } from "./identity/audit-store.prisma.ts";
import { createAuthentications } from "./identity/authentications.ts";
import { createChallenges } from "./identity/challenge.ts";
import { createIdentityService, type KnownKey } from "./identity/identity-service.ts";
import { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
import { prismaJoinTokenStore } from "./identity/join-token-store.prisma.ts";
import type { UserPrincipal } from "./identity/principal.ts";
import {
  parseRevocation,
  prismaRevocationStore,
  REVOKED_CHANNEL,
} from "./identity/revocation-store.prisma.ts";
import { createRevocations } from "./identity/revocations.ts";
import { createRunnerBridge } from "./identity/runner-bridge.ts";
import { createUserNames } from "./identity/user-names.ts";
import { prismaWebSessionStore } from "./identity/web-session-store.prisma.ts";
import { createWebSessions } from "./identity/web-sessions.ts";
import { newId } from "./ids.ts";
import type { Log } from "./logger.ts";
import type { Metrics } from "./metrics/metrics.ts";

/** What every part is made with. */
export interface Base {
  config: Config;
  databaseUrl: string;
  prisma: Prisma;
  log: Log;
  clock: Clock;
  draining: () => boolean;
  metrics: Metrics;
}

/** Who calls, from where, how often, and what they may. */
export function composeAccess({ config, databaseUrl, prisma, log, clock }: Base) {
  const { apiKeySecret, runnerToken } = config;
  const agentKeys = prismaAgentKeyStore(prisma);
  const agents = createAgentService({
    keys: agentKeys,
    tokens: prismaJoinTokenStore(prisma),
    challenges: createChallenges(apiKeySecret),
    clock,
    log,
    apiKeySecret,
    publicHosts: config.publicHosts,
    keyLifeMs: config.agentKeyLifeMs,
  });
  const bridge = createRunnerBridge(config.legacyRunnerToken, agentKeys);
  const exclusive = createExclusive({ prisma, clock, log });
  const revoked = prismaRevocationStore(prisma);
  const revocations = createRevocations({
    store: {
      ...revoked,
      prune: async (at) => void (await exclusive("revocations", () => revoked.prune(at))),
    },
    clock,
    log,
  });
  const notifications = createNotifications({
    url: databaseUrl,
    channel: REVOKED_CHANNEL,
    clock,
    log,
    random: Math.random,
    onNotification(payload) {
      const revocation = parseRevocation(payload);
      if (revocation) revocations.hear(revocation);
    },
    onListening: () => void revocations.catchUp(),
  });
  const identityStore = prismaIdentityStore(prisma);
  const identity = createIdentityService({
    store: identityStore,
    clock,
    log,
    apiKeySecret,
    runnerToken,
    agents,
    authentications: createAuthentications<KnownKey>({ revocations, clock }),
    revocations,
  });

  const auditStore = prismaAuditStore(prisma);
  const replica = newId("rep");
  const audit = createAuditLog(auditStore, clock, replica);
  const webSessionStore = prismaWebSessionStore(prisma);
  const webSessions = createWebSessions({
    store: webSessionStore,
    clock,
    identity,
    apiKeySecret,
    authentications: createAuthentications<UserPrincipal>({ revocations, clock }),
    revocations,
  });
  const renewals = createAgentRenewals({
    store: prismaAgentRenewalStore(prisma),
    clock,
    keyLifeMs: config.agentKeyLifeMs,
  });
  const addresses = clientAddresses(config.trustedProxies);
  const limits = createLimits({
    clock,
    addresses,
    addressPerMinute: config.ratePerAddress,
    credentialPerMinute: config.ratePerCredential,
    unknownPerMinute: config.rateUnauthenticated,
  });
  return {
    exclusive,
    addresses,
    limits,
    identity,
    userNames: createUserNames(identityStore),
    agents,
    bridge,
    renewals,
    webSessions,
    replica,
    audit,
    auditStore,
    revocations,
    notifications,
  };
}
