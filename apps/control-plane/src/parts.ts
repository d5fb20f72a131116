/** Authentication as the control plane does it, for the bench that says what it costs. The control plane itself is main.ts. */
export { systemClock } from "./clock.ts";
export { migrate } from "./database/migrate.prisma.ts";
export { createPrisma } from "./database/prisma.prisma.ts";
export { isSigned } from "./identity/agent-proof.ts";
export { agentKeysOfTheBench } from "./identity/agent-proof-cost.prisma.ts";
export { createAuthentications } from "./identity/authentications.ts";
export { createIdentityService, type KnownKey } from "./identity/identity-service.ts";
export { prismaIdentityStore } from "./identity/identity-store.prisma.ts";
export { prismaRevocationStore } from "./identity/revocation-store.prisma.ts";
export { createRevocations } from "./identity/revocations.ts";
export { createLogger } from "./logger.ts";
