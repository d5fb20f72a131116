/**
 * What every route must answer to everybody, written by hand. Nothing here is derived from the contract's table of actions or from the
 * policy: that they agree is what the matrix proves.
 */

/** `404`: of somebody else, and to be told from nothing that does not exist; in a list it is left out. */
export type Outcome = "ok" | "401" | "403" | "404";
export type ObjectKind =
  | "session"
  | "queued-session"
  | "event"
  | "user-event"
  | "api-key-event"
  | "wolf"
  | "user"
  | "api-key"
  | "join-token"
  | "agent-key";
export type Whose = "own" | "foreign" | "missing";

/** Nobody; a user of each role; an admin's keys that are limited to one scope. */
export const columns = [
  "anonymous",
  "viewer",
  "user",
  "operator",
  "admin",
  "read",
  "sessions",
  "fleet",
  "identity",
] as const;
export type Column = (typeof columns)[number];

/** Callers that are no users, and what each is told where a row does not say otherwise. A proof of a key only opens tunnels. */
export const machineColumns = { runner: "403", joiner: "403", agent: "401" } as const;
export type MachineColumn = keyof typeof machineColumns;

export interface Row {
  /** What the route is about; none: it names no object that belongs to anybody. */
  object?: ObjectKind;
  /** The object appears among others. */
  list?: true;
  /** In the order of `columns`: for an object of the caller, and for one of somebody else. Wolves are nobody's. */
  own?: string;
  foreign: string;
  /** For every object, or in three words for its own, others' and missing ones. */
  machines?: Partial<Record<MachineColumn, string>>;
  /** Status, and code of the problem if it is one, of a call that is allowed. */
  allowed: string;
  /** Of an object that does not exist. */
  missing?: string;
  /** An allowed call is an event too. */
  audited?: "changes";
  /** Which action the event names. */
  action?: string;
  /** Already refused as somebody else's: whether it exists is not even looked up. */
  missingIsForeign?: true;
  query?: (id: string) => string;
  body?: (id: string) => object;
  /** How the tunnel is asked for. */
  tunnel?: "upgrade" | "post";
}

let names = 0;
const fresh = () => {
  names += 1;
  return `name-${names}`;
};

//                    nobody viewer user operator admin | read sessions fleet identity
const anyone = "         401 ok     ok   ok       ok    | ok   403      403   403";
const fleetKeepers = "   401 403    403  ok       ok    | 403  403      ok    403";
const admins = "         401 403    403  403      ok    | 403  403      403   ok";
const agentKeyReaders = "401 403    403  ok       ok    | 403  403      403   ok";
const metricsReaders = "  401 403    403  ok       ok    | ok   403      403   403";
const nobody = "         401 403    403  403      403   | 403  403      403   403";
const sessionsOfOwn = "  401 403    ok   ok       ok    | 403  ok       403   403";
const screensOfOthers = "401 403    404  404      ok    | 403  ok       403   403";
const stopsOfOthers = "  401 403    404  ok       ok    | 403  ok       403   403";
const looksAtOthers = "  401 ok     404  ok       ok    | ok   403      403   403";
const inspectors = "     401 ok     403  ok       ok    | ok   403      403   403";
const healthReaders = "  401 403    403  ok       ok    | ok   403      403   403";
const eventsOfUsers = "  401 404    404  404      ok    | 404  403      403   403";
const eventsOfOwnKeys = "401 ok     ok   ok       ok    | 404  403      403   403";
const keysOfOwn = "      401 ok     ok   ok       ok    | 403  403      403   ok";
const keysOfOthers = "   401 404    404  404      ok    | 403  403      403   ok";
const everybody = "      ok  ok     ok   ok       ok    | ok   ok       ok    ok";

const publicRoute: Row = {
  foreign: everybody,
  machines: { runner: "ok", joiner: "ok", agent: "ok" },
  allowed: "200",
};

