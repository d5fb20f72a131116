/**
 * Join tokens: `wjt_`, the token's own number, 256 random bits and a checksum, so that whoever looks for leaked secrets knows one
 * when they see it. Only an HMAC of a token is kept.
 */
import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const FORM = /^(wjt_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43})([0-9A-Za-z]{6})$/;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM_DIGITS = 6;

/** `id` is that of its row, `jtk_…`. */
export function newJoinToken(id: string): string {
  const text = `wjt_${id.slice(-26)}_${randomBytes(32).toString("base64url")}`;
  return `${text}${checksumOf(text)}`;
}

export function isJoinToken(text: string): boolean {
  const [, body = "", checksum] = FORM.exec(text) ?? [];
  return checksum !== undefined && checksumOf(body) === checksum;
}

/** CRC-32 in base 62, which has room for it in six digits. */
function checksumOf(text: string): string {
  let rest = crc32(text);
  let digits = "";
  for (let place = 0; place < CHECKSUM_DIGITS; place += 1) {
    digits = `${DIGITS[rest % DIGITS.length]}${digits}`;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}
