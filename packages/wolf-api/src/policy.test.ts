import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { defaultWolfPolicy, effectivePolicy, policyDocument, readWolfPolicy, WolfPolicy } from "./policy.ts";
import { classLimits, routeName, wolfRoutes } from "./routes.ts";

const reasonOf = (text: string) => {
  const reading = readWolfPolicy(text);
  return reading.ok ? undefined : reading.reason;
};
const document = readFileSync(new URL("../../../docs/operations/policy.md", import.meta.url), "utf8");

describe("a policy file", () => {
  it("may be empty, and then nothing changes", () => {
    expect(readWolfPolicy("{}")).toEqual({ ok: true, policy: defaultWolfPolicy });
  });

  it.each([
    ["", "it is not JSON"],
    ["{", "it is not JSON"],
    ['{\n  "secrets": true,\n}', "it is not JSON (line 3 column 1)"],
    ['{\n  "close": []\n  "open": []\n}', "it is not JSON (line 3 column 3)"],
    ["[]", "the document: "],
    ["null", "the document: "],
    ['{"opne":[]}', "the document: "],
    ['{"open":"GET /api/v1/apps"}', "open: "],
    ['{"open":["GET /api/v1/nothing"]}', "open.0: is not a route that a policy can open"],
    ['{"open":["GET /api/v1/apps","GET /api/v1/events"]}', "open.1: is not a route that a policy can open"],
    ['{"open":["POST /api/v1/sessions/start"]}', "open.0: is not a route that a policy can open"],
    ['{"close":["GET /api/v1/apps"]}', "close.0: is not a route that is open without a policy"],
    ['{"mount_folders":["srv"]}', "mount_folders.0: is not an absolute folder"],
    ['{"mount_folders":["/srv/../etc"]}', "mount_folders.0: is not an absolute folder"],
    ['{"state_folders":[]}', "state_folders: "],
    ['{"state_folders":[""]}', "state_folders.0: "],
    ['{"state_folders":["/etc/wolf/x"]}', "state_folders.0: is not a relative path"],
    ['{"state_folders":["a","b/../cfg"]}', "state_folders.1: is not a relative path"],
    ['{"state_folders":["cfg"]}', "state_folders.0: holds what Wolf itself trusts"],
    ['{"state_folders":["fake-udev/x"]}', "state_folders.0: holds what Wolf itself trusts"],
    ['{"state_folders":["a/b/c","a"]}', "state_folders: has a folder below another"],
    ['{"image_prefixes":[""]}', "image_prefixes.0: "],
    ['{"process_runners":"yes"}', "process_runners: "],
    ['{"secrets":1}', "secrets: "],
  ])("like %s is refused with the place that is wrong", (text, reason) => {
    expect(reasonOf(text)).toContain(reason);
  });

  it("never gets a reason of more than 300 characters", () => {
    expect(reasonOf(JSON.stringify({ ["x".repeat(5000)]: 1 }))).toHaveLength(300);
  });
});

describe("the effective policy", () => {
  it("names every route once, as open or as closed with the reason", () => {
    const { open, closed } = effectivePolicy(
      WolfPolicy.parse({ open: ["GET /api/v1/apps"], close: ["GET /api/v1/openapi-schema"] }),
    );
    expect([...open, ...closed.map(({ route }) => route)].toSorted()).toEqual(
      wolfRoutes.map(routeName).toSorted(),
    );
    expect(open).toContain("GET /api/v1/apps");
    expect(closed).toContainEqual({
      route: "GET /api/v1/openapi-schema",
      because: "the policy of this host closes it",
    });
  });

  it("carries every rule and the limits", () => {
    expect(effectivePolicy(defaultWolfPolicy)).toMatchObject({
      mount_folders: [],
      process_runners: false,
      limits: { create: { concurrentMax: "per-host", timeoutMs: 25_000 } },
    });
  });
});

describe("the document of the policy", () => {
  it("explains every key with its default, and no other", () => {
    const rows = [...document.matchAll(/^\| `([a-z_]+)` \| `(.+?)` \|/gm)].map(([, key, value]) => [
      key,
      value,
    ]);
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(
        Object.entries(WolfPolicy.parse({})).map(([key, value]) => [key, JSON.stringify(value)]),
      ),
    );
  });

  it("shows an example that is a policy", () => {
    const [, example = ""] = /```json\n([\s\S]+?)```/.exec(document) ?? [];
    expect(readWolfPolicy(example).ok).toBe(true);
  });

  it("has the places and times of every class", () => {
    for (const [name, { waitingMax, timeoutMs, waitMs }] of Object.entries(classLimits))
      expect(document).toMatch(
        new RegExp(
          `^\\| ${name} \\| .* \\| .* \\| ${waitingMax} \\| ${timeoutMs / 1000} s \\| ${waitMs / 1000} s \\|$`,
          "m",
        ),
      );
  });
});

describe("the policy as an answer", () => {
  it("says of every route whether it is open, and why not", () => {
    const { open, closed } = policyDocument(WolfPolicy.parse({ close: ["POST /api/v1/lobbies/stop"] }), 3);
    const named = [...open, ...closed.map(({ route }) => route)];
    expect(named.toSorted()).toEqual(wolfRoutes.map(routeName).toSorted());
    expect(open).not.toContain("POST /api/v1/lobbies/stop");
  });

  it("has numbers where a class is limited by the host, and no name that is not spelt as in the file", () => {
    const shown = policyDocument(defaultWolfPolicy, 3);
    expect(shown.limits.create).toEqual({
      concurrent_max: 3,
      waiting_max: 64,
      wait_ms: 30_000,
      timeout_ms: 25_000,
    });
    expect(JSON.stringify(shown)).not.toMatch(/"[a-z]+[A-Z][A-Za-z]*":/);
    for (const rule of Object.keys(WolfPolicy.shape).filter((name) => name !== "close"))
      expect(shown).toHaveProperty(rule);
  });
});