/** The session has no wolf, so that an allowed look gets as far as to that. */
const screen: Row = {
  object: "session",
  own: sessionsOfOwn,
  foreign: screensOfOthers,
  allowed: "503 wolf-unreachable",
  missing: "404 session-not-found",
};
const clipboard = { ...screen, audited: "changes" as const, body: () => ({ text: "x" }) };
const wolf: Row = { object: "wolf", foreign: anyone, allowed: "200", missing: "404 wolf-not-found" };
const steering: Row = { ...wolf, foreign: fleetKeepers, audited: "changes" };
const session: Row = { ...screen, own: anyone, foreign: looksAtOthers, allowed: "200" };
const user: Row = {
  object: "user",
  own: admins,
  foreign: admins,
  allowed: "200",
  missing: "404 user-not-found",
};

const agentKey: Row = {
  object: "agent-key",
  foreign: admins,
  allowed: "200",
  missing: "404 agent-key-not-found",
  audited: "changes",
};

const sandboxTunnel: Row = {
  object: "session",
  own: sessionsOfOwn,
  foreign: screensOfOthers,
  allowed: "101",
  missing: "404 session-not-found",
  machines: { agent: "403" },
  audited: "changes",
  action: "session.tunnel",
  query: (id) => `?runnerid=sandbox-${id}`,
  tunnel: "upgrade",
};
const wolfTunnel: Row = {
  ...sandboxTunnel,
  object: "wolf",
  own: nobody,
  foreign: nobody,
  machines: { runner: "ok", agent: "ok 403 403" },
  missing: "404 wolf-not-found",
  action: "agent.connect",
  query: (id) => `?runnerid=wolf-${id}`,
};
/** A doctor with the runner token may be of a host that is no wolf yet. */
const { audited: _, ...doctorTunnel }: Row = {
  ...wolfTunnel,
  missing: "101",
  action: "agent.diagnose",
  query: (id) => `?runnerid=doctor-${id}`,
};
const tunnels = [sandboxTunnel, wolfTunnel, doctorTunnel];

const registration: Row = {
  foreign: fleetKeepers,
  machines: { runner: "ok" },
  allowed: "200",
  audited: "changes",
  body: () => ({ name: fresh() }),
};
const heartbeat: Row = { ...wolf, foreign: fleetKeepers, machines: { runner: "ok" }, body: () => ({}) };
const wolfList: Row = { ...wolf, list: true, query: () => "?limit=200" };
/** The newest first: others write at the same time, and oldest first waits for them. */
const eventList: Row = { object: "event", list: true, foreign: nobody, allowed: "200" };
const removal: Row = { ...wolf, foreign: fleetKeepers, audited: "changes" };

