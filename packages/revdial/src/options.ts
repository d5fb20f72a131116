/** What programs may set: one table of names and bounds for each place where options come in, and the checks beyond numbers. */
import type { BackoffLimits } from "./backoff.ts";
import { type Bounds, COUNT_MAX, checkNumbers, TIMER_MS_MAX, U32_MAX } from "./bounds.ts";
import {
  argument,
  checkCalls,
  checkCertificates,
  checkClock,
  checkObject,
  checkSignal,
  checkSwitches,
  checkTunnel,
} from "./checks.ts";
import type { CoreOptions } from "./core-events.ts";
import type { DialSetOptions } from "./dial-set.ts";
import type { DialOptions } from "./dialling.ts";
import { GrowthPool, growthOfTheProcess } from "./growth-pool.ts";
import type { HttpAcceptorOptions } from "./http-accept.ts";
import { limitsOf, type TunnelLimits } from "./limits.ts";
import type { MoveBackOptions } from "./move-back.ts";
import { defaults } from "./numbers.ts";
import type { CloseOptions, TunnelOptions } from "./tunnel.ts";
import type { TunnelSetOptions } from "./tunnel-set.ts";

type Table<Options> = Readonly<Partial<Record<keyof Options & string, Bounds>>>;

export const tunnelBounds = {
  pingIntervalMs: [10, TIMER_MS_MAX],
  deadAfterMs: [10, TIMER_MS_MAX],
} as const satisfies Table<TunnelOptions>;

export const dialBounds = {
  handshakeTimeoutMs: [1, TIMER_MS_MAX],
  upgradeTimeoutMs: [1, TIMER_MS_MAX],
} as const satisfies Table<DialOptions>;

export const setBounds = {
  attemptsMax: [1, COUNT_MAX],
  waitersMax: [0, COUNT_MAX],
} as const satisfies Table<TunnelSetOptions>;

export const backoffBounds = {
  backoffMinMs: [1, TIMER_MS_MAX],
  backoffMaxMs: [1, TIMER_MS_MAX],
} as const satisfies Table<BackoffLimits>;

export const dialSetBounds = {
  connections: [1, 16],
  moveBackEveryMs: [0, TIMER_MS_MAX],
} as const satisfies Table<DialSetOptions>;

export const closeBounds = {
  retryAfterMs: [0, U32_MAX],
  drainMs: [0, TIMER_MS_MAX],
} as const satisfies Table<CloseOptions>;

export const acceptorBounds = { tunnelsMax: [1, U32_MAX] } as const satisfies Table<HttpAcceptorOptions>;

export const moveBackBounds = {
  everyMs: [0, TIMER_MS_MAX],
  handoverMs: [0, TIMER_MS_MAX],
  drainMs: [0, TIMER_MS_MAX],
} as const satisfies Table<MoveBackOptions>;

const INCARNATION_MAX = 2n ** 64n - 1n;
const TEXT_BYTES_MAX = 255;
const FEATURES_MAX = 255;
/** Of HELLO's 4,096 bytes (SPEC §8), so that agent and features fit beside its numbers. */
const NAMES_BYTES_MAX = 4000;

/** Error: ARGUMENT. */
export function checkTunnelOptions(options: TunnelOptions): void {
  checkObject(options);
  checkNumbers(options, tunnelBounds);
  limitsOf(options.limits);
  checkHelloOptions(options);
  checkClock(options.clock);
  checkCalls(options, "onHandlerError");
  if (options.growthPool !== undefined && !(options.growthPool instanceof GrowthPool))
    throw argument("growthPool is no GrowthPool");
}

/** What a tunnel's core is told, with the defaults of what its program left out. */
export function coreOptionsOf(options: TunnelOptions, limits: TunnelLimits, dialled: boolean): CoreOptions {
  const { agent = "revdial", incarnation = 0, features = [] } = options;
  const { pingIntervalMs = defaults.tunnel.pingIntervalMs } = options;
  const { deadAfterMs = defaults.tunnel.deadAfterMs } = options;
  const { growthPool = growthOfTheProcess } = options;
  return {
    limits,
    dialled,
    agent,
    incarnation: BigInt(incarnation),
    features,
    pingIntervalMs,
    deadAfterMs,
    growthPool,
  };
}

