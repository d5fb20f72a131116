/** Who may do what: one table for the policy of the control plane, the OpenAPI document and the tests of every route. */

export const roles = ["admin", "operator", "user", "viewer"] as const;
export type Role = (typeof roles)[number];

/** What an API key may be limited to. A key without scopes may do what its user may. */
export const scopes = ["read", "sessions", "fleet", "identity"] as const;
export type Scope = (typeof scopes)[number];

/** Whose objects. What belongs to nobody, such as a wolf, is anybody's. */
export type Reach = "any" | "own";

/**
 * Besides users: an agent with a key of its own, a join token, the RUNNER_TOKEN. `own` is the wolf of the agent's key; of a token it
 * is what the token was made for.
 */
export type MachineKind = "agent" | "joiner" | "runner";

export interface ActionKind {
  /** What a key needs that is limited to scopes. */
  scope: Scope;
  /** Each call is an event of the audit log, also one that is allowed. */
  changes: boolean;
  users: Partial<Record<Role, Reach>>;
  machines?: readonly MachineKind[];
}

const everyone = { admin: "own", operator: "own", user: "own", viewer: "own" } as const;
const fleetReaders = { admin: "any", operator: "any", user: "any", viewer: "any" } as const;
const sessionReaders = { admin: "any", operator: "any", user: "own", viewer: "any" } as const;
const sessionEnders = { admin: "any", operator: "any", user: "own" } as const;
/** What is on a screen concerns its owner; an operator has no business there. */
const sessionUsers = { admin: "any", operator: "own", user: "own" } as const;
const fleetKeepers = { admin: "any", operator: "any" } as const;
const admins = { admin: "any" } as const;
/** Own keys for everyone, all of them for admins. */
const keyHolders = { admin: "any", operator: "own", user: "own", viewer: "own" } as const;

export const actions = {
  "web-session.create": { scope: "read", changes: true, users: everyone },
  "web-session.end": { scope: "read", changes: true, users: everyone },
  "me.read": { scope: "read", changes: false, users: everyone },
  "wolf.read": { scope: "read", changes: false, users: fleetReaders },
  "wolf.register": { scope: "fleet", changes: true, users: fleetKeepers, machines: ["runner"] },
  /** Not a change of the audit log: it would be one every few seconds. */
  "wolf.heartbeat": { scope: "fleet", changes: false, users: fleetKeepers, machines: ["runner"] },
  "wolf.remove": { scope: "fleet", changes: true, users: fleetKeepers },
  /** Cordon, drain, maintenance, retirement, quarantines, the freeze of evictions. */
  "wolf.steer": { scope: "fleet", changes: true, users: fleetKeepers },
  /** What runs on it, of whomever. */
  "wolf.inspect": { scope: "read", changes: false, users: { admin: "any", operator: "any", viewer: "any" } },
  /** Numbered checks of the control plane itself. */
  "health.read": { scope: "read", changes: false, users: fleetKeepers },
  /** Numbers for Prometheus, at /metrics. */
  "metrics.read": { scope: "read", changes: false, users: fleetKeepers },
  "placement.preview": { scope: "read", changes: false, users: fleetReaders },
  "event.read": { scope: "read", changes: false, users: sessionReaders },
  "session.create": { scope: "sessions", changes: true, users: sessionUsers },
  "session.read": { scope: "read", changes: false, users: sessionReaders },
  "session.stop": { scope: "sessions", changes: true, users: sessionEnders },
  "session.look": { scope: "sessions", changes: false, users: sessionUsers },
  "session.touch": { scope: "sessions", changes: true, users: sessionUsers },
  "session.tunnel": { scope: "sessions", changes: true, users: sessionUsers },
  "user.read": { scope: "identity", changes: false, users: admins },
  "user.create": { scope: "identity", changes: true, users: admins },
  "user.change": { scope: "identity", changes: true, users: admins },
  "api-key.read": { scope: "identity", changes: false, users: keyHolders },
  "api-key.create": { scope: "identity", changes: true, users: keyHolders },
  "api-key.revoke": { scope: "identity", changes: true, users: keyHolders },
  "join-token.read": { scope: "identity", changes: false, users: admins },
  "join-token.create": { scope: "identity", changes: true, users: admins },
  "join-token.revoke": { scope: "identity", changes: true, users: admins },
  "agent-key.read": { scope: "identity", changes: false, users: fleetKeepers },
  "agent-key.approve": { scope: "identity", changes: true, users: admins },
  "agent-key.revoke": { scope: "identity", changes: true, users: admins },
  "agent.enroll": { scope: "fleet", changes: true, users: {}, machines: ["joiner", "runner"] },
  /** A wolf's tunnel. The RUNNER_TOKEN opens one only with LEGACY_RUNNER_TOKEN=allow. */
  "agent.connect": { scope: "fleet", changes: true, users: {}, machines: ["agent", "runner"] },
  "agent.renew": { scope: "fleet", changes: true, users: {}, machines: ["agent"] },
  "agent.diagnose": { scope: "fleet", changes: false, users: {}, machines: ["agent", "runner"] },
  "audit.read": { scope: "identity", changes: false, users: admins },
} as const satisfies Record<string, ActionKind>;

export type Action = keyof typeof actions;

/** The table's row with its optional column. */
export function actionKind(action: Action): ActionKind {
  return actions[action];
}
