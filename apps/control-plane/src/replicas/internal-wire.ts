/** What replicas say to each other beside HTTP's own: paths and fields. Nothing of it goes to wolves or users. */

export const INTERNAL_PREFIX = "/internal/v1/";
/** Every field of ours begins so; none travels further. */
export const OURS = "wolfpack-";
/** Milliseconds that are left for the whole exchange. */
export const DEADLINE_FIELD = "wolfpack-deadline-ms";
/** Instead of an answer: a code of revdial's and what became of the request, as `CLOSED not-sent`. */
export const FATE_FIELD = "wolfpack-fate";
export const UPGRADE_NAME = "wolfpack-channel";
/** What the channel is asked to become; "-" for a plain byte stream. */
export const UPGRADE_FIELD = "wolfpack-upgrade";

/** Of a call that is passed on: the address that it first came from. */
export const CLIENT_FIELD = "wolfpack-client";
/** Before the path of a call that is passed on whole. */
export const CALL_PREFIX = `${INTERNAL_PREFIX}calls`;

export type Holder = "wolf" | "sandbox";

const SERVICE = /^[a-z0-9._-]{1,63}$/;
const ID = /^(?:wlf|ses)_[0-9A-HJKMNP-TV-Z]{26}$/;

/** Of requests for a service behind a tunnel; the request's own path, with its slash, follows. */
export const tunnelPrefix = (holder: Holder, id: string, service: string): string =>
  `${INTERNAL_PREFIX}tunnels/${holder}/${id}/${service}`;

export const lookPath = (wolfId: string): string => `${INTERNAL_PREFIX}wolves/${wolfId}/look`;

/** 204: by the replica that the credential is for. */
export const SELF_PATH = `${INTERNAL_PREFIX}self`;

/** 204: the database knows whoever asks; 410: it was taken for gone. */
export const KNOWN_PATH = `${INTERNAL_PREFIX}known`;

export type InternalTarget =
  | { kind: "self" }
  | { kind: "known" }
  | { kind: "tunnel"; holder: Holder; id: string; service: string; path: string }
  | { kind: "look"; wolfId: string }
  | { kind: "call"; path: string };

/** What is passed on: connections of tunnels, and questions about a wolf that only the holder of its tunnel can answer. */
const CALL =
  /^(?:\/revdial|\/api\/v1\/revdial|\/api\/v1\/wolf-instances\/[^/?#]+\/(?:tunnel|policy|usage-history))(?:\?[^#]*)?$/;

/** Undefined: there is no such path. */
export function targetOf(url: string): InternalTarget | undefined {
  if (!url.startsWith(INTERNAL_PREFIX)) return undefined;
  if (url === SELF_PATH) return { kind: "self" };
  if (url === KNOWN_PATH) return { kind: "known" };
  if (url.startsWith(CALL_PREFIX)) {
    const path = url.slice(CALL_PREFIX.length);
    return CALL.test(path) ? { kind: "call", path } : undefined;
  }
  const [, holder, id = "", service = "", path = ""] =
    /^tunnels\/(wolf|sandbox)\/([^/?#]+)\/([^/?#]+)(\/.*)$/.exec(url.slice(INTERNAL_PREFIX.length)) ?? [];
  if (holder !== undefined) {
    const isKnown = ID.test(id) && SERVICE.test(service);
    return isKnown ? { kind: "tunnel", holder: holder as Holder, id, service, path } : undefined;
  }
  const [, wolfId] = /^wolves\/([^/?#]+)\/look$/.exec(url.slice(INTERNAL_PREFIX.length)) ?? [];
  return wolfId !== undefined && ID.test(wolfId) ? { kind: "look", wolfId } : undefined;
}
