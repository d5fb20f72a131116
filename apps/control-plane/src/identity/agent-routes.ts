/** HTTP in, one service call, HTTP out: join tokens, challenges, enrolment, agents' keys. */
import type { AgentKey, Enrollment, JoinToken } from "@wolfpack/api-contract";
import type { Handlers } from "../http/call.ts";
import { page } from "../http/page.ts";
import { ApiError } from "../http/problem.ts";
import type { AgentKeyRecord } from "./agent-key-store.ts";
import type { AgentService } from "./agent-service.ts";
import { userOf } from "./identity-routes.ts";
import type { JoinTokenRecord } from "./join-token-store.ts";

type Handled =
  | "createJoinToken"
  | "listJoinTokens"
  | "revokeJoinToken"
  | "createAgentChallenge"
  | "enrollAgent"
  | "listAgentKeys"
  | "approveAgentKey"
  | "revokeAgentKey";

export function agentHandlers(agents: AgentService): Pick<Handlers, Handled> {
  return {
    async createJoinToken(call) {
      const { record, token } = await agents.createToken(userOf(call).userId, call.body);
      const headers = { location: `/api/v1/join-tokens/${record.id}` };
      return { status: 201, body: { ...toTokenResponse(record), token }, headers, object: record.id };
    },

    async listJoinTokens({ query: { limit, cursor }, url }) {
      const tokens = await agents.tokens({ limit: limit + 1, after: cursor });
      return page(url, tokens.map(toTokenResponse), limit);
    },

    async revokeJoinToken({ params }) {
      await agents.revokeToken(params.id);
      return { status: 204, body: undefined };
    },

    async createAgentChallenge() {
      const { nonce, expiresAt, now } = agents.challenge();
      const body = {
        nonce: Buffer.from(nonce).toString("base64url"),
        expires_at: expiresAt.toISOString(),
        server_time: now.toISOString(),
      };
      return { status: 201, body };
    },

    async enrollAgent({ principal, body, request }) {
      if (principal.kind !== "joiner" && principal.kind !== "runner")
        throw new ApiError("forbidden", "Hosts enrol with a join token or the RUNNER_TOKEN.");
      const { key, revoked } = await agents.enroll(principal, body, request.headers.host);
      const detail = { wolf_id: key.wolfId, name: key.wolfName, status: key.status, revoked };
      return {
        status: key.status === "active" ? 201 : 202,
        body: toEnrollment(key),
        object: key.id,
        detail,
      };
    },

    async listAgentKeys({ query, url }) {
      return page(url, (await agents.keys(query)).map(toKeyResponse), query.limit);
    },

    async approveAgentKey({ params }) {
      const { key, revoked } = await agents.approveKey(params.id);
      return { status: 200, body: toKeyResponse(key), detail: { wolf_id: key.wolfId, revoked } };
    },

    async revokeAgentKey({ params }) {
      await agents.revokeKey(params.id);
      return { status: 204, body: undefined };
    },
  };
}

const toTokenResponse = (token: JoinTokenRecord): JoinToken => ({
  id: token.id,
  wolf_name: token.wolfName,
  labels: token.labels,
  uses: token.uses,
  uses_max: token.usesMax,
  created_by: token.createdBy,
  created_at: token.createdAt.toISOString(),
  expires_at: token.expiresAt.toISOString(),
  revoked_at: token.revokedAt?.toISOString() ?? null,
});

const toEnrollment = (key: AgentKeyRecord): Enrollment => ({
  wolf_id: key.wolfId,
  name: key.wolfName,
  key_id: key.id,
  status: key.status,
  expires_at: key.expiresAt.toISOString(),
});

const toKeyResponse = (key: AgentKeyRecord): AgentKey => ({
  id: key.id,
  wolf_instance_id: key.wolfId,
  wolf_name: key.wolfName,
  public_key: key.publicKey,
  status: key.status,
  enrolled_by: key.enrolledBy,
  created_at: key.createdAt.toISOString(),
  expires_at: key.expiresAt.toISOString(),
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
  revoked_at: key.revokedAt?.toISOString() ?? null,
});
