/** A small picture with text as PNG (W3C PNG, third edition): palette pixels, one zlib stream, text chunks. */
import { crc32, deflateSync } from "node:zlib";
import { glyphs } from "./font.ts";

const GLYPH_WIDTH = 5;
const GLYPH_HEIGHT = 7;

export type Color = readonly [red: number, green: number, blue: number];

export class Picture {
  readonly width: number;
  readonly height: number;
  private readonly palette: readonly Color[];
  private readonly pixels: Uint8Array;

  /** At most 256 colours; the first is the background. */
  constructor(width: number, height: number, palette: readonly Color[]) {
    this.width = width;
    this.height = height;
    this.palette = palette;
    this.pixels = new Uint8Array(width * height);
  }

  fill(x: number, y: number, width: number, height: number, color: number): void {
    const right = Math.min(this.width, x + width);
    const bottom = Math.min(this.height, y + height);
    for (let row = Math.max(0, y); row < bottom; row += 1)
      this.pixels.fill(color, row * this.width + Math.max(0, x), row * this.width + right);
  }

  /** Pixels that `text` needs at this scale. */
  static textWidth(text: string, scale: number): number {
    return text.length * (GLYPH_WIDTH + 1) * scale;
  }

  text(x: number, y: number, text: string, scale: number, color: number): void {
    [...text.toUpperCase()].forEach((character, index) => {
      const columns = glyphs[character] ?? glyphs["?"] ?? [];
      columns.forEach((bits, column) => {
        for (let row = 0; row < GLYPH_HEIGHT; row += 1) {
          if ((bits >> row) & 1)
            this.fill(x + (index * (GLYPH_WIDTH + 1) + column) * scale, y + row * scale, scale, scale, color);
        }
      });
    });
  }

  /** `texts` become tEXt chunks: keyword and Latin-1 value, "?" where that has no printable character. */
  toPng(texts: Record<string, string>): Buffer {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(this.width, 0);
    header.writeUInt32BE(this.height, 4);
    header.set([8, 3, 0, 0, 0], 8);
    const rows = Buffer.alloc((this.width + 1) * this.height);
    for (let row = 0; row < this.height; row += 1) {
      rows.set(this.pixels.subarray(row * this.width, (row + 1) * this.width), row * (this.width + 1) + 1);
    }
    return Buffer.concat([
      Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
      chunk("IHDR", header),
      chunk("PLTE", Buffer.from(this.palette.flat())),
      ...Object.entries(texts).map(([keyword, value]) =>
        chunk("tEXt", Buffer.from(`${keyword}\0${value.replace(/[^ -~\u00a0-\u00ff]/g, "?")}`, "latin1")),
      ),
      chunk("IDAT", deflateSync(rows)),
      chunk("IEND", Buffer.alloc(0)),
    ]);
  }
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  framed.set(body, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}
