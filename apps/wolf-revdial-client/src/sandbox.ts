/** The agent inside a sandbox: it serves the screen of its own session through a tunnel of its own, and nothing of a Wolf. */
import { SessionId } from "@wolfpack/api-contract";
import type { RequestHandler } from "revdial";
import type { SettingName } from "./settings.ts";

/** Settings of a host with a Wolf; without meaning inside a sandbox. */
const wolfSettings = [
  "wolfId",
  "local",
  "policyFile",
  "gpuType",
  "maxSandboxes",
  "region",
  "label",
  "costPerHour",
  "address",
] as const satisfies readonly SettingName[];

interface Given {
  /** By flag or variable, not by default. */
  isGiven: (name: SettingName) => boolean;
  wrong: (name: SettingName, why: string) => Error;
}

/** The session of this sandbox; undefined beside a Wolf. Throws what is wrong with it or with what else was given. */
export function checkSession(text: string | undefined, { isGiven, wrong }: Given): string | undefined {
  if (text === undefined) return undefined;
  if (!SessionId.safeParse(text).success)
    throw wrong("sessionId", "has to be a session's id, such as ses_01KB…");
  const foreign = wolfSettings.find(isGiven);
  if (foreign !== undefined)
    throw wrong(foreign, "describes a host with a Wolf: leave it out together with --session-id");
  if (!isGiven("service")) throw wrong("service", "is missing: a sandbox serves screen=<target>");
  return text;
}

/** Passes requests for the screen of this session on; for the caller, everything else does not exist. */
export function onlyScreenOf(sessionId: string, handler: RequestHandler): RequestHandler {
  return (request, reply) =>
    request.service === "screen" && request.path.startsWith(`/${sessionId}/`)
      ? handler(request, reply)
      : { status: 404, headers: [["content-type", "text/plain"]], body: Buffer.from("not served here\n") };
}
