/** Sessions that are known while the database is away: as last read, whatever was read at once. */
import { beforeEach, describe, expect, it } from "@jest/globals";
import { aSession } from "../../test/a-session.ts";
import { KnownSessions } from "./known-sessions.ts";
import type { Session } from "./session-store.ts";

const running = aSession();
const { id, wolfId } = running as Session & { wolfId: string };
const down = Object.assign(new Error("away"), { code: "ECONNREFUSED" });
const get = (session: Session | undefined) => ({ get: async () => session });
const listing = (...sessions: Session[]) => ({ listLive: async () => sessions });
const away = { get: () => Promise.reject(down) };

let lost: (wolfId: string) => void;
let known: KnownSessions;
beforeEach(() => {
  known = new KnownSessions({
    onWolfTunnelLost(listener) {
      lost = listener;
    },
  });
});

/** A list that was read before whatever happens until it is let go. */
function late(...sessions: Session[]) {
  const { promise, resolve } = Promise.withResolvers<Session[]>();
  const done = known.listLive(wolfId, { listLive: () => promise });
  return () => {
    resolve(sessions);
    return done;
  };
}

describe("a session while the database is away", () => {
  it("is as it was last listed, or looked at", async () => {
    await known.listLive(wolfId, listing(running));
    expect(await known.look(id, away)).toBe(running);
    const renamed = aSession({ name: "other" });
    await known.look(id, get(renamed));
    expect(await known.look(id, away)).toBe(renamed);
  });

  it("stays known when a list that was read before it ran comes late", async () => {
    await known.listLive(wolfId, listing());
    const arrive = late(aSession({ status: "starting" }));
    await known.look(id, get(running));
    await arrive();
    expect(await known.look(id, away)).toBe(running);
  });

  it("stays gone when a list that was read before it ended comes late", async () => {
    await known.listLive(wolfId, listing(running));
    const arrive = late(running);
    await known.look(id, get(undefined));
    await arrive();
    await expect(known.look(id, away)).rejects.toBe(down);
  });

  it("is not known once a later list is without it, its tunnel is lost, or it does not run", async () => {
    await known.listLive(wolfId, listing(running));
    await known.listLive(wolfId, listing());
    await expect(known.look(id, away)).rejects.toBe(down);
    await known.listLive(wolfId, listing(running));
    lost(wolfId);
    await expect(known.look(id, away)).rejects.toBe(down);
    await known.listLive(wolfId, listing(aSession({ status: "stopping" })));
    await expect(known.look(id, away)).rejects.toBe(down);
  });

  it("is not known of a wolf whose tunnel is not here", async () => {
    await known.look(id, get(running));
    await expect(known.look(id, away)).rejects.toBe(down);
  });

  it("leaves what is known as it is when a list cannot be read, and passes its error on", async () => {
    await known.listLive(wolfId, listing(running));
    await expect(known.listLive(wolfId, { listLive: () => Promise.reject(down) })).rejects.toBe(down);
    expect(await known.look(id, away)).toBe(running);
  });

  it("is no answer to any other error", async () => {
    await known.listLive(wolfId, listing(running));
    const error = new Error("broken");
    await expect(known.look(id, { get: () => Promise.reject(error) })).rejects.toBe(error);
  });
});
