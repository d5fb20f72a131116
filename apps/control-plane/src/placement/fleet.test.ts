import { describe, expect, it } from "@jest/globals";
import { aCandidate, aFleet, aWish, someSettings } from "../../test/a-candidate.ts";
import { Fleet } from "./fleet.ts";
import { Interned } from "./interned.ts";
import { place } from "./placement.ts";

const claims = { vramMb: 1024, encoderSessions: 2 };
const context = { nowMs: 0, random: () => 0, settings: someSettings };
const claimedOf = (fleet: Fleet, id = "wlf_1") => {
  const wolf = fleet.get(id);
  return [wolf?.slots.claimed, wolf?.vramMb.claimed, wolf?.encoderSessions.claimed];
};

describe("a fleet", () => {
  it("counts a reservation until it is released", () => {
    const fleet = aFleet([aCandidate({ slots: { max: 2, claimed: 1, other: 0 } })]);
    fleet.reserve("wlf_1", claims);
    expect(claimedOf(fleet)).toEqual([2, 1024, 2]);
    expect(place(aWish(), fleet, context).explanation.removed).toEqual([{ filter: "capacity", count: 1 }]);
    fleet.release("wlf_1", claims);
    expect(claimedOf(fleet)).toEqual([1, 0, 0]);
    expect(place(aWish(), fleet, context).outcome).toBe("placed");
  });

  it("believes the next put of a wolf instead of its reservations", () => {
    const fleet = aFleet([aCandidate()]);
    fleet.reserve("wlf_1", claims);
    fleet.put(aCandidate({ slots: { max: 12, claimed: 7, other: 0 } }));
    expect(claimedOf(fleet)).toEqual([7, 0, 0]);
    fleet.release("wlf_1", claims);
    expect(claimedOf(fleet)).toEqual([7, 0, 0]);
  });

  it("never releases more than was reserved", () => {
    const fleet = aFleet([aCandidate()]);
    fleet.reserve("wlf_1", { vramMb: 1, encoderSessions: 1 });
    fleet.release("wlf_1", claims);
    fleet.release("wlf_1", claims);
    expect(claimedOf(fleet)).toEqual([0, 0, 0]);
  });

  it("takes no notice of claims on a wolf that it does not have, nor of its removal", () => {
    const fleet = aFleet([aCandidate()]);
    fleet.reserve("wlf_0", claims);
    fleet.release("wlf_2", claims);
    fleet.remove("wlf_0");
    expect(fleet.get("wlf_0")).toBeUndefined();
    expect([...fleet.ids()]).toEqual(["wlf_1"]);
    expect(claimedOf(fleet)).toEqual([0, 0, 0]);
  });

  it("forgets reservations with the wolf", () => {
    const fleet = aFleet([aCandidate()]);
    fleet.reserve("wlf_1", claims);
    fleet.remove("wlf_1");
    fleet.put(aCandidate());
    fleet.release("wlf_1", claims);
    expect(claimedOf(fleet)).toEqual([0, 0, 0]);
  });

  it("grows and shrinks without mixing up its wolves", () => {
    const fleet = new Fleet();
    const ids = Array.from({ length: 300 }, (_, at) => `w${(at * 7919) % 300}`);
    for (const id of ids) fleet.put(aCandidate({ id, labels: { id }, region: `r${id.length}` }));
    for (const id of ids.slice(0, 150)) fleet.remove(id);
    expect(fleet.size).toBe(150);
    expect([...fleet.ids()]).toEqual(ids.slice(150).sort());
    for (const id of ids.slice(150)) {
      const decision = place(aWish({ labels: { id } }), fleet, context);
      expect(decision).toMatchObject({ ranked: [{ id }], explanation: { candidates: 150 } });
    }
  });

  it("keeps of what its wolves once were only as much as they are now", () => {
    const fleet = new Fleet();
    for (let at = 0; at < 1000; at += 1) {
      fleet.put(aCandidate({ labels: { at: String(at) }, images: [String(at)] }));
      expect(place(aWish({ labels: { at: String(at) } }), fleet, context).outcome).toBe("placed");
      expect(place(aWish({ labels: { at: String(at - 1) } }), fleet, context).outcome).toBe("impossible");
    }
    expect([fleet.profiles.size, fleet.imageSets.size]).toEqual([1, 1]);
    expect(fleet.profiles.idsEnd).toBeLessThanOrEqual(2);
  });

  it("answers a wish again after what it asked about has changed", () => {
    const fleet = aFleet([aCandidate()]);
    const wish = aWish({ labels: { zone: "a" } });
    expect(place(wish, fleet, context).outcome).toBe("impossible");
    fleet.put(aCandidate({ labels: { zone: "a" } }));
    expect(place(wish, fleet, context).outcome).toBe("placed");
    fleet.put(aCandidate({ labels: { zone: "b" } }));
    expect(place(wish, fleet, context).outcome).toBe("impossible");
  });
});

describe("interned values", () => {
  it("asks a question once for each value, and again only for what has come since", () => {
    const interned = new Interned<string>();
    const asked: string[] = [];
    const answers = () =>
      interned.answers("length", () => (value) => {
        asked.push(value);
        return value.length;
      });
    const [a, same] = [interned.hold("a", "a"), interned.hold("a", "a")];
    expect(same).toBe(a);
    expect(answers()[a]).toBe(1);
    interned.drop(a);
    expect(answers()[a]).toBe(1);
    interned.drop(a);
    const reused = interned.hold("bb", "bb");
    expect(reused).toBe(a);
    expect(answers()[reused]).toBe(2);
    answers();
    expect(asked).toEqual(["a", "bb"]);
  });

  it("forgets the question that was asked longest ago, and answers it anew", () => {
    const interned = new Interned<string>();
    const id = interned.hold("a", "a");
    let asked = 0;
    const ask = (question: string) =>
      interned.answers(question, () => () => {
        asked += 1;
        return 7;
      })[id];
    ask("first");
    for (let at = 0; at < 127; at += 1) ask(String(at));
    ask("first");
    expect(asked).toBe(128);
    ask("one too many");
    expect(ask("first")).toBe(7);
    expect(asked).toBe(129);
    expect(ask("0")).toBe(7);
    expect(asked).toBe(130);
  });

  it("answers for more values than there was room for at first", () => {
    const interned = new Interned<number>();
    const answer = () => interned.answers("itself", () => (value) => value % 256);
    const ids = Array.from({ length: 50 }, (_, at) => interned.hold(String(at), at));
    answer();
    ids.push(...Array.from({ length: 450 }, (_, at) => interned.hold(String(at + 50), at + 50)));
    const answers = answer();
    expect(ids.map((id) => answers[id])).toEqual(ids.map((_, at) => at % 256));
  });
});