/** By operationId. Every operation of the OpenAPI document has to be here, and no other. */
export const table: Record<string, Row | Row[]> = {
  registerWolf: registration,
  heartbeatWolf: heartbeat,
  listWolves: wolfList,
  getWolf: wolf,
  listDiskHistory: wolf,
  listSandboxHostDiskHistory: wolf,
  deleteWolf: removal,
  registerSandboxHost: registration,
  heartbeatSandboxHost: heartbeat,
  listSandboxHosts: wolfList,
  deleteSandboxHost: removal,
  cordonWolf: steering,
  /** Nobody has cordoned it: whoever may, gets as far as to be told so. */
  uncordonWolf: { ...steering, allowed: "409 intent-refused" },
  drainWolf: { ...steering, body: () => ({ deadline_seconds: 3600 }) },
  maintainWolf: steering,
  retireWolf: steering,
  readmitWolf: steering,
  /** It has no tunnel: whoever may, gets as far as to be told so. */
  listWolfLobbies: { ...wolf, foreign: inspectors, allowed: "503 wolf-unreachable" },
  getWolfTunnel: { ...wolf, allowed: "503 wolf-unreachable" },
  listUsageHistory: wolf,
  getWolfPolicy: { ...wolf, foreign: inspectors, allowed: "503 wolf-unreachable" },
  getHealth: { foreign: healthReaders, allowed: "200" },
  listReplicas: { foreign: anyone, allowed: "200" },
  getFleet: { foreign: anyone, allowed: "200" },
  unfreezeFleet: { foreign: fleetKeepers, allowed: "200", audited: "changes" },
  previewPlacement: { foreign: anyone, allowed: "200", body: () => ({}) },
  listQueue: {
    object: "queued-session",
    list: true,
    own: anyone,
    foreign: looksAtOthers,
    allowed: "200",
    query: () => "?limit=200",
  },
  listEvents: [
    {
      ...eventList,
      own: anyone,
      foreign: looksAtOthers,
      query: () => "?newest_first=true&kind=session.lost",
    },
    {
      ...eventList,
      object: "user-event",
      own: eventsOfUsers,
      foreign: eventsOfUsers,
      query: () => "?newest_first=true&kind=user.changed",
    },
    {
      ...eventList,
      object: "api-key-event",
      own: eventsOfOwnKeys,
      foreign: eventsOfUsers,
      query: () => "?newest_first=true&kind=api-key.revoked",
    },
  ],
  createSession: {
    foreign: sessionsOfOwn,
    allowed: "503 no-capacity",
    audited: "changes",
    body: () => ({ queue: false }),
  },
  listSessions: { ...session, list: true, query: () => "?limit=200" },
  getSession: session,
  stopSession: { ...session, own: sessionsOfOwn, foreign: stopsOfOthers, allowed: "202", audited: "changes" },
  extendSession: {
    ...session,
    own: sessionsOfOwn,
    foreign: screensOfOthers,
    audited: "changes",
    body: () => ({ ttl_seconds: 3600 }),
  },
  getScreenshot: screen,
  getClipboard: screen,
  setClipboard: clipboard,
  getExternalAgentScreenshot: screen,
  getExternalAgentClipboard: screen,
  setExternalAgentClipboard: clipboard,
  openTunnel: tunnels,
  openTunnelOverHttp: tunnels.map((row) => ({
    ...row,
    allowed: "200",
    missing: row.missing === "101" ? "200" : String(row.missing),
    tunnel: "post" as const,
  })),
  getMe: { foreign: anyone, allowed: "200" },
  createUser: { foreign: admins, allowed: "201", audited: "changes", body: () => ({ name: fresh() }) },
  listUsers: { ...user, list: true, query: () => "?limit=200" },
  getUser: user,
  updateUser: { ...user, audited: "changes", body: () => ({ sessions_max: 9 }) },
  createApiKey: {
    object: "user",
    own: keysOfOwn,
    foreign: keysOfOthers,
    allowed: "201",
    missing: "404 user-not-found",
    missingIsForeign: true,
    audited: "changes",
    body: (id) => ({ name: "made", user_id: id }),
  },
  listApiKeys: {
    object: "api-key",
    list: true,
    own: keysOfOwn,
    foreign: keysOfOthers,
    allowed: "200",
    query: () => "?limit=200",
  },
  revokeApiKey: {
    object: "api-key",
    own: keysOfOwn,
    foreign: keysOfOthers,
    allowed: "204",
    missing: "404 api-key-not-found",
    audited: "changes",
  },
  listAuditEvents: { foreign: admins, allowed: "200", query: () => "?limit=1" },
  exportAuditEvents: { foreign: admins, allowed: "200", query: () => "?object=nothing" },
  createJoinToken: { foreign: admins, allowed: "201", audited: "changes", body: () => ({}) },
  listJoinTokens: {
    object: "join-token",
    list: true,
    foreign: admins,
    allowed: "200",
    query: () => "?limit=200",
  },
  revokeJoinToken: {
    object: "join-token",
    foreign: admins,
    allowed: "204",
    missing: "404 join-token-not-found",
    audited: "changes",
  },
  createAgentChallenge: { ...publicRoute, allowed: "201" },
  /** Whoever may enrol gets as far as to be told what is missing. */
  enrollAgent: {
    foreign: nobody,
    machines: { runner: "ok", joiner: "ok" },
    allowed: "400 invalid-request",
    audited: "changes",
    body: () => ({}),
  },
  listAgentKeys: {
    object: "agent-key",
    list: true,
    foreign: agentKeyReaders,
    allowed: "200",
    query: () => "?limit=200",
  },
  approveAgentKey: agentKey,
  revokeAgentKey: { ...agentKey, allowed: "204" },
  createWebSession: { ...publicRoute, allowed: "400 invalid-request", body: () => ({}) },
  deleteWebSession: { ...publicRoute, allowed: "204" },
  getLiveness: publicRoute,
  getReadiness: publicRoute,
  getMetrics: { foreign: metricsReaders, allowed: "200" },
  getOpenApi: publicRoute,
  getSwagger: publicRoute,
};
