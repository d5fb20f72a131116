/** An entry of the audit log as a sentence: who did what, could not, or was not allowed to. Names are others' text and come in plain. */
import type { AuditAction, AuditEvent } from "@wolfpack/api-contract";
import { plain, sentence, withArticle } from "../ui/text.ts";
import { isAnyId } from "./ids.ts";

/** What was done, what was to be done, and to what: `a session`, or `the session training-3`. Without one, the verbs say it all. */
type Words = readonly [did: string, todo: string, what?: string];

const words: Record<AuditAction, Words> = {
  "web-session.create": ["signed in with a browser", "sign in with a browser"],
  "web-session.end": ["signed out", "sign out"],
  "me.read": ["read their own account", "read their own account"],
  "wolf.read": ["read", "read", "wolf"],
  "wolf.register": ["registered", "register", "wolf"],
  "wolf.heartbeat": ["sent a heartbeat of", "send a heartbeat of", "wolf"],
  "wolf.remove": ["removed", "remove", "wolf"],
  "wolf.steer": ["steered", "steer", "wolf"],
  "wolf.inspect": ["looked at what runs on", "look at what runs on", "wolf"],
  "health.read": ["read the health of the control plane", "read the health of the control plane"],
  "metrics.read": ["read the metrics", "read the metrics"],
  "placement.preview": ["asked where a session would go", "ask where a session would go"],
  "event.read": ["read events", "read events"],
  "session.create": ["created", "create", "session"],
  "session.read": ["read", "read", "session"],
  "session.stop": ["stopped", "stop", "session"],
  "session.look": ["looked at the screen of", "look at the screen of", "session"],
  "session.touch": ["used", "use", "session"],
  "session.tunnel": ["opened a tunnel of", "open a tunnel of", "session"],
  "user.read": ["read", "read", "user"],
  "user.create": ["added", "add", "user"],
  "user.change": ["changed", "change", "user"],
  "api-key.read": ["read", "read", "API key"],
  "api-key.create": ["created", "create", "API key"],
  "api-key.revoke": ["revoked", "revoke", "API key"],
  "join-token.read": ["read join tokens", "read join tokens"],
  "join-token.create": ["created a join token for", "create a join token for", "wolf"],
  "join-token.revoke": ["revoked a join token for", "revoke a join token for", "wolf"],
  "agent-key.read": ["read the keys of agents", "read the keys of agents"],
  "agent-key.approve": ["approved a key of", "approve a key of", "wolf"],
  "agent-key.revoke": ["revoked a key of", "revoke a key of", "wolf"],
  "agent.enroll": ["enrolled", "enrol", "wolf"],
  "agent.connect": ["opened a tunnel of", "open a tunnel of", "wolf"],
  "agent.renew": ["renewed a key of", "renew a key of", "wolf"],
  "agent.diagnose": ["asked what is wrong with", "ask what is wrong with", "wolf"],
  "agent.takeover": ["took over the live tunnel of", "take over the live tunnel of", "wolf"],
  "audit.read": ["read the audit log", "read the audit log"],
};

/** One action for all of these; which of them it was is known only of what was done. */
const steerings: Record<string, readonly [before: string, after?: string]> = {
  cordon: ["cordoned"],
  uncordon: ["let", "take sessions again"],
  drain: ["began to drain"],
  maintenance: ["put", "into maintenance"],
  retire: ["retired"],
  readmit: ["ended the quarantine of"],
  unfreeze: ["lifted the freeze of"],
};

const NAME_MAX = 80;

/** `ops created the session training-3`. */
export function auditWords(entry: AuditEvent): string {
  const { action, result } = entry;
  const known: Words | undefined = Object.hasOwn(words, action)
    ? words[action as keyof typeof words]
    : undefined;
  const [did, todo, what] = known ?? [`did “${inWords(action)}”`, `do “${inWords(action)}”`];
  const how = result === "allowed" && action === "wolf.steer" ? String(entry.detail.steering) : "";
  const [before, after] = Object.hasOwn(steerings, how) ? (steerings[how] ?? [did]) : [did];
  const verb =
    result === "allowed" ? before : result === "denied" ? `was not allowed to ${todo}` : `could not ${todo}`;
  const object = what === undefined ? "" : objectOf(entry, what);
  return [whoOf(entry), verb, object, after].filter(Boolean).join(" ");
}

/** For a choice among actions: `Create a session`. */
export function actionWords(action: string): string {
  const [, todo, what] = Object.hasOwn(words, action)
    ? words[action as keyof typeof words]
    : (["", inWords(action)] as const);
  return sentence(what === undefined ? todo : `${todo} ${withArticle(what)}`);
}

const inWords = (action: string): string => sentence(plain(action, NAME_MAX)).toLowerCase();

function whoOf({ actor, actor_name }: AuditEvent): string {
  const name = plain(actor_name, NAME_MAX);
  switch (actor) {
    case "user":
      return name || "A user";
    case "agent":
      return `The agent of ${name || "a wolf"}`;
    case "join-token":
      return "A host with a join token";
    case "runner-token":
      return "A host with the runner token";
    case "system":
      return "The control plane";
    default:
      return "Somebody unknown";
  }
}

/** Whatever a caller has named that is no id may be a wolf's name, or anything. */
function objectOf({ action, object, object_name }: AuditEvent, what: string): string {
  if (action === "wolf.steer" && object === null) return "the fleet";
  const name = object_name ?? (object === null || /^[a-z]{3}_/.test(object) ? "" : object);
  return name.trim() === "" || isAnyId(name) ? withArticle(what) : `the ${what} ${plain(name, NAME_MAX)}`;
}
