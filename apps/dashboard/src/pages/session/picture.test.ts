import { describe, expect, it } from "@jest/globals";
import { PICTURE_BYTES_MAX, pictureOf } from "./picture.ts";

function png(width: number, height: number): Uint8Array {
  const bytes = new Uint8Array(33);
  bytes.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52]);
  new DataView(bytes.buffer).setUint32(16, width);
  new DataView(bytes.buffer).setUint32(20, height);
  return bytes;
}
const jpeg = (width: number, height: number, before: number[] = []) =>
  Uint8Array.from([
    ...[0xff, 0xd8, ...before, 0xff, 0xc0, 0, 17, 8],
    ...[height >> 8, height & 255, width >> 8, width & 255, 3, 0, 0, 0],
  ]);
const text = (words: string) => new TextEncoder().encode(words);

describe("bytes that are to be shown as a screen", () => {
  it("are a PNG or a JPEG by what they begin with, of the size that they say", () => {
    expect(pictureOf(png(1920, 1080))).toEqual({ type: "image/png", width: 1920, height: 1080 });
    const app0 = [0xff, 0xe0, 0, 4, 1, 2];
    expect(pictureOf(jpeg(640, 480, app0))).toEqual({ type: "image/jpeg", width: 640, height: 480 });
    expect(pictureOf(jpeg(640, 480, [...app0, 0xff]))).toMatchObject({ width: 640 });
  });

  it("are found within a larger buffer", () => {
    const whole = new Uint8Array(100);
    whole.set(png(800, 600), 40);
    expect(pictureOf(whole.subarray(40, 73))).toMatchObject({ width: 800, height: 600 });
  });

  it("are refused when they are a page, a drawing that may run scripts, or nothing", () => {
    expect(pictureOf(text("<!doctype html><script>alert(1)</script>"))).toBe("no-picture");
    expect(pictureOf(text('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'))).toBe("no-picture");
    expect(pictureOf(text("GIF89a"))).toBe("no-picture");
    expect(pictureOf(new Uint8Array())).toBe("no-picture");
  });

  it("are refused when a small file means a picture of no end", () => {
    expect(pictureOf(png(100_000, 100_000))).toBe("too-large");
    expect(pictureOf(png(7680, 7680))).toBe("too-large");
    expect(pictureOf(jpeg(65_535, 1))).toBe("too-large");
    expect(pictureOf(png(4320, 7680))).toMatchObject({ height: 7680 });
  });

  it("are refused when they are more than any picture needs", () => {
    const bytes = new Uint8Array(PICTURE_BYTES_MAX + 1);
    bytes.set(png(10, 10));
    expect(pictureOf(bytes)).toBe("too-large");
  });

  it("are refused when they break off, are empty, or lead nowhere", () => {
    expect(pictureOf(png(10, 10).subarray(0, 20))).toBe("no-picture");
    expect(pictureOf(png(0, 10))).toBe("no-picture");
    expect(pictureOf(Uint8Array.from([0xff, 0xd8, 0xff]))).toBe("no-picture");
    expect(pictureOf(jpeg(10, 10, [0xff, 0xe0, 0, 0]))).toBe("no-picture");
    expect(pictureOf(jpeg(10, 10, [0xff, 0xe0, 0xff, 0xff]))).toBe("no-picture");
    expect(pictureOf(Uint8Array.from([0xff, 0xd8, ...Array(5000).fill(0xff)]))).toBe("no-picture");
  });
});
