/** Every kind of event and every cause, with what it says: one table for clients, documents and the test that holds the triggers to it. */

/** `<what>.<happened>`. */
export const fleetEventKinds = {
  "session.queued": "Waits for a wolf: new, or because it lost its wolf.",
  "session.placed": "Has a wolf, and its lobby is being created.",
  "session.starting": "Its lobby is there, its container is not yet seen to run.",
  "session.running": "Its container runs.",
  "session.stopping": "Is being stopped; `stop_reason` says why.",
  "session.lost": "Its wolf is lost, and it waits for it.",
  "session.stopped": "Has ended.",
  "session.failed": "Has ended with a failure; `failure_code` says which.",
  "session.extended": "Ends at another time, `expires_at`.",
  "session.expiring": "Will be stopped or moved at `at`, because of `reason`.",
  "queue.entered": "Waits in the queue, until `deadline` at the latest.",
  "queue.left": "Waits no more: it became `to` after `waited_ms`.",
  "placement.made": "Holds a slot of this wolf, by `policy`.",
  "placement.released": "Holds its slot no more.",
  "wolf.registered": "A new wolf.",
  "wolf.removed": "A wolf is no more.",
  "wolf.tunnel": "A new tunnel is the newest one, with this `epoch`.",
  "wolf.connectivity": "From one connectivity `to` another.",
  "wolf.health": "From one health `to` another, or for other `reasons`.",
  "wolf.intent": "From one intent `to` another.",
  "wolf.changed": "These `fields` of it are other ones now.",
  "wolf.lobbies": "So many lobbies run there that no session has, and take slots: `from` before, `to` now.",
  "wolf.quarantined": "Gets no session `until` then.",
  "wolf.readmitted": "Its quarantine has ended by an operator's word.",
  "fleet.frozen": "Most wolves left at once: none is given up.",
  "fleet.thawed": "Wolves are given up again.",
  "fleet.override": "An operator has lifted the freeze, `until` then.",
  "user.created": "A new user.",
  "user.changed": "Role, limits or being disabled; `from` has what was before.",
  "api-key.created": "A new key of `owner_id`.",
  "api-key.revoked": "It opens nothing any more.",
  "web-session.opened":
    "A browser has signed in as `owner_id` with the key `api_key_id`, until `expires_at`.",
  "web-session.ended": "It signed out, or its key or its user was taken away.",
  "join-token.created": "A new join token.",
  "join-token.used": "A host has enrolled with it.",
  "join-token.revoked": "It enrols nobody any more.",
  "agent-key.enrolled": "A new key of an agent, `active` or `pending`.",
  "agent-key.approved": "It was pending and opens tunnels now.",
  "agent-key.shortened": "It ends sooner, at `expires_at`: a newer key of its wolf is in use.",
  "agent-key.revoked": "It opens nothing any more.",
} as const satisfies Record<string, string>;
export type FleetEventKind = keyof typeof fleetEventKinds;

/** A kind, or the beginning of some before a `*`: anything else would be waited for in vain. */
export function isKindFilter(filter: string): boolean {
  const kinds = Object.keys(fleetEventKinds);
  return filter.endsWith(".*")
    ? kinds.some((kind) => kind.startsWith(filter.slice(0, -1)))
    : kinds.includes(filter);
}

/** Why, in one word that stays. */
export const fleetEventCauses = {
  requested: "Somebody asked for it by the API; `request_id` says by which request.",
  connected: "An agent opened a tunnel.",
  disconnected: "A tunnel ended.",
  heartbeat: "The newest tunnel is alive, whatever was thought of it.",
  reported: "An agent said so of its host.",
  silence: "Nothing was heard of a wolf for too long.",
  restart: "A replica has started and knows of no tunnel yet.",
  "replica-gone": "The lease of the replica that held the tunnel has ended.",
  "mass-loss": "Most wolves left at once, or are back.",
  "wolf-lost": "The session's wolf is lost.",
  "wolf-event": "A Wolf said what happened to a lobby or container.",
  reconciled: "What a Wolf runs was compared with what it should.",
  started: "A session's sandbox was begun, and this came of it.",
  queue: "There was room for a session that waited.",
  deadline: "A session's time was over, or a status lasted too long.",
  drain: "A wolf is being emptied.",
  "first-boot": "The first admin, or a new key for it from the host's own command line.",
} as const satisfies Record<string, string>;
export type FleetEventCause = keyof typeof fleetEventCauses;
