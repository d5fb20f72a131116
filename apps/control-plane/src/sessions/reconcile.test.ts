import { describe, expect, it } from "@jest/globals";
import { checkWolfRequest, type Lobby } from "@wolfpack/wolf-api";
import fc from "fast-check";
import { aSession } from "../../test/a-session.ts";
import { type ReconcileInput, reconcile } from "./reconcile.ts";
import { sessionTransitions, statusesBefore } from "./session-lifecycle.ts";
import type { Session } from "./session-store.ts";
import { lobbyRequest, sessionOf } from "./session-tag.ts";

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 23, 12, 0, seconds));
const idOf = (n: number) => `ses_0000000000000000000000000${n}`;

const session = (n: number, changes: Partial<Session> = {}): Session =>
  aSession({ id: idOf(n), lobbyId: `lobby-${n}`, statusSince: at(0), ...changes });

const lobby = (n: number, tag: string | null = idOf(n)): Lobby => ({
  id: `lobby-${n}`,
  name: tag ?? "somebody's",
  runner: { type: "docker", env: tag === null ? [] : [`WOLFPACK_SESSION_ID=${tag}`] },
});

const judge = (sessions: Session[], lobbies: Lobby[], changes: Partial<ReconcileInput> = {}) =>
  reconcile({
    sessions,
    lobbies,
    listedAt: at(100),
    now: at(101),
    settleMs: 10_000,
    creating: new Map(),
    ...changes,
  });
const decide = (...input: Parameters<typeof judge>) => judge(...input).actions;

describe("reconciliation", () => {
  it("leaves what matches alone", () => {
    expect(decide([session(1), session(2)], [lobby(1), lobby(2)])).toEqual([]);
  });

  it("fails a running session whose lobby is gone", () => {
    expect(decide([session(1)], [])).toMatchObject([
      { action: "fail", session: { id: idOf(1) }, failure: { code: "lobby-vanished" } },
    ]);
  });

  it("does not miss a lobby in a list that was asked for before the session changed", () => {
    expect(decide([session(1, { statusSince: at(100) })], [])).toEqual([]);
    expect(decide([session(1, { status: "starting", statusSince: at(101) })], [])).toEqual([]);
    expect(decide([session(1, { status: "stopping", statusSince: at(101) })], [])).toEqual([]);
  });

  it("counts a starting session as running only after the settling time", () => {
    expect(decide([session(1, { status: "starting", statusSince: at(92) })], [lobby(1)])).toEqual([]);
    expect(decide([session(1, { status: "starting", statusSince: at(91) })], [lobby(1)])).toEqual([
      { action: "running", sessionId: idOf(1), lobbyId: "lobby-1" },
    ]);
  });

  it("adopts the lobby of a creation whose answer was lost, by its tag", () => {
    expect(decide([session(1, { status: "placed", lobbyId: null })], [lobby(1)])).toEqual([
      { action: "adopt", sessionId: idOf(1), lobbyId: "lobby-1" },
    ]);
  });

  it("begins a placed session anew once nobody holds it and Wolf has no lobby of it, not before", () => {
    const placed = (lockExpiresAt: Date | null, statusSince = at(0)) =>
      session(1, { status: "placed", lobbyId: null, lockToken: "t", lockExpiresAt, statusSince });
    const restart = [{ action: "restart", session: { id: idOf(1) } }];
    expect(decide([placed(at(102))], [])).toEqual([]);
    expect(decide([placed(at(102))], [lobby(1)])).toEqual([]);
    expect(decide([placed(at(101))], [])).toMatchObject(restart);
    expect(decide([placed(null)], [])).toMatchObject(restart);
    // The list is older than the session.
    expect(decide([placed(null, at(100))], [])).toEqual([]);
  });

  it("does not end a stopping session without lobby while somebody still creates it", () => {
    const stopping = (lockExpiresAt: Date) =>
      session(1, { status: "stopping", lobbyId: null, lockExpiresAt });
    expect(decide([stopping(at(102))], [])).toEqual([]);
    expect(decide([stopping(at(101))], [])).toMatchObject([{ action: "ended", session: { id: idOf(1) } }]);
    expect(decide([stopping(at(102))], [lobby(1)])).toMatchObject([{ action: "stopLobby" }]);
  });

  it("takes a lost session back whose lobby is still there, and fails one that came back without", () => {
    expect(decide([session(1, { status: "lost" })], [lobby(1)])).toEqual([
      { action: "running", sessionId: idOf(1), lobbyId: "lobby-1" },
    ]);
    expect(decide([session(1, { status: "lost" })], [])).toMatchObject([
      { action: "fail", failure: { code: "lobby-vanished" } },
    ]);
  });

  it("does not take a second lobby with its tag for the one that is gone", () => {
    const twin = { ...lobby(1), id: "twin" };
    expect(judge([session(1)], [twin])).toMatchObject({
      actions: [{ action: "fail", session: { id: idOf(1) } }],
      strays: [{ lobbyId: "twin", sessionId: idOf(1) }],
    });
  });

  it("does not touch a session whose creation is in flight, nor its lobby", () => {
    const creating = new Map([[idOf(1), "token"]]);
    expect(decide([session(1, { status: "placed", lobbyId: null })], [lobby(1)], { creating })).toEqual([]);
    expect(judge([], [lobby(1)], { creating })).toEqual({ actions: [], strays: [] });
  });

  it("stops the lobby of a stopping session and then ends it; ends it at once when the lobby is gone", () => {
    expect(decide([session(1, { status: "stopping" })], [lobby(1)])).toEqual([
      { action: "stopLobby", lobbyId: "lobby-1", tag: idOf(1), thenEnd: idOf(1) },
    ]);
    expect(decide([session(1, { status: "stopping" })], [])).toMatchObject([
      { action: "ended", session: { id: idOf(1) } },
    ]);
  });

  it("names a tagged lobby that no session of the wolf has, never one without the tag, and stops neither", () => {
    expect(judge([], [lobby(1), lobby(2, null)])).toEqual({
      actions: [],
      strays: [{ lobbyId: "lobby-1", sessionId: idOf(1) }],
    });
    expect(judge([], [lobby(3, "ses_nonsense"), lobby(4, "")])).toEqual({ actions: [], strays: [] });
  });

  it("names a second lobby with the tag of a session that has another", () => {
    const twin = { ...lobby(1), id: "twin" };
    expect(judge([session(1)], [lobby(1), twin])).toEqual({
      actions: [],
      strays: [{ lobbyId: "twin", sessionId: idOf(1) }],
    });
  });

  it("never stops or names an untagged lobby, never acts twice on a session, never fails what is listed", () => {
    const statuses = fc.constantFrom(
      "placed" as const,
      "starting" as const,
      "running" as const,
      "stopping" as const,
      "lost" as const,
    );
    const sessions = fc.uniqueArray(
      fc.record({
        n: fc.integer({ min: 0, max: 9 }),
        status: statuses,
        known: fc.boolean(),
        age: fc.integer({ min: 0, max: 120 }),
      }),
      { selector: ({ n }) => n },
    );
    const lobbies = fc.uniqueArray(fc.record({ n: fc.integer({ min: 0, max: 9 }), tagged: fc.boolean() }), {
      selector: ({ n }) => n,
    });
    fc.assert(
      fc.property(sessions, lobbies, (some, listed) => {
        const rows = some.map(({ n, status, known, age }) =>
          session(n, { status, lobbyId: known ? `lobby-${n}` : null, statusSince: at(120 - age) }),
        );
        const found = listed.map(({ n, tagged }) => lobby(n, tagged ? idOf(n) : null));
        const { actions, strays } = judge(rows, found, { listedAt: at(119), now: at(120) });
        const stopped = actions.flatMap((action) => (action.action === "stopLobby" ? [action.lobbyId] : []));
        for (const id of stopped) {
          const tag = sessionOf(found.find((one) => one.id === id) as Lobby);
          const owner = rows.find((row) => row.lobbyId === id || (row.lobbyId === null && row.id === tag));
          expect(owner?.status).toBe("stopping");
        }
        for (const { lobbyId, sessionId } of strays) {
          expect(sessionOf(found.find((one) => one.id === lobbyId) as Lobby)).toBe(sessionId);
          expect(rows.some((row) => row.lobbyId === lobbyId)).toBe(false);
        }
        const touched = actions.flatMap((action) =>
          "session" in action
            ? [action.session.id]
            : "sessionId" in action
              ? [action.sessionId]
              : "thenEnd" in action
                ? [action.thenEnd]
                : [],
        );
        expect(new Set(touched).size).toBe(touched.length);
        for (const action of actions) {
          if (action.action !== "fail") continue;
          const row = rows.find(({ id }) => id === action.session.id);
          const has = (one: Lobby) =>
            row?.lobbyId === null ? sessionOf(one) === row.id : one.id === row?.lobbyId;
          expect(found.some(has)).toBe(false);
        }
      }),
    );
  });
});

