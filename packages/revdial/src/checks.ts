/** What the types promise and JavaScript does not keep: each is looked at before anything starts. All throw ARGUMENT. */
import { X509Certificate } from "node:crypto";
import { RevdialError } from "./errors.ts";

export const argument = (message: string, cause?: unknown) =>
  new RevdialError("ARGUMENT", message, { cause });

/** `what`: as in "the options are no object". */
export function checkObject(value: unknown, what = "the options"): void {
  if (typeof value !== "object" || value === null) throw argument(`${what} are no object`);
}

/** A function, or none. */
export function checkCall(call: unknown, name: string): void {
  if (call !== undefined && typeof call !== "function") throw argument(`${name} is no function`);
}

/** Those of them that are there. */
export function checkCalls<Options extends object>(
  given: Options,
  ...names: readonly (keyof Options & string)[]
): void {
  for (const name of names) checkCall(given[name], name);
}

/** Those of them that are there: "false" in a text would be true. */
export function checkSwitches<Options extends object>(
  given: Options,
  ...names: readonly (keyof Options & string)[]
): void {
  for (const name of names)
    if (given[name] !== undefined && typeof given[name] !== "boolean")
      throw argument(`${name} is neither true nor false`);
}

/** One of Node's own, or none: no other can be joined with ours. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw argument("the signal is no AbortSignal");
}

export function checkClock(clock: unknown): void {
  if (clock === undefined) return;
  const { now, setTimer } = Object(clock) as Record<string, unknown>;
  if (typeof now !== "function" || typeof setTimer !== "function")
    throw argument("the clock has no now and setTimer");
}

export function checkTunnel(tunnel: unknown, what: string): void {
  if (typeof (tunnel as { request?: unknown } | null | undefined)?.request !== "function")
    throw argument(`${what} is no tunnel`);
}

/** Certificates of which one is broken, or none is there, would trust nobody: every dial would fail, for ever. */
export function checkCertificates(ca: unknown): void {
  if (ca === undefined) return;
  const found =
    typeof ca === "string" ? ca.match(/-----BEGIN [^-]*CERTIFICATE-----[^-]*-----END [^-]*-----/g) : null;
  if (found === null) throw argument("ca has no certificate in PEM");
  try {
    for (const certificate of found) new X509Certificate(certificate);
  } catch (cause) {
    throw argument("ca has a certificate that cannot be read", cause);
  }
}
