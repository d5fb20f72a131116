/** The dashboard in a real browser, before a fleet of real processes: what people see, do, and are kept from. */
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from "@jest/globals";
import { obtainBrowser, withoutBrowser } from "../src/browser.ts";
import { describeDetails } from "./dashboard/details.ts";
import { describeHostility } from "./dashboard/hostility.ts";
import { describeLooks } from "./dashboard/looks.ts";
import { describeManaging } from "./dashboard/managing.ts";
import { describeMany } from "./dashboard/many.ts";
import { describeReconnecting } from "./dashboard/reconnecting.ts";
import { describeRecords } from "./dashboard/records.ts";
import { describeSandboxes } from "./dashboard/sandboxes.ts";
import { describeSigningIn } from "./dashboard/signing-in.ts";
import { Stage } from "./dashboard/stage.ts";
import { describeSteering } from "./dashboard/steering.ts";
import { describeTopology } from "./dashboard/topology.ts";

const say = (line: string) => console.warn(`the dashboard in a browser: ${line}`);
const chrome = await obtainBrowser(say);
const describeInBrowser = chrome === undefined ? describe.skip : describe;
if (chrome === undefined && withoutBrowser() === "skip")
  say("SKIPPED, every test of it: there is no browser");
if (chrome === undefined && withoutBrowser() === "fail")
  it("the dashboard's tests have a browser, since CI is set", () => {
    throw new Error(
      "there is no Chromium (see above), so that none of them ran: install it, set CHROME_PATH, or say BROWSER_TESTS=optional",
    );
  });

let stage: Stage;

// A browser shares two cores with whatever else is tested; it waits for what it sees, and no longer.
jest.setTimeout(90_000);

describeInBrowser("the dashboard in a browser", () => {
  beforeAll(async () => {
    stage = await Stage.start(chrome ?? "");
  }, 90_000);

  afterEach(async () => {
    const faults = await stage.clear();
    expect(faults).toEqual([]);
  });

  afterAll(async () => {
    await stage?.stop();
  }, 60_000);

  const the = () => stage;
  describeSigningIn(the);
  describeSteering(the);
  describeTopology(the);
  describeSandboxes(the);
  describeRecords(the);
  describeManaging(the);
  describeReconnecting(the);
  describeLooks(the);
  describeDetails(the);
  describeHostility(the);
  describeMany(the);
});
