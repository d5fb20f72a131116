/**
 * Whether bytes are a picture that may be shown, as a function of them. What a host calls it does not count, and a small file may
 * be a huge picture: its size is read before a browser makes room for it.
 */

export interface Picture {
  type: "image/png" | "image/jpeg";
  width: number;
  height: number;
}

export const PICTURE_BYTES_MAX = 20 * 1024 * 1024;
/** The largest screen that a session may have is 7680 × 4320. */
export const PICTURE_SIDE_MAX = 7680;
export const PICTURE_PIXELS_MAX = 7680 * 4320;

export type PictureProblem = "too-large" | "no-picture";

export function pictureOf(bytes: Uint8Array): Picture | PictureProblem {
  if (bytes.byteLength > PICTURE_BYTES_MAX) return "too-large";
  const found = pngOf(bytes) ?? jpegOf(bytes);
  if (found === undefined || found.width < 1 || found.height < 1) return "no-picture";
  const { width, height } = found;
  const isHuge = width > PICTURE_SIDE_MAX || height > PICTURE_SIDE_MAX || width * height > PICTURE_PIXELS_MAX;
  return isHuge ? "too-large" : found;
}

const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const IHDR = [0x49, 0x48, 0x44, 0x52];
const PNG_HEAD_BYTES = 24;

const has = (bytes: Uint8Array, at: number, wanted: readonly number[]) =>
  wanted.every((byte, index) => bytes[at + index] === byte);
const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  new DataView(buffer, byteOffset, byteLength);

function pngOf(bytes: Uint8Array): Picture | undefined {
  if (bytes.byteLength < PNG_HEAD_BYTES || !has(bytes, 0, PNG_START) || !has(bytes, 12, IHDR))
    return undefined;
  const view = viewOf(bytes);
  return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20) };
}

/** Start of a frame, of any way of coding; between them are the tables of Huffman and arithmetic coding. */
const isFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
const SEGMENTS_MAX = 1000;

function jpegOf(bytes: Uint8Array): Picture | undefined {
  if (!has(bytes, 0, [0xff, 0xd8, 0xff])) return undefined;
  const view = viewOf(bytes);
  let at = 2;
  for (let segment = 0; segment < SEGMENTS_MAX && at + 9 <= bytes.byteLength; segment += 1) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    // A filler before a marker.
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (isFrame(marker))
      return { type: "image/jpeg", height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    const length = view.getUint16(at + 2);
    if (length < 2) return undefined;
    at += 2 + length;
  }
  return undefined;
}