describe("the tag", () => {
  it("is in the name and in the environment of every lobby we ask for", () => {
    const request = lobbyRequest(session(1), "/dev/dri/renderD128");
    expect(sessionOf({ id: "x", name: request.name, runner: { type: "docker" } })).toBe(idOf(1));
    expect(sessionOf({ id: "x", name: "renamed", runner: { type: "docker", env: request.runner.env } })).toBe(
      idOf(1),
    );
    expect(request.runner_state_folder).toBe(`wolfpack/${idOf(1)}`);
  });

  it("is on a request that the guard of an agent without a policy file lets through", () => {
    const bodyText = JSON.stringify(lobbyRequest(session(1), "/dev/dri/renderD128"));
    expect(checkWolfRequest({ method: "POST", path: "/api/v1/lobbies/create", bodyText }).ok).toBe(true);
  });

  it.each(["", "ses_", "ses_../../etc", "wolfpack", `${idOf(1)}x`])(
    "is not read from the name %j",
    (name) => {
      expect(sessionOf({ id: "x", name, runner: { type: "process" } })).toBeUndefined();
    },
  );
});

describe("the life of a session", () => {
  it("has no way out of its ends", () => {
    expect(sessionTransitions.stopped).toEqual({});
    expect(sessionTransitions.failed).toEqual({});
  });

  it("can be failed from every live status, and stopped from all that are not stopping already", () => {
    expect(statusesBefore("failed")).toEqual(["queued", "placed", "starting", "running", "stopping", "lost"]);
    expect(statusesBefore("stopRequested")).toEqual(["placed", "starting", "running", "lost"]);
    expect(statusesBefore("stopped")).toEqual(["queued", "stopping", "lost"]);
    expect(statusesBefore("requeued")).toEqual(["placed", "starting", "running", "lost"]);
  });
});
