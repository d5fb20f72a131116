import { describe, expect, it } from "@jest/globals";
import { type Owner, StrayLobbies } from "./stray-lobbies.ts";

const GRACE_MS = 30_000;
const at = (ms: number) => new Date(Date.UTC(2026, 10, 23) + ms);
const stray = (n: number) => ({ lobbyId: `lobby-${n}`, sessionId: `ses_${n}` });
const owner = (changes: Partial<Owner> = {}): Owner => ({
  id: "ses_1",
  lobbyId: "lobby-1",
  wolfId: "wlf_other",
  leftWolves: [],
  ...changes,
});

const known = (owners: readonly Owner[], recorded = ["ses_1", "ses_2"]) => ({
  owners,
  recorded: new Set(recorded),
});

describe("a lobby that no session of its wolf has", () => {
  it("is stopped when it is seen again after the grace, not a millisecond before", () => {
    const strays = new StrayLobbies(GRACE_MS);
    expect(strays.judge("w", [stray(1)], known([]), at(0))).toEqual({
      stop: [],
      fresh: [stray(1)],
      unknown: [],
      foreign: [],
    });
    expect(strays.judge("w", [stray(1)], known([]), at(GRACE_MS - 1))).toMatchObject({ stop: [], fresh: [] });
    expect(strays.judge("w", [stray(1), stray(2)], known([]), at(GRACE_MS))).toEqual({
      stop: [stray(1)],
      fresh: [stray(2)],
      unknown: [],
      foreign: [],
    });
  });

  it("is stopped again when the stop failed", () => {
    const strays = new StrayLobbies(GRACE_MS);
    strays.judge("w", [stray(1)], known([]), at(0));
    for (const ms of [GRACE_MS, GRACE_MS + 1])
      expect(strays.judge("w", [stray(1)], known([]), at(ms)).stop).toEqual([stray(1)]);
  });

  it("begins anew when it was away meanwhile, and on each wolf for itself", () => {
    const strays = new StrayLobbies(GRACE_MS);
    strays.judge("w", [stray(1)], known([]), at(0));
    expect(strays.judge("v", [stray(1)], known([]), at(GRACE_MS))).toMatchObject({
      stop: [],
      fresh: [stray(1)],
    });
    strays.judge("w", [], known([]), at(1));
    expect(strays.judge("w", [stray(1)], known([]), at(GRACE_MS))).toMatchObject({
      stop: [],
      fresh: [stray(1)],
    });
  });

  it.each([
    ["has the lobby on another wolf", owner({ id: "ses_other" })],
    ["has its tag, on another wolf, with another lobby", owner({ lobbyId: "lobby-9" })],
    ["has its tag, on another wolf, without a lobby yet", owner({ lobbyId: null })],
    ["has its tag, and its wolf was deleted", owner({ wolfId: null })],
    ["was placed on this wolf only now", owner({ lobbyId: null, wolfId: "w" })],
    ["was started on this wolf only now", owner({ wolfId: "w" })],
  ])(
    "is never stopped while a live session %s, which is said once if it is that of another wolf",
    (_what, live) => {
      const strays = new StrayLobbies(GRACE_MS);
      expect(strays.judge("w", [stray(1)], known([live]), at(0))).toEqual({
        stop: [],
        fresh: [],
        unknown: [],
        foreign: live.wolfId === "w" ? [] : [{ ...stray(1), ownerId: live.id, ownerWolfId: live.wolfId }],
      });
      for (const ms of [GRACE_MS, 2 * GRACE_MS])
        expect(strays.judge("w", [stray(1)], known([live]), at(ms))).toEqual({
          stop: [],
          fresh: [],
          unknown: [],
          foreign: [],
        });
      // That session ends: from now on nobody has it.
      expect(strays.judge("w", [stray(1)], known([]), at(3 * GRACE_MS))).toMatchObject({
        stop: [],
        fresh: [stray(1)],
      });
      expect(strays.judge("w", [stray(1)], known([]), at(4 * GRACE_MS)).stop).toEqual([stray(1)]);
    },
  );

  it("and has the tag of a session of its wolf with another lobby, is stopped after the grace", () => {
    const strays = new StrayLobbies(GRACE_MS);
    const twins = [owner({ wolfId: "w", lobbyId: "lobby-0" })];
    expect(strays.judge("w", [stray(1)], known(twins), at(0)).fresh).toEqual([stray(1)]);
    expect(strays.judge("w", [stray(1)], known(twins), at(GRACE_MS)).stop).toEqual([stray(1)]);
  });

  it.each([
    ["waits for another wolf", { wolfId: null, lobbyId: null }],
    ["is being made on another wolf", { lobbyId: null }],
    ["runs on another wolf", { lobbyId: "lobby-9" }],
  ])("and was left behind by its session, which %s, is stopped at once and every time", (_what, now) => {
    const strays = new StrayLobbies(GRACE_MS);
    const owners = [owner({ ...now, leftWolves: ["v", "w"] })];
    for (const ms of [0, 1])
      expect(strays.judge("w", [stray(1)], known(owners), at(ms))).toEqual({
        stop: [stray(1)],
        fresh: [],
        unknown: [],
        foreign: [],
      });
  });

  it.each([
    ["is the very one that its session has by another name of the same Wolf", { leftWolves: ["w"] }],
    ["has left another wolf, not this one", { lobbyId: "lobby-9", leftWolves: ["v"] }],
    ["came back to this wolf, and is being made there", { wolfId: "w", lobbyId: null, leftWolves: ["w"] }],
  ])("is not an old copy when it %s", (_what, now) => {
    const strays = new StrayLobbies(GRACE_MS);
    for (const ms of [0, GRACE_MS, 2 * GRACE_MS])
      expect(strays.judge("w", [stray(1)], known([owner(now)]), at(ms)).stop).toEqual([]);
  });

  it("is never stopped while the database has never heard of its session, which is said once", () => {
    const strays = new StrayLobbies(GRACE_MS);
    const judged = (ms: number) => strays.judge("w", [stray(1)], known([], ["ses_2"]), at(ms));
    expect(judged(0)).toEqual({ stop: [], fresh: [], unknown: [stray(1)], foreign: [] });
    for (const ms of [GRACE_MS, 2 * GRACE_MS])
      expect(judged(ms)).toEqual({ stop: [], fresh: [], unknown: [], foreign: [] });
    // It is known after all, and over: from now on nobody has it.
    expect(strays.judge("w", [stray(1)], known([]), at(3 * GRACE_MS)).fresh).toEqual([stray(1)]);
    expect(strays.judge("w", [stray(1)], known([]), at(4 * GRACE_MS)).stop).toEqual([stray(1)]);
  });
});
