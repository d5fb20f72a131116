/** Join tokens as far as a host can judge one: its form, and the checksum at its end (CRC-32 in base 62) that finds a slip. */

const FORM = /^(wjt_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43})([0-9A-Za-z]{6})$/;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

export function isJoinToken(text: string): boolean {
  const [, body = "", checksum] = FORM.exec(text) ?? [];
  return checksum !== undefined && checksumOf(body) === checksum;
}

export function checksumOf(text: string): string {
  let rest = crc32(text);
  let digits = "";
  for (let place = 0; place < 6; place += 1) {
    digits = `${DIGITS[rest % DIGITS.length]}${digits}`;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}

/** Node's own came with 20.15 only. */
function crc32(text: string): number {
  let crc = 0xffff_ffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