/** What would otherwise show up at the peer, as a violation. */
function checkHelloOptions({ agent = "", features = [], incarnation = 0 }: TunnelOptions): void {
  const whole = typeof incarnation === "bigint" || Number.isSafeInteger(incarnation);
  if (!whole || incarnation < 0 || incarnation > INCARNATION_MAX)
    throw argument("incarnation is no whole number from 0 to 2^64 - 1");
  if (typeof agent !== "string" || Buffer.byteLength(agent) > TEXT_BYTES_MAX)
    throw argument(`agent is no text of at most ${TEXT_BYTES_MAX} bytes`);
  const named = (name: unknown) =>
    typeof name === "string" && name !== "" && Buffer.byteLength(name) <= TEXT_BYTES_MAX;
  if (!Array.isArray(features) || features.length > FEATURES_MAX || !features.every(named))
    throw argument(`features are no list of at most ${FEATURES_MAX} names of 1 to ${TEXT_BYTES_MAX} bytes`);
  const bytes = [agent, ...features].reduce((sum, name) => sum + 1 + Buffer.byteLength(name), 0);
  if (bytes > NAMES_BYTES_MAX)
    throw argument(`agent and features have more than ${NAMES_BYTES_MAX} bytes together`);
}

/** Error: ARGUMENT. */
export function checkDialOptions(options: DialOptions): void {
  checkTunnelOptions(options);
  checkNumbers(options, dialBounds);
  checkCalls(options, "handler", "onFallback", "onAnswer");
  checkSwitches(options, "insecure", "zeroMask");
  checkSignal(options.signal);
  checkCertificates(options.ca);
  const { transport = "auto" } = options;
  if (!["auto", "websocket", "http"].includes(transport))
    throw argument('transport is none of "auto", "websocket" and "http"');
}

/** Error: ARGUMENT. */
export function checkSetOptions(options: TunnelSetOptions): void {
  checkObject(options);
  checkNumbers(options, setBounds);
  checkClock(options.clock);
}

/** Error: ARGUMENT. */
export function checkDialSetOptions(options: DialSetOptions): void {
  checkDialOptions(options);
  checkSetOptions(options);
  checkNumbers(options, dialSetBounds);
  checkNumbers(options, backoffBounds);
  if (options.connections === undefined) throw argument("connections is missing");
  checkCalls(options, "random", "dial", "onMember", "onDown");
  const { backoffMinMs = defaults.backoff.backoffMinMs, backoffMaxMs = defaults.backoff.backoffMaxMs } =
    options;
  if (backoffMinMs > backoffMaxMs) throw argument("backoffMinMs is more than backoffMaxMs");
}

/** Error: ARGUMENT. */
export function checkMoveBackOptions(options: MoveBackOptions): void {
  checkObject(options);
  checkNumbers(options, moveBackBounds);
  checkSignal(options.signal);
  checkClock(options.clock);
  checkCalls(options, "dial", "afterFailureMs");
  if (options.dial === undefined) throw argument("dial is missing");
  checkTunnel(options.tunnel, "what is to be replaced");
}

/** Error: ARGUMENT. */
export function checkAcceptorOptions(options: HttpAcceptorOptions): void {
  checkObject(options);
  checkNumbers(options, acceptorBounds);
}

/** Error: ARGUMENT. */
export function checkCloseOptions(options: CloseOptions): void {
  checkObject(options);
  checkNumbers(options, closeBounds);
  const { code = "DRAINING", reason = "" } = options;
  if (code !== "DRAINING" && code !== "REPLACED" && code !== "REVOKED")
    throw argument("a tunnel is closed with DRAINING, REPLACED or REVOKED");
  if (typeof reason !== "string") throw argument("the reason is no text");
}
