/** Whoever opens a tunnel, for tests of what happens to it. */
import type { Principal } from "../src/identity/principal.ts";
import type { Opener } from "../src/tunnels/opener.ts";

export function anOpener(
  principal: Principal = { kind: "runner" },
  mark = 0,
  protocol: Opener["protocol"] = "revdial",
): Opener {
  const caller = { requestId: "request-1", address: undefined };
  return { principal, mark, hosts: ["control-plane"], protocol, ...caller };
}
