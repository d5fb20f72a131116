/** Where requests are counted: by address before anything is known of the caller, by credential once it is. */
import type { IncomingMessage } from "node:http";
import { isRateLimited } from "@wolfpack/api-contract";
import type { RequestHandler, Response } from "express";
import type { Clock } from "../clock.ts";
import type { Principal } from "../identity/principal.ts";
import { type ClientAddresses, networkOf } from "./client-address.ts";
import { createRateLimiter } from "./rate-limit.ts";

export interface LimitsOptions {
  clock: Clock;
  addresses: ClientAddresses;
  addressPerMinute: number;
  credentialPerMinute: number;
  /** Of callers that nobody knows. */
  unknownPerMinute: number;
}

export interface Limits {
  /** For every request of Express. */
  byAddress: RequestHandler;
  /** The same for an upgrade, which has no response yet. Throws. */
  upgrade(request: IncomingMessage): void;
  /** Throws; else the fields of the answer. */
  byCredential(principal: Principal, request: IncomingMessage): Record<string, string>;
  /**
   * For a request whose credential turned out to be none: each of them leaves an event in the audit log, which never forgets. Whoever
   * has a valid one is not held up by it. Throws.
   */
  unknown(request: IncomingMessage): void;
}

export function createLimits(options: LimitsOptions): Limits {
  const { clock, addresses, addressPerMinute, credentialPerMinute, unknownPerMinute } = options;
  const address = createRateLimiter({ name: "address", perMinute: addressPerMinute }, clock);
  const credential = createRateLimiter({ name: "credential", perMinute: credentialPerMinute }, clock);
  const unknown = createRateLimiter({ name: "unauthenticated", perMinute: unknownPerMinute }, clock);
  const takeAddress = (request: IncomingMessage) => address.take(networkOf(addresses.of(request)));
  return {
    byAddress(request, response, next) {
      if (isRateLimited(request)) addFields(response, takeAddress(request));
      next();
    },
    upgrade: (request) => void takeAddress(request),
    byCredential: (principal, request) => credential.take(keyOf(principal, networkOf(addresses.of(request)))),
    unknown: (request) => void unknown.take(networkOf(addresses.of(request))),
  };
}

/** Every host has the same RUNNER_TOKEN: each of them counts for itself. */
function keyOf(principal: Principal, network: string): string {
  return principal.kind === "runner" ? `runner ${network}` : principal.credentialId;
}

/** Each limit is one more member of the fields' lists, which are one line each. */
export function addFields(response: Response, fields: Record<string, string>): void {
  for (const [name, value] of Object.entries(fields)) {
    const before = response.getHeader(name);
    response.setHeader(name, before === undefined ? value : `${before}, ${value}`);
  }
}
