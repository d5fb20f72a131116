/** From the name to an answer of the control plane: DNS, TCP, TLS, HTTP. Each step looks for itself. */
import type { LookupAddress } from "node:dns";
import { connect as connectTcp, isIP } from "node:net";
import { checkServerIdentity, connect as connectTls, type PeerCertificate, type TLSSocket } from "node:tls";
import type { AgentConfig } from "../config.ts";
import { trustingFetch } from "../control-plane.ts";
import { sentence } from "../sentence.ts";
import type { DoctorCode } from "./codes.ts";
import { credentialFinding, type DoctorKey } from "./key.ts";
import { type Check, type Finding, failed, ok, skipped, warning } from "./run.ts";

export interface NetworkOptions {
  config: Pick<AgentConfig, "apiUrl" | "token" | "joinToken" | "ca" | "insecure" | "transport" | "wolfId">;
  key: DoctorKey;
  version: string;
  timeoutMs: number;
  lookup: (host: string) => Promise<LookupAddress[]>;
  wallClock: () => number;
}

const EXPIRY_WARNING_DAYS = 14;
const CLOCK_WARNING_MS = 30_000;
const CLOCK_FAILED_MS = 300_000;
const DAY_MS = 86_400_000;

export function networkChecks(options: NetworkOptions): Check[] {
  const { config, key, version, timeoutMs, lookup, wallClock } = options;
  const { apiUrl } = config;
  const host = apiUrl.hostname.replace(/^\[|\]$/g, "");
  const secure = apiUrl.protocol === "https:";
  const port = Number(apiUrl.port) || (secure ? 443 : 80);
  const plain = secure ? undefined : "--api-url is plain http";
  let addresses: string[] = [];
  const check = (
    code: DoctorCode,
    needs: readonly DoctorCode[],
    run: Check["run"],
    skip?: string,
  ): Check => ({
    code,
    needs,
    skip,
    timeoutMs,
    run,
  });
  const certificate = (examine: (socket: TLSSocket) => Finding) => async (signal: AbortSignal) => {
    const socket = await handshake({ host, port, signal, config });
    try {
      return examine(socket);
    } finally {
      socket.destroy();
    }
  };
  const get = (path: string, signal: AbortSignal) =>
    trustingFetch(config)(new URL(path, apiUrl), {
      signal,
      headers: path.startsWith("/api/") ? { authorization: `Bearer ${config.token}` } : {},
    });
  // Without trust every answer would be refused for the reason that is known already.
  const answers: DoctorCode[] = secure && !config.insecure ? ["D02", "D04", "D05", "D06"] : ["D02"];

  return [
    check("D01", [], async () => {
      addresses = isIP(host) ? [host] : (await lookup(host)).map(({ address }) => address);
      if (addresses.length === 0) return failed(`${host} has no address`);
      return ok(isIP(host) ? `${host} is an address` : `${host} is ${addresses.join(", ")}`);
    }),
    check("D02", ["D01"], async (signal) => {
      const tried = await Promise.all(addresses.map((address) => reach(address, port, signal)));
      const bad = tried.flatMap((why, at) => (why === undefined ? [] : [`${addresses[at]}: ${why}`]));
      if (bad.length === 0) return ok(`port ${port} takes connections`);
      return (bad.length < tried.length ? warning : failed)(`port ${port}: ${bad.join("; ")}`);
    }),
    check(
      "D03",
      ["D02"],
      certificate((socket) => ok(socket.getProtocol() ?? "done")),
      plain,
    ),
    check(
      "D04",
      ["D03"],
      certificate((socket) => trust(socket, config.insecure)),
      plain,
    ),
    check(
      "D05",
      ["D03"],
      certificate((socket) => {
        const wrong = checkServerIdentity(host, socket.getPeerCertificate());
        if (wrong === undefined) return ok(`issued for ${host}`);
        return (config.insecure ? warning : failed)(wrong.message);
      }),
      plain,
    ),
    check(
      "D06",
      ["D03"],
      certificate((socket) => dates(socket, wallClock(), config.insecure)),
      plain,
    ),
    check("D07", answers, async (signal) => {
      const response = await get("/readyz", signal);
      const text = await response.text();
      if (response.status === 200 && /"status"\s*:\s*"ok"/.test(text))
        return ok("the control plane is ready");
      const said = text === "" ? "" : `: ${text.slice(0, 200)}`;
      return failed(`/readyz was answered with status ${response.status}${said}`);
    }),
    {
      code: "D08",
      // A wrong clock makes good certificates look bad: whoever answers is asked, without the token.
      needs: [secure ? "D03" : "D02"],
      timeoutMs: timeoutMs + 1000,
      async run(signal) {
        const inTime = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
        try {
          const { headers } = await trustingFetch({ ca: undefined, insecure: true })(
            new URL("/healthz", apiUrl),
            { signal: inTime },
          );
          return clock(headers.get("date"), wallClock());
        } catch (error) {
          return skipped(`no answer that has the time (${sentence(error)})`);
        }
      },
    },
    check("D09", ["D07"], async (signal) => {
      const response = await get("/healthz", signal);
      const theirs = /"version"\s*:\s*"(\d+\.\d+\.[^"]{1,40})"/.exec(await response.text())?.[1];
      return compareVersions(version, theirs);
    }),
    check("D10", ["D07"], async (signal) => {
      const found = await credentialFinding(config, key, { timeoutMs, signal, nowMs: wallClock() });
      if (found !== undefined) return found;
      if (config.token === "") return failed("this host has no key, and no token was given");
      const { status } = await get("/api/v1/me", signal);
      // A runner token is known and has no user behind it.
      if (status === 403) return ok("the runner token is accepted");
      if (status === 200) return failed("this is a user's API key, not the runner token");
      return failed(status === 401 ? "the token is refused" : `unexpected status ${status}`);
    }),
  ];
}

