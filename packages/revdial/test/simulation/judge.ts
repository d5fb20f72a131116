/** What must hold for every exchange once everything is at rest, whatever happened to it. */
import type { TunnelEnd } from "../../src/index.ts";
import type { Side } from "../../src/testing/index.ts";
import type { Deeds } from "./run.ts";
import type { Exchange, World } from "./world.ts";

/** Codes that say of the far end that it did not look at the request: then its handler has not been called. */
function mayBeSeen({ plan, outcome, sent }: Exchange): boolean {
  // A handler that refuses says so itself, after it has looked.
  return sent !== "not-sent" || (plan.kind === "refuse" && outcome === plan.detail);
}

/** What may happen to any exchange of a side because of what happened to its tunnel. */
function excuses(side: Side, deeds: Deeds, undisturbed: boolean): Set<string> {
  const codes = new Set<string>(deeds.tight ? ["REFUSED"] : []);
  if (undisturbed) return codes;
  const end = deeds.ends[side];
  if (end !== undefined) codes.add(end.code).add("CLOSED");
  if (end !== undefined || deeds.closed.left || deeds.closed.right) codes.add("DRAINING");
  return codes;
}

function mayStall({ plan }: Exchange, deeds: Deeds): boolean {
  const { stallTimeoutMs } = deeds.limits.left;
  const shortest = Math.min(stallTimeoutMs, deeds.limits.right.stallTimeoutMs);
  if (shortest > 60_000) return false;
  return (plan.reading.unreadMs ?? 0) >= shortest || (deeds.weather.broken && deeds.weather.kind !== "cut");
}

function judgeOutcome(world: World, exchange: Exchange, deeds: Deeds, undisturbed: boolean): void {
  const { plan, outcome = "none", sent, seen } = exchange;
  const name = `exchange ${plan.id} (${plan.kind}, ${plan.from})`;
  const excused = excuses(plan.from, deeds, undisturbed).has(outcome);
  if (!plan.expects.has(outcome) && !excused && !(outcome === "STALLED" && mayStall(exchange, deeds)))
    world.fault(`${name} ends with ${outcome} instead of ${[...plan.expects]}`);
  if (seen > 1) world.fault(`${name} was seen ${seen} times`);
  if (seen > 0 && !mayBeSeen(exchange)) world.fault(`${name} ends with ${outcome}, not sent, and was seen`);
  if (seen === 0 && (outcome === "answered" || outcome === "left"))
    world.fault(`${name} ends with ${outcome} and was never seen`);
  if (
    ["CANCELLED", "DEADLINE", "HEAD_INVALID"].includes(outcome) &&
    plan.kind === "stillborn" &&
    sent !== "not-sent"
  )
    world.fault(`${name} was never begun and may have run`);
  const headMs = (exchange.headAtMs ?? 0) - exchange.askedAtMs;
  if (headMs > (plan.deadlineMs ?? Number.POSITIVE_INFINITY))
    world.fault(`${name} waits ${headMs} ms with a deadline of ${plan.deadlineMs} ms`);
}

function judgeBytes(world: World, { plan, up, down, outcome }: Exchange, deeds: Deeds): void {
  const name = `exchange ${plan.id} (${plan.kind}, ${plan.from})`;
  for (const [direction, account] of Object.entries({ up, down })) {
    const { begun, stopped, complete, takenBytes, givenBytes, ended } = account;
    if (begun && !stopped) world.fault(`${name}: the producer was not stopped (${direction})`);
    const echoed = plan.kind === "echo" && direction === "down";
    const given = echoed ? up.givenBytes : givenBytes;
    if (begun && takenBytes > given) world.fault(`${name}: ${takenBytes} of ${given} bytes (${direction})`);
    if (begun && complete && (!ended || takenBytes !== given))
      world.fault(`${name}: an end after ${takenBytes} of ${given} bytes (${direction})`);
  }
  const watched = deeds.witness.of(`/${plan.id}`);
  if (watched === undefined || outcome !== "answered") return;
  const back = watched.lanes[plan.from === "left" ? "right" : "left"].bytes;
  if (back !== down.takenBytes) world.fault(`${name}: ${back} bytes on the wire, ${down.takenBytes} read`);
}

export function judge(world: World, deeds: Deeds, undisturbed: boolean): void {
  for (const exchange of world.exchanges.values()) {
    judgeOutcome(world, exchange, deeds, undisturbed);
    judgeBytes(world, exchange, deeds);
  }
  deeds.notices.noneInvented();
}

/** Its owner gave the drain too little time: what is in flight is cut. */
const ranOut = (end: TunnelEnd | undefined) => /^still busy/.test(end?.reason ?? "");

/** How a tunnel may end, given what was done to it and its link. */
export function judgeEnds(world: World, deeds: Deeds): void {
  for (const side of ["left", "right"] as const) {
    const peer = side === "left" ? "right" : "left";
    const end = deeds.ends[side];
    const codes = new Set<string>(deeds.destroyed[side] ? ["DESTROYED"] : []);
    if (deeds.closed.left || deeds.closed.right) codes.add("CLOSED").add("DRAINING");
    const { weather } = deeds;
    if (weather.broken && weather.kind !== "cut") codes.add("DEAD_PEER").add("HELLO_TIMEOUT");
    if (deeds.destroyed[peer] || (weather.broken && weather.kind !== "silence")) codes.add("TRANSPORT_LOST");
    // A drain whose time is over may end before its GOAWAY has left, or has been read.
    if (ranOut(deeds.ends[peer])) codes.add("TRANSPORT_LOST");
    if (end === undefined || !codes.has(end.code))
      world.fault(`${side} ends with ${end?.code} (${end?.reason}) instead of ${[...codes]}`);
    if (end?.code === "DRAINING" && (end.retryAfterMs ?? 0) !== deeds.retryAfterMs[peer])
      world.fault(`${side} hears ${end.retryAfterMs} instead of ${deeds.retryAfterMs[peer]} as retryAfterMs`);
  }
}
