import { beforeEach, describe, expect, it } from "@jest/globals";
import { LobbyEvents, type LobbyNews } from "./lobby-events.ts";

let events: LobbyEvents;
beforeEach(() => {
  events = new LobbyEvents();
});

const hear = (seq: number, name: string, data: Record<string, unknown>, wolfId = "a", incarnation = 1n) =>
  events.hear({ wolfId, epoch: 1, incarnation }, { seq, event: `wolf::core::events::${name}`, data });
const news = (list: readonly LobbyNews[]) => list.map((one) => one.news);

describe("events of lobbies", () => {
  it("that come twice say nothing the second time, nor do older ones", () => {
    expect(news(hear(1, "DockerContainerCreated", { session_id: "x" }))).toEqual(["started"]);
    expect(hear(1, "DockerContainerCreated", { session_id: "x" })).toEqual([]);
    hear(2, "StopLobbyEvent", { lobby_id: "y" });
    expect(hear(1, "StopLobbyEvent", { lobby_id: "x" })).toEqual([]);
    expect(events.endOf("a", "x")).toBeUndefined();
  });

  it("with a gap in their numbers make Wolf be asked, once", () => {
    hear(1, "PairSignal", {});
    expect(news(hear(3, "PairSignal", {}))).toEqual(["none", "look"]);
    expect(news(hear(4, "PairSignal", {}))).toEqual(["none"]);
    expect(news(hear(9, "StopLobbyEvent", { lobby_id: "x" }))).toEqual(["look"]);
  });

  it("of another boot of the agent begin at 1; a later number means that some were lost", () => {
    hear(7, "PairSignal", {});
    expect(news(hear(1, "PairSignal", {}, "a", 2n))).toEqual(["none"]);
    expect(news(hear(5, "PairSignal", {}, "a", 3n))).toEqual(["none", "look"]);
  });

  it("are of the wolf that tells them, never of another's lobby", () => {
    hear(1, "DockerContainerCreated", { session_id: "x" }, "liar");
    hear(2, "StopLobbyEvent", { lobby_id: "x" }, "liar");
    expect([events.hasStarted("a", "x"), events.endOf("a", "x")]).toEqual([false, undefined]);
  });

  it("start no lobby that has ended, and keep the first cause of an end", () => {
    hear(1, "DockerContainerStopped", { session_id: "x" });
    hear(2, "StopLobbyEvent", { lobby_id: "x" });
    expect(news(hear(3, "DockerContainerCreated", { session_id: "x" }))).toEqual(["none"]);
    expect(events.endOf("a", "x")?.code).toBe("container-ended");
    expect(events.hasStarted("a", "x")).toBe(false);
  });

  it.each([
    ["no id", {}],
    ["an object for an id", { session_id: { toString: 1 } }],
    ["a number for an id", { lobby_id: 7 }],
    ["an id longer than any", { lobby_id: "x".repeat(65) }],
  ])("with %s say nothing", (_name, data) => {
    expect(news(hear(1, "DockerContainerCreated", data))).toEqual(["none"]);
    expect(news(hear(2, "StopLobbyEvent", data))).toEqual(["none"]);
  });

  it("are remembered up to 4,096 lobbies, the oldest gives way", () => {
    for (let seq = 1; seq <= 5000; seq += 1) hear(seq, "DockerContainerCreated", { session_id: `x${seq}` });
    expect(events.hasStarted("a", "x904")).toBe(false);
    expect(events.hasStarted("a", "x905")).toBe(true);
  });
});
