/** Stops that Wolf does not answer, tried again: real PostgreSQL, told Wolfs. */
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { eventually } from "../../test/host.ts";
import { refused, type SessionFleet, sessionFleet } from "../../test/session-fleet.ts";
import type { UserPrincipal } from "../identity/principal.ts";

let fleet: SessionFleet;
let ann: UserPrincipal;

beforeEach(async () => {
  fleet = await sessionFleet();
  ann = await fleet.user("ann");
});
afterEach(() => fleet.close());

const nothing = { slots: 0, vramMb: 0, encoderSessions: 0 };

describe("a stop that its Wolf did not answer", () => {
  it("is done a second later, with all that failed beside it, without an event and without the round over all wolves", async () => {
    const { id: wolfId, told } = await fleet.wolf("w", { maxSandboxes: 3 });
    const sessions = [await fleet.running(ann), await fleet.running(ann), await fleet.running(ann)];
    told.isSilent = true;
    const stops = await Promise.all(sessions.map(({ id }) => fleet.service.stop(ann, id, false)));
    expect(stops.map(({ status }) => status)).toEqual(["stopping", "stopping", "stopping"]);
    told.isSilent = false;
    fleet.clock.advance(1000);
    for (const { id } of sessions) await fleet.becomes(id, "stopped");
    expect(told.lobbies).toEqual([]);
    expect(await fleet.claims(wolfId)).toEqual(nothing);
  });

  it("is asked for again ever more rarely while there is no answer", async () => {
    const { told } = await fleet.wolf("w");
    const { id } = await fleet.running(ann);
    let asked = 0;
    told.listLobbies = async () => {
      asked += 1;
      throw refused("busy");
    };
    told.stopLobby = told.listLobbies as unknown as typeof told.stopLobby;
    await fleet.service.stop(ann, id, false);
    expect(asked).toBe(1);
    for (const [at, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      fleet.clock.advance(seconds * 1000 - 1);
      expect(asked).toBe(at + 1);
      fleet.clock.advance(1);
      await eventually(
        () => fleet.lines.filter((line) => line.includes("reconciliation failed")).length,
        (failed) => failed === at + 1,
      );
    }
    expect((await fleet.store.get(id))?.status).toBe("stopping");
  });

  it("is done a second later also when an earlier look was put off for long, and one that came before it has succeeded", async () => {
    const { id: wolfId, told } = await fleet.wolf("w");
    const { id } = await fleet.running(ann);
    told.isSilent = true;
    // After four that failed the next one is planned for 16 s later.
    for (const seconds of [0, 1, 2, 4]) {
      const before = fleet.lines.length;
      fleet.clock.advance(seconds * 1000);
      if (seconds === 0) await fleet.service.reconcileAll([wolfId]);
      await eventually(
        () => fleet.lines.slice(before).some((line) => line.includes("reconciliation failed")),
        (failed) => failed,
      );
    }
    told.isSilent = false;
    await fleet.service.reconcileAll([wolfId]);
    told.isSilent = true;
    await fleet.service.stop(ann, id, false);
    told.isSilent = false;
    fleet.clock.advance(1000);
    await fleet.becomes(id, "stopped");
  });
});
