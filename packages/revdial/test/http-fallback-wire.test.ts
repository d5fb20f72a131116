/** The framing of the HTTP transport, byte by byte. */
import { describe, expect, it } from "@jest/globals";
import { closeRecord, RecordReader, recordOf } from "../src/http-wire.ts";

const ping = Buffer.from("000008070000000000000000000000000001", "hex");

function reading(messageBytesMax = 1024): { reader: RecordReader; seen: string[] } {
  const seen: string[] = [];
  const reader = new RecordReader(messageBytesMax, {
    message: (message) => void seen.push(Buffer.from(message).toString("hex")),
    close: (code) => void seen.push(`close ${code}`),
    malformed: () => void seen.push("malformed"),
  });
  return { reader, seen };
}

describe("the records of SPEC §12.2", () => {
  it("are written as the example says", () => {
    expect(Buffer.from(recordOf([ping.subarray(0, 5), ping.subarray(5)])).toString("hex")).toBe(
      `00000012${ping.toString("hex")}`,
    );
    expect(Buffer.from(closeRecord(1000, "CLOSED")).toString("hex")).toBe("0000000003e806434c4f534544");
  });

  it.each([1, 2, 3, 5, 7, 64])("are read from pieces of %i bytes, and nothing after the last", (size) => {
    const { reader, seen } = reading();
    const stream = Buffer.concat([
      recordOf([ping]),
      recordOf([Buffer.from("a")]),
      closeRecord(1001, "bye"),
      Buffer.from("ffffffff", "hex"),
    ]);
    for (let at = 0; at < stream.byteLength; at += size) reader.push(stream.subarray(at, at + size));
    expect(seen).toEqual([ping.toString("hex"), "61", "close 1001"]);
  });

  it("are refused above the limit before their bytes come, and nothing is read after", () => {
    const { reader, seen } = reading(4);
    reader.push(recordOf([Buffer.from("abcd")]));
    reader.push(Buffer.from("00000005", "hex"));
    reader.push(recordOf([Buffer.from("a")]));
    expect(seen).toEqual(["61626364", "malformed"]);
  });

  it("carry a reason of at most 123 bytes", () => {
    expect(closeRecord(1000, "x".repeat(500)).byteLength).toBe(7 + 123);
  });
});
