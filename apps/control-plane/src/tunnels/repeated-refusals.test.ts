import { expect, it } from "@jest/globals";
import { manualClock } from "../../test/manual-clock.ts";
import { type Refused, repeatedRefusals } from "./repeated-refusals.ts";

const MINUTE_MS = 60_000;
const refused: Refused = {
  principal: { kind: "runner" },
  address: "192.0.2.1",
  action: "agent.connect",
  object: "wolf-gpu-1",
  code: "forbidden",
};

it("of refusals that are alike one counts in ten minutes", () => {
  const clock = manualClock();
  const { isRepeated } = repeatedRefusals(clock);
  expect(isRepeated(refused)).toBe(false);
  for (let minute = 0; minute < 9; minute += 1) {
    clock.advance(MINUTE_MS);
    expect(isRepeated(refused)).toBe(true);
  }
  clock.advance(MINUTE_MS);
  expect([isRepeated(refused), isRepeated(refused)]).toEqual([false, true]);
});

it.each<Partial<Refused>>([
  { principal: undefined },
  { address: "192.0.2.2" },
  { action: "session.tunnel" },
  { object: "wolf-gpu-2" },
  { object: undefined },
  { code: "wolf-not-found" },
])("one with another %j is not alike", (other) => {
  const { isRepeated } = repeatedRefusals(manualClock());
  isRepeated(refused);
  expect(isRepeated({ ...refused, ...other })).toBe(false);
});

it("what is remembered has a bound: the oldest are told of again", () => {
  const { isRepeated } = repeatedRefusals(manualClock());
  for (let n = 0; n <= 10_000; n += 1) isRepeated({ ...refused, object: `wolf-${n}` });
  expect(isRepeated({ ...refused, object: "wolf-10000" })).toBe(true);
  expect(isRepeated({ ...refused, object: "wolf-0" })).toBe(false);
});
