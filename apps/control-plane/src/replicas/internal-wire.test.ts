import { describe, expect, it } from "@jest/globals";
import { KNOWN_PATH, lookPath, SELF_PATH, targetOf, tunnelPrefix } from "./internal-wire.ts";

const WOLF = "wlf_01KB00000000000000000000W0";
const SESSION = "ses_01KB00000000000000000000S0";

describe("paths between replicas", () => {
  it.each([
    [
      `${tunnelPrefix("wolf", WOLF, "wolf")}/api/v1/lobbies?x=1`,
      { kind: "tunnel", holder: "wolf", id: WOLF, service: "wolf", path: "/api/v1/lobbies?x=1" },
    ],
    [
      `${tunnelPrefix("sandbox", SESSION, "screen")}/screenshot`,
      { kind: "tunnel", holder: "sandbox", id: SESSION, service: "screen", path: "/screenshot" },
    ],
    [
      `${tunnelPrefix("wolf", WOLF, "wolf")}//../..%2f`,
      { kind: "tunnel", holder: "wolf", id: WOLF, service: "wolf", path: "//../..%2f" },
    ],
    [SELF_PATH, { kind: "self" }],
    [KNOWN_PATH, { kind: "known" }],
    [lookPath(WOLF), { kind: "look", wolfId: WOLF }],
    ["/internal/v1/calls/revdial?revdial.dialer=ab", { kind: "call", path: "/revdial?revdial.dialer=ab" }],
    ["/internal/v1/calls/api/v1/revdial", { kind: "call", path: "/api/v1/revdial" }],
    [
      `/internal/v1/calls/api/v1/wolf-instances/${WOLF}/policy`,
      { kind: "call", path: `/api/v1/wolf-instances/${WOLF}/policy` },
    ],
  ])("%s is read as it was written", (url, target) => {
    expect(targetOf(url)).toEqual(target);
  });

  it.each([
    ["outside", "/api/v1/wolf-instances"],
    ["of another version", "/internal/v2/wolves/x/look"],
    ["of an unknown holder", `/internal/v1/tunnels/moonlight/${WOLF}/wolf/`],
    ["of an id that is none", "/internal/v1/tunnels/wolf/wlf_1/wolf/"],
    ["of a wolf's id with a slash in it", `/internal/v1/tunnels/wolf/${WOLF}%2f/wolf/`],
    ["of a service with other letters", `/internal/v1/tunnels/wolf/${WOLF}/Wolf!/`],
    ["of a service that is too long", `/internal/v1/tunnels/wolf/${WOLF}/${"w".repeat(64)}/`],
    ["without the request's own path", `/internal/v1/tunnels/wolf/${WOLF}/wolf`],
    ["with more behind a question about itself", `${KNOWN_PATH}/more`],
    ["with more behind a look", `${lookPath(WOLF)}/more`],
    ["of a call that is not passed on", "/internal/v1/calls/api/v1/users"],
    ["of a call within a call", "/internal/v1/calls/internal/v1/calls/revdial"],
    ["of a call with a fragment", "/internal/v1/calls/revdial#x"],
    ["of a call whose wolf has a slash", "/internal/v1/calls/api/v1/wolf-instances/a/b/tunnel"],
  ])("a path %s leads nowhere", (_, url) => {
    expect(targetOf(url)).toBeUndefined();
  });
});
