/** The vectors' `records.json`, read in every way that HTTP may cut them, and written again. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { closeRecord, RecordReader, recordOf } from "../src/http-wire.ts";

export function reading(messageBytesMax = 1024): { reader: RecordReader; seen: string[] } {
  const seen: string[] = [];
  const reader = new RecordReader(messageBytesMax, {
    message: (message) => void seen.push(Buffer.from(message).toString("hex")),
    close: (code) => void seen.push(`close ${code}`),
    malformed: () => void seen.push("malformed"),
  });
  return { reader, seen };
}

interface RecordVector {
  name: string;
  hex: string;
  messages: string[];
  close?: number;
  reason?: string;
  malformed?: boolean;
  whole: boolean;
  written: boolean;
}

export function readsRecords(folder: "vectors" | "vectors-previous"): void {
  const { messageBytesMax, vectors } = JSON.parse(
    readFileSync(new URL(`../${folder}/records.json`, import.meta.url), "utf8"),
  ) as { messageBytesMax: number; vectors: RecordVector[] };

  describe.each(vectors)("$name", (vector) => {
    const { hex, messages, close, malformed, whole, written, reason = "" } = vector;
    const stream = Buffer.from(hex, "hex");
    const events = [...messages];
    if (close !== undefined) events.push(`close ${close}`);
    if (malformed) events.push("malformed");

    it("are read as they are meant, in one piece, byte by byte and cut anywhere", () => {
      const cuts = [[stream.byteLength], Array(stream.byteLength).fill(1)];
      for (let at = 1; at < stream.byteLength; at += 1) cuts.push([at, stream.byteLength - at]);
      for (const sizes of cuts) {
        const { reader, seen } = reading(messageBytesMax);
        let at = 0;
        for (const size of sizes) {
          reader.push(stream.subarray(at, at + size));
          at += size;
        }
        expect(seen).toEqual(events);
      }
    });

    it("are followed by another where they are whole and nothing is over", () => {
      const { reader, seen } = reading(messageBytesMax);
      reader.push(stream);
      reader.push(recordOf([Buffer.from("z")]));
      const goesOn = whole && close === undefined && !malformed;
      expect(seen.slice(events.length).includes("7a")).toBe(goesOn);
    });

    if (written)
      it("are what is written", () => {
        const parts = messages.map((message) => recordOf([Buffer.from(message, "hex")]));
        if (close !== undefined) parts.push(closeRecord(close, reason));
        expect(Buffer.concat(parts).toString("hex")).toBe(hex);
      });
  });
}
