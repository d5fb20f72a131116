/**
 * The end of a run in which everything has to come right: faults have stopped, but for one host that is heard and hears nothing for
 * good. What is still wrong after the bound, stays wrong.
 */
import { SKEW_MS_MAX } from "./bounds.ts";
import type { Fleet } from "./fleet.ts";
import type { SessionRow } from "./rows.ts";
import { settings } from "./settings.ts";

const SECOND = 1000;
/** The longest way back: a lost session gives up, a stray is seen, judged and stopped; quarantines end. */
export const RECOVERY_MS =
  settings.limits.lostMs +
  settings.strayGraceMs +
  4 * settings.reconcileIntervalMs +
  2 * SKEW_MS_MAX +
  90 * SECOND;
/** A session or a lobby that is younger than this may still be on its way. */
const FRESH_MS = 90 * SECOND;

/** Violates what has not come right. To be called once, after RECOVERY_MS without faults. */
export function checkLiveness(fleet: Fleet): void {
  checkSessions(fleet);
  checkLobbies(fleet);
}

const ageMs = (fleet: Fleet, { id }: SessionRow) =>
  fleet.world.nowMs - (fleet.invariants.sessions.get(id)?.sinceMs ?? fleet.world.nowMs);

function checkSessions(fleet: Fleet): void {
  for (const session of fleet.rows.live()) {
    const { id, status, wolfId } = session;
    if (wolfId === null || status === "running" || ageMs(fleet, session) < FRESH_MS) continue;
    if (fleet.reachableSinceMs(wolfId) !== undefined)
      fleet.world.violate("liveness", `session ${id} is still ${status} on ${wolfId}, which can be reached`);
  }
}

/** What a Wolf runs is what the rows say. One that has just changed may not have been compared since. */
function checkLobbies(fleet: Fleet): void {
  for (const { wolf } of fleet.hosts) {
    const isQuiet = fleet.world.nowMs - wolf.changedAtMs >= FRESH_MS;
    if (!isQuiet || fleet.reachableSinceMs(wolf.id) === undefined) continue;
    let others = 0;
    for (const lobby of wolf.lobbies.values()) {
      const isForeign = lobby.tag === undefined || fleet.rows.session(lobby.tag) === undefined;
      const wrong = isForeign ? "of somebody else" : fleet.bounds.wrongWith(lobby);
      if (wrong === undefined) continue;
      others += 1;
      if (!isForeign) fleet.world.violate("liveness", `lobby ${lobby.id} on ${wolf.id} is ${wrong}`);
    }
    for (const { id, lobbyId, status } of fleet.rows.liveOf(wolf.id))
      if (status === "running" && !wolf.lobbies.has(lobbyId ?? ""))
        fleet.world.violate("liveness", `session ${id} runs on ${wolf.id} without a lobby there`);
    const counted = fleet.rows.wolf(wolf.id)?.otherLobbies;
    if (counted !== others)
      fleet.world.violate("liveness", `${wolf.id} counts ${counted} other lobbies and has ${others}`);
  }
}
