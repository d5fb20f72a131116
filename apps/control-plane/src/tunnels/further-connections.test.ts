import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { Tunnel } from "revdial";
import { manualClock } from "../../test/manual-clock.ts";
import { createLogger } from "../logger.ts";
import {
  createFurtherConnections,
  type FurtherConnections,
  type HeldFurther,
} from "./further-connections.ts";

const tunnel = {} as Tunnel;
const boot = (incarnation: bigint): HeldFurther => ({ wolfId: "wlf_a", connection: 1, incarnation });

let further: FurtherConnections;
/** What the database is asked, in its order, and each is answered when the test says so. */
let asked: { what: "put" | "remove"; answer: () => void }[];

beforeEach(() => {
  asked = [];
  const ask = (what: "put" | "remove") =>
    new Promise<void>((answer) => void asked.push({ what, answer: () => answer() }));
  further = createFurtherConnections({
    places: {
      put: () => ask("put").then(() => true),
      remove: () => ask("remove"),
      fenced: async () => [],
      lives: async () => false,
    },
    clock: manualClock(),
    log: createLogger("fatal", { write: () => undefined }),
  });
});
afterEach(() => further.close());

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
async function answered(): Promise<void> {
  asked.at(-1)?.answer();
  await settled();
}
const whats = () => asked.map(({ what }) => what);

describe("the place of a further tunnel", () => {
  it("is removed before that of the next one is put, however slow the database is", async () => {
    const [first, second] = [boot(1n), boot(2n)];
    void further.admit(first, tunnel);
    await settled();
    await answered();
    further.left(first);
    const admitted = further.admit(second, tunnel);
    await settled();
    expect(whats()).toEqual(["put", "remove"]);
    await answered();
    await answered();
    expect([whats(), await admitted]).toEqual([["put", "remove", "put"], true]);
  });

  it("stays when the one before ends while the next one's is put, and after", async () => {
    const [first, second] = [boot(1n), boot(1n)];
    void further.admit(first, tunnel);
    await settled();
    await answered();
    void further.admit(second, tunnel);
    await settled();
    further.left(first);
    await answered();
    further.left(first);
    await settled();
    expect(whats()).toEqual(["put", "put"]);
    further.left(second);
    await settled();
    expect(whats()).toEqual(["put", "put", "remove"]);
    await answered();
  });
});
