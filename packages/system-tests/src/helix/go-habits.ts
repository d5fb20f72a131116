/** What the generations of Go clients do on their own, and how they read. */
import type { ReaderKind } from "./go-reader.ts";

/** `wolf-revdial-client` of 2025-11, that of 2026-01, and `revdial-client` as it is now. */
export const goGenerations = ["seed", "last-wolf", "head"] as const;
export type GoGeneration = (typeof goGenerations)[number];

export interface Habits {
  reader: ReaderKind;
  /** 0: none. */
  pingMs: number;
  /** Without a line. 0: none. */
  readTimeoutMs: number;
  handshakeTimeoutMs: number;
  reconnectMs: number;
  /** What is dialled for a pick-up: `connPath` as it is, or with the API's prefix before its first "/revdial". */
  pickupPath: "literal" | "rewritten";
  /** Ends as a process when its listener closes for a bad line while pick-ups are under way. */
  crashes: boolean;
}

export const goHabits: Record<GoGeneration, Habits> = {
  seed: {
    reader: "dropping",
    pingMs: 0,
    readTimeoutMs: 0,
    handshakeTimeoutMs: 10_000,
    reconnectMs: 5000,
    pickupPath: "literal",
    crashes: true,
  },
  "last-wolf": {
    reader: "dropping",
    pingMs: 30_000,
    readTimeoutMs: 0,
    handshakeTimeoutMs: 10_000,
    reconnectMs: 5000,
    pickupPath: "literal",
    crashes: true,
  },
  head: {
    reader: "whole",
    pingMs: 15_000,
    readTimeoutMs: 60_000,
    handshakeTimeoutMs: 30_000,
    reconnectMs: 1000,
    pickupPath: "rewritten",
    crashes: false,
  },
};
