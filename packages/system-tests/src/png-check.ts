/** Whether bytes are a PNG that a viewer can show, and the texts inside (W3C PNG, third edition). */
import { crc32, inflateSync } from "node:zlib";

export interface PngFacts {
  width: number;
  height: number;
  texts: Record<string, string>;
}

/** Throws an Error that says what is broken. */
export function readPng(bytes: Uint8Array): PngFacts {
  const png = Buffer.from(bytes);
  if (png.subarray(0, 8).toString("latin1") !== "\u0089PNG\r\n\u001a\n") throw new Error("no PNG signature");
  const facts: PngFacts = { width: 0, height: 0, texts: {} };
  const pixels: Buffer[] = [];
  let ended = false;
  for (let at = 8; at < png.length && !ended; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (crc32(png.subarray(at + 4, at + 8 + length)) !== png.readUInt32BE(at + 8 + length))
      throw new Error(`chunk ${type} is damaged`);
    if (type === "IHDR") Object.assign(facts, { width: data.readUInt32BE(0), height: data.readUInt32BE(4) });
    if (type === "IDAT") pixels.push(data);
    if (type === "tEXt") {
      const [keyword = "", value = ""] = data.toString("latin1").split("\0");
      facts.texts[keyword] = value;
    }
    ended = type === "IEND";
    at += 12 + length;
  }
  if (!ended) throw new Error("the picture is cut off");
  if (inflateSync(Buffer.concat(pixels)).length < facts.height) throw new Error("the pixels are missing");
  return facts;
}
