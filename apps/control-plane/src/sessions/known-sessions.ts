/**
 * The sessions that run on the wolves of this replica, as last read: for whoever looks at a screen while the database is away. A screen
 * needs its wolf and no database. Bounded by what those wolves run.
 */
import { isDatabaseDown } from "../database/database-down.ts";
import type { Tunnels } from "../tunnels/tunnels.ts";
import type { Session, SessionStore } from "./session-store.ts";

type Looks = Map<string, Session | undefined>;

export class KnownSessions {
  private readonly byWolf = new Map<string, Map<string, Session>>();
  /** What was looked at since the read of a list began: the list may be from before. */
  private readonly reading = new Set<Looks>();

  constructor(tunnels: Pick<Tunnels, "onWolfTunnelLost">) {
    tunnels.onWolfTunnelLost((wolfId) => void this.byWolf.delete(wolfId));
  }

  /** All that have not ended of a wolf, as they are now. Whoever was looked at while they were read is known as of that look. */
  async listLive(wolfId: string, store: Pick<SessionStore, "listLive">): Promise<Session[]> {
    const looks: Looks = new Map();
    this.reading.add(looks);
    try {
      const sessions = await store.listLive(wolfId);
      this.byWolf.set(wolfId, new Map(sessions.filter(isRunning).map((session) => [session.id, session])));
      for (const [id, session] of looks) this.put(id, session);
      return sessions;
    } finally {
      this.reading.delete(looks);
    }
  }

  /** As it is; while the database is away, as it ran before that. */
  async look(id: string, store: Pick<SessionStore, "get">): Promise<Session | undefined> {
    let session: Session | undefined;
    try {
      session = await store.get(id);
    } catch (error) {
      const known = isDatabaseDown(error) ? this.find(id) : undefined;
      if (known === undefined) throw error;
      return known;
    }
    for (const looks of this.reading) looks.set(id, session);
    this.put(id, session);
    return session;
  }

  private put(id: string, session: Session | undefined): void {
    if (session?.wolfId && isRunning(session)) this.byWolf.get(session.wolfId)?.set(id, session);
    else for (const sessions of this.byWolf.values()) sessions.delete(id);
  }

  private find(id: string): Session | undefined {
    for (const sessions of this.byWolf.values()) {
      const session = sessions.get(id);
      if (session !== undefined) return session;
    }
    return undefined;
  }
}

const isRunning = ({ status }: Session) => status === "running";
