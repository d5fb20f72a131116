import { chownSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ConfigError } from "../config.ts";
import { isJoinToken } from "./join-token.ts";
import {
  emptyKeyFile,
  hostMark,
  KEY_FILE,
  type KeyFile,
  type KeyFilePlace,
  readKeyFile,
  writeKeyFile,
} from "./key-file.ts";
import { newPrivateKey, publicKeyOf } from "./proof.ts";

let folder: string;
let place: KeyFilePlace;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "kf-"));
  place = { folder, controlPlane: "https://cp.test", wolfName: "gpu-1", host: "a".repeat(64) };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const aFile = (): KeyFile => ({
  ...emptyKeyFile(place),
  wolf_id: `wlf_${"0".repeat(26)}`,
  key: {
    id: `agk_${"1".repeat(26)}`,
    private_key: newPrivateKey(),
    issued_at: "2026-11-26T12:00:00.000Z",
    expires_at: "2026-12-03T12:00:00.000Z",
  },
});
const refusal = (changes: Partial<KeyFilePlace> = {}): string => {
  try {
    readKeyFile({ ...place, ...changes });
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    // What JSON says of a text would quote it.
    expect((error as Error).cause).toBeUndefined();
    return (error as Error).message;
  }
  return "none";
};

describe("the key file", () => {
  it("is read as it was written, for its owner alone, and leaves no draft", () => {
    expect(readKeyFile(place)).toBeUndefined();
    const file = aFile();
    writeKeyFile(place, file);
    writeKeyFile(place, file);
    expect(readKeyFile(place)).toEqual(file);
    expect(readdirSync(folder)).toEqual([KEY_FILE]);
    expect(statSync(path.join(folder, KEY_FILE)).mode & 0o777).toBe(0o600);
  });

  it("of another host is refused with the way to a key of its own; a host without a mark takes any", () => {
    writeKeyFile(place, aFile());
    expect(refusal({ host: "b".repeat(64) })).toMatch(
      /was made on another host: a copied state directory does not make this host that wolf\. Enrol this host anew: wolf-revdial-client enroll/,
    );
    expect(refusal({ host: null })).toBe("none");
    writeKeyFile(place, { ...aFile(), host: null });
    expect(refusal()).toBe("none");
  });

  (process.getuid?.() === 0 ? it : it.skip)("of another user is refused", () => {
    writeKeyFile(place, aFile());
    chownSync(path.join(folder, KEY_FILE), 12345, 12345);
    expect(refusal()).toMatch(/belongs to the user 12345, not to 0, who runs the agent/);
  });

  it("is no link, and no folder", () => {
    writeFileSync(path.join(folder, "elsewhere"), "{}", { mode: 0o600 });
    symlinkSync("elsewhere", path.join(folder, KEY_FILE));
    expect(refusal()).toMatch(/cannot be read: ELOOP/);
  });

  it("is written over by nothing that would not be read again", () => {
    writeKeyFile(place, aFile());
    const before = readKeyFile(place);
    expect(() => writeKeyFile(place, { ...aFile(), candidate: "no key" })).toThrow(/candidate/);
    expect(readKeyFile(place)).toEqual(before);
    expect(readdirSync(folder)).toEqual([KEY_FILE]);
  });

  it("knows a host by its machine-id, without telling it", () => {
    const file = path.join(folder, "machine-id");
    expect(hostMark(file)).toBeNull();
    for (const [text, mark] of [
      ["", null],
      ["uninitialized\n", null],
      [`${"0123456789abcdef".repeat(2)}\n`, expect.stringMatching(/^[0-9a-f]{64}$/)],
    ] as const) {
      writeFileSync(file, text);
      expect(hostMark(file)).toEqual(mark);
    }
    expect(hostMark(file)).not.toContain("0123456789abcdef");
  });
});

describe("a private key", () => {
  it("is one of Ed25519, whose public half has 32 bytes", () => {
    expect(Buffer.from(publicKeyOf(newPrivateKey()), "base64url")).toHaveLength(32);
    expect(() => publicKeyOf("-----BEGIN PRIVATE KEY-----")).toThrow();
  });
});

describe("a join token", () => {
  // By zlib's crc32, in base 62.
  const token = `wjt_01ARZ3NDEKTSV4RRFFQ69G5FAV_${"A".repeat(43)}`;

  it("has a checksum, which a slip does not fit", () => {
    const whole = `${token}0NQH43`;
    expect(isJoinToken(whole)).toBe(true);
    expect(isJoinToken(whole.replace("AAA", "ABA"))).toBe(false);
    expect(isJoinToken(token)).toBe(false);
    expect(isJoinToken("")).toBe(false);
  });
});
