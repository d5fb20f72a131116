/** Every problem the API answers with (RFC 9457): a stable code, its status, and what its reader should do. One table for code, documents and client. */

export interface ProblemKind {
  status: number;
  title: string;
  /** When it happens and what to do about it. */
  meaning: string;
  /** The same request may succeed later; the answer carries Retry-After. */
  retry?: true;
}

export const problems = {
  "invalid-request": {
    status: 400,
    title: "Invalid request",
    meaning: "A body, query or path parameter does not fit its schema; `errors` names each place.",
  },
  "malformed-json": {
    status: 400,
    title: "Malformed JSON",
    meaning: "The body is not JSON, or names a field twice.",
  },
  "malformed-http": {
    status: 400,
    title: "Malformed HTTP request",
    meaning: "The request is not valid HTTP/1.1, or can be read in two ways, such as one with two Hosts.",
  },
  "runner-id-invalid": {
    status: 400,
    title: "Invalid runnerid",
    meaning:
      "`runnerid` is none of `wolf-<name>`, `doctor-<name>` and `sandbox-<session id>`; of an agent of Helix none of `wolf-<name>`, `moonlight-<name>` and `sandbox-<session id>`.",
  },
  "tunnel-protocol-unsupported": {
    status: 400,
    title: "Unsupported tunnel protocol",
    meaning:
      "The upgrade offers a WebSocket subprotocol, but none that is served here (`revdial.v3`); or it offers none and no bearer credential, as an agent of Helix would.",
  },
  unauthenticated: {
    status: 401,
    title: "Not authenticated",
    meaning: "No credential, or one that is unknown, expired or revoked. Send `Authorization: Bearer <key>`.",
  },
  "proof-refused": {
    status: 401,
    title: "Proof refused",
    meaning:
      "The proof of an agent's key answers no challenge of this control plane, or one that is older than a minute or was answered before, or names another host. Ask for a new challenge.",
  },
  "clock-skew": {
    status: 401,
    title: "Clock skew",
    meaning:
      "The agent's clock is more than 5 minutes off; the detail and `clock_offset_ms` (above 0: ahead) say by how much, `server_time` what time it is here. Set the host's clock.",
  },
  forbidden: { status: 403, title: "Forbidden", meaning: "The credential is valid but may not do this." },
  "join-token-refused": {
    status: 403,
    title: "Join token refused",
    meaning: "The join token is used up, has expired, or was made for another name. Make another.",
  },
  "origin-refused": {
    status: 403,
    title: "Origin refused",
    meaning: "Tunnels are not opened by web pages: the request carried an Origin header or a page's cookie.",
  },
  "replica-refused": {
    status: 403,
    title: "Replica refused",
    meaning:
      "A path for other replicas, without the credential of one whose lease runs; the detail says what is wrong. Not for people.",
  },
  "csrf-refused": {
    status: 403,
    title: "Foreign page refused",
    meaning:
      "A call with the dashboard's cookie came from another origin's page, or changes something without `X-Wolfpack-Csrf: 1`.",
  },
  "quota-exceeded": {
    status: 403,
    title: "Quota exceeded",
    meaning:
      "The user has as many live sessions as it may: `current` of `limit`. Stop one, or ask an admin for more.",
  },
  "not-found": { status: 404, title: "Not found", meaning: "No such route." },
  "wolf-not-found": {
    status: 404,
    title: "Wolf instance not found",
    meaning: "No wolf instance with this id or name. An agent registers and tries again.",
  },
  "session-not-found": {
    status: 404,
    title: "Session not found",
    meaning: "No session with this id that you may see.",
  },
  "user-not-found": { status: 404, title: "User not found", meaning: "No user with this id." },
  "api-key-not-found": {
    status: 404,
    title: "API key not found",
    meaning: "No API key with this id that you may see.",
  },
  "join-token-not-found": {
    status: 404,
    title: "Join token not found",
    meaning: "No join token with this id.",
  },
  "agent-key-not-found": {
    status: 404,
    title: "Agent's key not found",
    meaning: "No agent's key with this id.",
  },
  "method-not-allowed": {
    status: 405,
    title: "Method not allowed",
    meaning: "The route exists with other methods; `Allow` lists them.",
  },
  "request-timeout": {
    status: 408,
    title: "Request timeout",
    meaning: "The request was not received in time.",
  },
  "wolf-has-sessions": {
    status: 409,
    title: "Wolf instance has sessions",
    meaning: "Stop its sessions first, or repeat with `force=true`, which fails them.",
  },
  "user-exists": { status: 409, title: "User exists", meaning: "Another user has this name." },
  "last-admin": {
    status: 409,
    title: "Last admin",
    meaning:
      "This is the last admin, or an admin's last key, that can still manage users; make another first.",
  },
  "agent-key-in-use": {
    status: 409,
    title: "Key in use",
    meaning: "This key belongs to a wolf of another name. A host with a new name makes a new key.",
  },
  "agent-key-revoked": {
    status: 409,
    title: "Key revoked",
    meaning: "This key was revoked and stays so. The host makes a new one and enrols it.",
  },
  "agent-keys-waiting": {
    status: 409,
    title: "Too many keys wait",
    meaning: "Too many keys wait for approval as this wolf. Approve or revoke some.",
  },
  "idempotency-key-reused": {
    status: 409,
    title: "Idempotency key reused",
    meaning: "This Idempotency-Key belongs to another request of the last 24 hours: send a key of its own.",
  },
  "idempotency-key-in-use": {
    status: 409,
    title: "Idempotency key in use",
    meaning: "The first request with this Idempotency-Key is still being served; its answer is there later.",
    retry: true,
  },
  "session-not-running": {
    status: 409,
    title: "Session is not running",
    meaning: "A screenshot or clipboard needs a running session.",
  },
  "session-ended": {
    status: 409,
    title: "Session has ended",
    meaning: "The session has ended or is being stopped; make another.",
  },
  "intent-refused": {
    status: 409,
    title: "Intent refused",
    meaning:
      "The wolf's present intent does not allow this; `intent` says which it is, `allowed` what can be done.",
  },
  "precondition-failed": {
    status: 412,
    title: "Precondition failed",
    meaning: "The object has changed since the `ETag` of `If-Match`: read it again.",
  },
  "payload-too-large": {
    status: 413,
    title: "Body too large",
    meaning: "The body is larger than the limit (64 KiB unless configured).",
  },
  "unsupported-media-type": {
    status: 415,
    title: "Unsupported media type",
    meaning:
      "Send `Content-Type: application/json`, UTF-8, not compressed; for a tunnel `application/vnd.revdial.v3`.",
  },
  "placement-impossible": {
    status: 422,
    title: "Placement impossible",
    meaning:
      "No wolf that is known could ever take this session; `errors` names the fields, `allowed` what there is, `counterfactuals` what would fit.",
  },
  "upgrade-required": { status: 426, title: "Upgrade required", meaning: "This route is a WebSocket." },
  "rate-limited": {
    status: 429,
    title: "Too many requests",
    meaning:
      "Too much within a short time: `RateLimit` and `Retry-After` say when it may be again. Of a quota, `limit` and `current` tell.",
    retry: true,
  },
  "too-many-streams": {
    status: 429,
    title: "Too many event streams",
    meaning:
      "As many streams of events are open as a credential, a user or a replica may have: `current` of `limit`. Close one, or ask for pages.",
    retry: true,
  },
  "headers-too-large": {
    status: 431,
    title: "Header fields too large",
    meaning: "Header fields are larger than 16 KiB, or more than 200.",
  },
  internal: {
    status: 500,
    title: "Internal error",
    meaning: "A fault of ours; the log has it under the request id in `instance`.",
  },
  "session-start-failed": {
    status: 502,
    title: "Session start failed",
    meaning: "The sandbox did not start; `reason_code` says why and `session_id` names the failed session.",
  },
  "wolf-failed": {
    status: 502,
    title: "Wolf failed",
    meaning: "The wolf's Wolf refused, or answered something that is no answer.",
  },
  "screen-failed": {
    status: 502,
    title: "Screen failed",
    meaning:
      "The sandbox's screen service answered with an error, something that is no image, or more than 20 MiB.",
  },
  "screen-busy": {
    status: 503,
    title: "Screen busy",
    meaning: "Too many look at the screens of this host already.",
    retry: true,
  },
  "no-capacity": {
    status: 503,
    title: "No capacity",
    meaning:
      "No wolf can take the session now, and it was not to wait (`queue: false`); `removed` says which filter took how many.",
    retry: true,
  },
  "queue-full": {
    status: 503,
    title: "Queue full",
    meaning:
      "No wolf can take the session now, and as many wait already as may (WOLFPACK_QUEUE_MAX): `current` of `limit`.",
    retry: true,
  },
  "wolf-unreachable": {
    status: 503,
    title: "Wolf unreachable",
    meaning: "The wolf has no live tunnel. Its sessions may still run.",
    retry: true,
  },
  draining: { status: 503, title: "Draining", meaning: "This replica is shutting down.", retry: true },
  "database-unavailable": {
    status: 503,
    title: "Database unavailable",
    meaning: "PostgreSQL cannot be reached.",
    retry: true,
  },
  "wolf-timeout": { status: 504, title: "Wolf timeout", meaning: "The wolf did not answer in time." },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof problems;

export const problemCodes = Object.keys(problems) as [ProblemCode, ...ProblemCode[]];

/** The table's row with its optional column. */
export function problemKind(code: ProblemCode): ProblemKind {
  return problems[code];
}
