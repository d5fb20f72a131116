/** What programs may set: one table of names and bounds for each place where options come in, and the checks beyond numbers. */
import { type Bounds, checkNumbers, TIMER_MS_MAX, U32_MAX } from "./bounds.ts";
import type { CoreOptions } from "./core-events.ts";
import type { DialOptions } from "./dialling.ts";
import { RevdialError } from "./errors.ts";
import { limitsOf, type TunnelLimits } from "./limits.ts";
import type { CloseOptions, TunnelOptions } from "./tunnel.ts";

type Table<Options> = Readonly<Partial<Record<keyof Options & string, Bounds>>>;

export const tunnelBounds = {
  pingIntervalMs: [10, TIMER_MS_MAX],
  deadAfterMs: [10, TIMER_MS_MAX],
} as const satisfies Table<TunnelOptions>;

export const dialBounds = {
  handshakeTimeoutMs: [1, TIMER_MS_MAX],
  upgradeTimeoutMs: [1, TIMER_MS_MAX],
} as const satisfies Table<DialOptions>;

export const dialSetBounds = { moveBackEveryMs: [0, TIMER_MS_MAX] } as const;

export const closeBounds = {
  retryAfterMs: [0, U32_MAX],
  drainMs: [0, TIMER_MS_MAX],
} as const satisfies Table<CloseOptions>;

export const acceptorBounds = { tunnelsMax: [1, U32_MAX] } as const;

export const moveBackBounds = {
  everyMs: [0, TIMER_MS_MAX],
  handoverMs: [0, TIMER_MS_MAX],
  drainMs: [0, TIMER_MS_MAX],
} as const;

const INCARNATION_MAX = 2n ** 64n - 1n;
const TEXT_BYTES_MAX = 255;
const FEATURES_MAX = 255;
/** Of HELLO's 4,096 bytes (SPEC §8), so that agent and features fit beside its numbers. */
const NAMES_BYTES_MAX = 4000;

/** Error: ARGUMENT. */
export function checkTunnelOptions(options: TunnelOptions): void {
  checkObject(options, "the options");
  checkNumbers(options, tunnelBounds);
  limitsOf(options.limits);
  checkHelloOptions(options);
  const { clock, onHandlerError } = options;
  if (clock !== undefined && (typeof clock?.now !== "function" || typeof clock.setTimer !== "function"))
    throw argument("the clock has no now and setTimer");
  if (onHandlerError !== undefined && typeof onHandlerError !== "function")
    throw argument("onHandlerError is no function");
}

/** What a tunnel's core is told, with the defaults of what its program left out. */
export function coreOptionsOf(options: TunnelOptions, limits: TunnelLimits, dialled: boolean): CoreOptions {
  const { agent = "revdial", incarnation = 0, features = [] } = options;
  const { pingIntervalMs = 5000, deadAfterMs = 14_500 } = options;
  return { limits, dialled, agent, incarnation: BigInt(incarnation), features, pingIntervalMs, deadAfterMs };
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
  const { transport = "auto" } = options;
  if (!["auto", "websocket", "http"].includes(transport))
    throw argument('transport is none of "auto", "websocket" and "http"');
}

/** Error: ARGUMENT. */
export function checkCloseOptions(options: CloseOptions): void {
  checkObject(options, "the options");
  checkNumbers(options, closeBounds);
  const { code = "DRAINING", reason = "" } = options;
  if (code !== "DRAINING" && code !== "REPLACED")
    throw argument("a tunnel is closed with DRAINING or REPLACED");
  if (typeof reason !== "string") throw argument("the reason is no text");
}

function checkObject(value: unknown, what: string): void {
  if (typeof value !== "object" || value === null) throw argument(`${what} are no object`);
}

const argument = (message: string) => new RevdialError("ARGUMENT", message);
