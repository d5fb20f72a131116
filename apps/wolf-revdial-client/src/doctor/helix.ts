/** The doctor at a Helix control plane, which has neither our health routes nor keys nor echoes: what can be looked at there, and how. */
import { RevdialError } from "revdial";
import { dialHelix } from "revdial/helix";
import { tunnelUrlOf } from "../api-url.ts";
import type { AgentConfig } from "../config.ts";
import { trustingFetch } from "../control-plane.ts";
import { sentence } from "../sentence.ts";
import type { DoctorCode } from "./codes.ts";
import { type Check, type Finding, failed, ok } from "./run.ts";

type Config = Pick<AgentConfig, "apiUrl" | "token" | "ca" | "insecure" | "wolfId">;

const SKIPPED: ReadonlySet<DoctorCode> = new Set(["D07", "D09", "D13", "D14", "D19", "D20"]);
const DETAIL_CHARACTERS_MAX = 200;

/** Those of the others that mean something there, and its own in place of three. */
export function checksForHelix(checks: readonly Check[], config: Config, timeoutMs: number): Check[] {
  const trusted = config.apiUrl.protocol === "https:" && !config.insecure;
  const answers: DoctorCode[] = trusted ? ["D02", "D04", "D05", "D06"] : ["D02"];
  let line: Finding = failed("the upgrade was not answered");
  const own: Check[] = [
    { code: "D10", needs: answers, timeoutMs, run: (signal) => token(config, signal) },
    {
      code: "D11",
      needs: ["D10"],
      timeoutMs,
      async run(signal) {
        const { upgrade, first } = await control(config, signal, Math.floor(timeoutMs * 0.8));
        line = first;
        return upgrade;
      },
    },
    { code: "D12", needs: ["D11"], timeoutMs, run: async () => line },
  ];
  const replaced = new Set(own.map(({ code }) => code));
  const others = checks.filter(({ code }) => !replaced.has(code));
  return [
    ...others.map((check) => (SKIPPED.has(check.code) ? { ...check, skip: "--protocol is helix" } : check)),
    ...own,
  ];
}

/** Without a name no tunnel is opened: that is what is complained of once the token is good. */
async function token(config: Config, signal: AbortSignal): Promise<Finding> {
  const url = tunnelUrlOf(config.apiUrl, "");
  url.search = "";
  url.protocol = config.apiUrl.protocol;
  const response = await trustingFetch(config)(url, {
    signal,
    headers: { authorization: `Bearer ${config.token}` },
  });
  const said = (await response.text()).trim().slice(0, DETAIL_CHARACTERS_MAX);
  if (response.status === 400) return ok("the token is accepted");
  return response.status === 401 || response.status === 403
    ? failed(`the token is refused with status ${response.status}: ${said}`)
    : failed(`unexpected status ${response.status}: ${said}`);
}

async function control(
  config: Config,
  signal: AbortSignal,
  handshakeTimeoutMs: number,
): Promise<{ upgrade: Finding; first: Finding }> {
  const { apiUrl, wolfId, insecure, ca } = config;
  try {
    const tunnel = await dialHelix(tunnelUrlOf(apiUrl, `doctor-${wolfId}`), {
      service: "wolf",
      headers: { authorization: `Bearer ${config.token}` },
      insecure,
      ...(ca === undefined ? {} : { ca }),
      handshakeTimeoutMs,
      signal,
    });
    tunnel.destroy();
    return { upgrade: ok("101"), first: ok("the server's first line has come") };
  } catch (error) {
    const finding = failed(sentence(error));
    // What ended it was said on a WebSocket.
    const upgraded = error instanceof RevdialError && error.code === "TRANSPORT_LOST";
    return { upgrade: upgraded ? ok("101") : finding, first: finding };
  }
}
