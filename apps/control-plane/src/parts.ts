/** Authentication as the control plane does it, for the bench that says what it costs. The control plane itself is main.ts. */
export { systemClock } from "./clock.ts";
export { migrate } from "./database/migrate.prisma.ts";
export { createPrisma } from "./database/prisma.prisma.ts";
export { prismaAgentKeyStore } from "./identity/agent-key-store.prisma.ts";
export { isSigned } from "./identity/agent-proof.ts";
export { createAgentService } from "./identity/agent-service.ts";
export { createAuthentications } from "./identity/authentications.ts";
export { createChallenges } from "./identity/challenge.ts";
export { createIdentityService, type KnownKey } from "./identity/identity-service.ts";
export { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
export { prismaJoinTokenStore } from "./identity/join-token-store.prisma.ts";
export { prismaRevocationStore } from "./identity/revocation-store.prisma.ts";
export { createRevocations } from "./identity/revocations.ts";
export { createLogger } from "./logger.ts";
