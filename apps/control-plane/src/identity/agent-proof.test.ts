import { generateKeyPairSync, sign } from "node:crypto";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { AGENT_PROOF_SCHEME, CLOCK_SKEW_MINUTES_MAX, proofText } from "@wolfpack/api-contract";
import { type ManualClock, manualClock } from "../../test/manual-clock.ts";
import { ApiError } from "../http/problem.ts";
import type { AgentKeyRecord } from "./agent-key-store.ts";
import { clockOffsetMs, createProofs } from "./agent-proof.ts";
import { createChallenges } from "./challenge.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const LIMIT_MS = CLOCK_SKEW_MINUTES_MAX * MINUTE_MS;
const HOST = "control-plane.example";
const now = new Date("2026-11-23T12:00:00.000Z");
const off = (ms: number) => new Date(now.getTime() + ms).toISOString();

function refusalOf(time: string): ApiError {
  try {
    clockOffsetMs(time, now);
  } catch (error) {
    if (error instanceof ApiError) return error;
  }
  throw new Error("it was not refused");
}

describe("how far a host's clock is off", () => {
  it.each([0, 1, -1, 45_000, -45_000, LIMIT_MS, -LIMIT_MS])("is its time minus ours (%d ms)", (ms) => {
    expect(clockOffsetMs(off(ms), now)).toBe(ms);
  });

  it.each<[number, string]>([
    [LIMIT_MS + 1, "5 min ahead"],
    [-LIMIT_MS - 1000, "5 min 1 s behind"],
    [HOUR_MS, "60 min ahead"],
    [-HOUR_MS, "60 min behind"],
    [-20 * 365 * 24 * HOUR_MS, "7300 days behind"],
  ])("is refused with code, distance and our time beyond the limit (%d ms)", (ms, words) => {
    const { code, message, logged, extras, denied } = refusalOf(off(ms));
    expect([code, denied]).toEqual(["clock-skew", true]);
    expect(message).toBe(`The agent's clock is ${words}; more than 5 minutes are refused.`);
    expect(logged).toBe(message);
    expect(extras).toEqual({ server_time: now.toISOString(), clock_offset_ms: ms });
  });

  it.each(["", "NaN", "Infinity", "yesterday", "2026-13-45T99:99:99Z"])(
    "is refused without a number where the time is none (%j)",
    (time) => {
      const { code, message, extras } = refusalOf(time);
      expect([code, message]).toEqual(["clock-skew", "The agent's time is none."]);
      expect(extras).toEqual({ server_time: now.toISOString() });
    },
  );

  it.each(["9999-12-31T23:59:59.999Z", "0000-01-01T00:00:00.000Z", "-271821-04-20T00:00:00.000Z"])(
    "is refused at the ends of time (%s)",
    (time) => {
      const { code, message } = refusalOf(time);
      expect(code).toBe("clock-skew");
      expect(message).toMatch(/^The agent's clock is \d+ days (ahead|behind); /);
    },
  );
});

describe("a proof's time", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const key: AgentKeyRecord = {
    id: `agk_${"0".repeat(26)}`,
    wolfId: `wlf_${"0".repeat(26)}`,
    wolfName: "gpu-1",
    publicKey: String(publicKey.export({ format: "jwk" }).x),
    status: "active",
    enrolledBy: "runner-token",
    createdAt: now,
    expiresAt: new Date(now.getTime() + 24 * HOUR_MS),
    lastUsedAt: null,
    revokedAt: null,
  };
  const challenges = createChallenges("s".repeat(32));
  let clock: ManualClock;
  let spent: number;
  let proofs: ReturnType<typeof createProofs>;
  beforeEach(() => {
    clock = manualClock(now);
    spent = 0;
    const spend = async () => {
      spent += 1;
      return true;
    };
    proofs = createProofs({ keys: { get: async () => key, spend }, challenges, clock, publicHosts: [] });
  });

  /** What the control plane makes of a proof that says, and signs, this time. */
  function shown(time: unknown) {
    const nonce = Buffer.from(challenges.issue(clock.now()).nonce).toString("base64url");
    const { wolfId: wolf, publicKey: signer } = key;
    const signed = {
      purpose: "connect",
      host: HOST,
      wolf,
      publicKey: signer,
      nonce,
      time: String(time),
    } as const;
    const signature = sign(null, Buffer.from(proofText(signed)), privateKey).toString("base64url");
    const json = JSON.stringify({ key_id: key.id, host: HOST, nonce, time, signature });
    const authorization = `${AGENT_PROOF_SCHEME} ${Buffer.from(json).toString("base64url")}`;
    return proofs.agentOf({ authorization, host: HOST }, "connect");
  }

  it.each([-LIMIT_MS, -45_000, 0, 45_000, LIMIT_MS])(
    "goes with its agent as an offset (%d ms)",
    async (ms) => {
      expect(await shown(off(ms))).toEqual({
        kind: "agent",
        wolfId: key.wolfId,
        credentialId: key.id,
        expiresAt: key.expiresAt,
        clockOffsetMs: ms,
      });
    },
  );

  it("looks as much behind as its request was under way", async () => {
    const time = clock.now().toISOString();
    clock.advance(3000);
    expect(await shown(time)).toMatchObject({ clockOffsetMs: -3000 });
    clock.advance(LIMIT_MS);
    await expect(shown(time)).rejects.toMatchObject({ code: "clock-skew" });
  });

  it.each<[string, unknown]>([
    ["an hour ahead", "2026-11-23T13:00:00.000Z"],
    ["an hour behind", "2026-11-23T11:00:00.000Z"],
    ["in the last year that there is", "9999-12-31T23:59:59.999Z"],
    ["in the first one", "0000-01-01T00:00:00.000Z"],
  ])("that is %s is refused, and spends nothing", async (_what, time) => {
    await expect(shown(time)).rejects.toMatchObject({ code: "clock-skew" });
    expect(spent).toBe(0);
  });

  it.each<[string, unknown]>([
    ["a number", 1_795_435_200_000],
    ["a number below zero", -1],
    ["not a number", Number.NaN],
    ["a word", "NaN"],
    ["no day of the calendar", "2026-02-30T12:00:00.000Z"],
    ["a list", ["2026-11-23T12:00:00.000Z"]],
    ["left out", undefined],
  ])("that is %s makes it no proof at all, though it is signed", async (_what, time) => {
    expect(await shown(time)).toBeUndefined();
    expect(spent).toBe(0);
  });
});
