/** The operations of agents' identity: a part of the table in operations.ts. */
import { z } from "zod";
import * as a from "./agents.ts";
import type { Operation } from "./operations.ts";

export const agentOperations = {
  createJoinToken: {
    method: "POST",
    path: "/api/v1/join-tokens",
    summary: "Make a join token, with which a host enrols; it is shown once",
    action: "join-token.create",
    body: a.CreateJoinTokenRequest,
    responses: { 201: a.CreatedJoinToken },
    headers: { Location: "The token's own URL." },
    problems: [],
  },
  listJoinTokens: {
    method: "GET",
    path: "/api/v1/join-tokens",
    summary: "List join tokens, without the tokens themselves",
    action: "join-token.read",
    query: a.ListJoinTokensQuery,
    responses: { 200: z.array(a.JoinToken) },
    headers: { Link: '`rel="next"` leads to the next page; absent on the last.' },
    problems: [],
  },
  revokeJoinToken: {
    method: "DELETE",
    path: "/api/v1/join-tokens/{id}",
    summary: "Revoke a join token; what has enrolled with it stays",
    action: "join-token.revoke",
    params: z.object({ id: a.JoinTokenId }),
    responses: { 204: null },
    problems: ["join-token-not-found"],
  },
  createAgentChallenge: {
    method: "POST",
    path: "/api/v1/agents/challenges",
    summary: "Ask for a challenge, which an agent signs to prove its key",
    action: "public",
    responses: { 201: a.AgentChallenge },
    problems: ["draining"],
  },
  enrollAgent: {
    method: "POST",
    path: "/api/v1/agents/enroll",
    summary:
      "Enrol a host's key: 201 once it is active, 202 while it waits for approval because its name has had another key; the same key again gives the same answer",
    action: "agent.enroll",
    body: a.EnrollRequest,
    responses: { 201: a.Enrollment, 202: a.Enrollment },
    problems: [
      "proof-refused",
      "clock-skew",
      "join-token-refused",
      "agent-key-in-use",
      "agent-key-revoked",
      "agent-keys-waiting",
    ],
  },
  listAgentKeys: {
    method: "GET",
    path: "/api/v1/agent-keys",
    summary: "List agents' keys",
    action: "agent-key.read",
    query: a.ListAgentKeysQuery,
    responses: { 200: z.array(a.AgentKey) },
    headers: { Link: '`rel="next"` leads to the next page; absent on the last.' },
    problems: [],
  },
  approveAgentKey: {
    method: "POST",
    path: "/api/v1/agent-keys/{id}/approve",
    summary: "Approve a key that waits: it becomes its wolf's only active key",
    action: "agent-key.approve",
    params: z.object({ id: a.AgentKeyId }),
    responses: { 200: a.AgentKey },
    problems: ["agent-key-not-found", "agent-key-revoked"],
  },
  revokeAgentKey: {
    method: "DELETE",
    path: "/api/v1/agent-keys/{id}",
    summary: "Revoke an agent's key, or refuse one that waits",
    action: "agent-key.revoke",
    params: z.object({ id: a.AgentKeyId }),
    responses: { 204: null },
    problems: ["agent-key-not-found"],
  },
} as const satisfies Record<string, Operation>;