/** Undefined, or why not. */
function reach(address: string, port: number, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: address, port, signal });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}

interface Handshake {
  host: string;
  port: number;
  signal: AbortSignal;
  config: Pick<AgentConfig, "ca">;
}

/** Whatever the certificate is worth. */
function handshake({ host, port, signal, config }: Handshake): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host,
      port,
      rejectUnauthorized: false,
      ...(isIP(host) ? {} : { servername: host }),
      ...(config.ca === undefined ? {} : { ca: config.ca }),
    });
    const cancel = () => socket.destroy();
    signal.addEventListener("abort", cancel, { once: true });
    socket.once("error", reject);
    socket.once("secureConnect", () => resolve(socket));
    // Without an answer or an error of its own.
    socket.once("close", () => {
      signal.removeEventListener("abort", cancel);
      reject(new Error("the connection ended during the handshake"));
    });
  });
}

/** Dates and names are the matter of other checks. */
const otherMatters = new Set(["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID", "ERR_TLS_CERT_ALTNAME_INVALID"]);

function trust(socket: TLSSocket, insecure: boolean): Finding {
  const error = socket.authorizationError as unknown;
  const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : error;
  if (insecure) return warning("certificates are not checked (--insecure)");
  if (socket.authorized || otherMatters.has(String(code))) return ok(`signed by ${issuer(socket)}`);
  return failed(`${String(code)}; issuer ${issuer(socket)}`);
}

function issuer(socket: TLSSocket): string {
  const { O, CN } = socket.getPeerCertificate().issuer ?? {};
  return String(O ?? CN ?? "unknown").slice(0, 60);
}

function dates(socket: TLSSocket, now: number, insecure: boolean): Finding {
  const bad = insecure ? warning : failed;
  let first = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };
  for (const { valid_from, valid_to } of chain(socket.getPeerCertificate(true)))
    first = {
      from: Math.max(first.from, Date.parse(valid_from)),
      to: Math.min(first.to, Date.parse(valid_to)),
    };
  if (now < first.from) return bad(`not valid before ${new Date(first.from).toISOString()}`);
  if (now > first.to) return bad(`expired at ${new Date(first.to).toISOString()}`);
  const days = Math.floor((first.to - now) / DAY_MS);
  return (days < EXPIRY_WARNING_DAYS ? warning : ok)(`valid for ${days} more days`);
}

/** The last one names itself as its issuer. */
function chain(leaf: PeerCertificate & { issuerCertificate?: PeerCertificate }): PeerCertificate[] {
  const found = new Set<PeerCertificate>();
  let next: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = leaf;
  while (next?.valid_to !== undefined && !found.has(next) && found.size < 10) {
    found.add(next);
    next = next.issuerCertificate;
  }
  return [...found];
}

/** A Date has whole seconds. */
function clock(date: string | null, ours: number): Finding {
  const differsMs = ours - Date.parse(date ?? "");
  if (Number.isNaN(differsMs)) return warning("the answer has no Date");
  const seconds = Math.abs(Math.round(differsMs / 1000));
  if (seconds <= 1) return ok("within 1 s of the control plane's");
  const text = `${seconds} s ${differsMs < 0 ? "behind" : "ahead of"} the control plane's`;
  if (Math.abs(differsMs) > CLOCK_FAILED_MS) return failed(text);
  return Math.abs(differsMs) > CLOCK_WARNING_MS ? warning(text) : ok(text);
}

/** Before 1.0 a minor version may break; after it a major one. */
export function compareVersions(ours: string, theirs: string | undefined): Finding {
  if (theirs === undefined) return warning("the control plane does not tell its version");
  const both = `agent ${ours}, control plane ${theirs}`;
  if (ours === theirs) return ok(both);
  const [a, b] = [ours, theirs].map((version) => version.split("."));
  if (a?.[0] !== b?.[0]) return failed(both);
  return a?.[1] === b?.[1] ? ok(both) : warning(both);
}
