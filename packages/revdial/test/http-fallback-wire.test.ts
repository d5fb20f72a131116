/** The framing of the HTTP transport against `vectors/records.json`, byte by byte. */
import { describe, expect, it } from "@jest/globals";
import { closeRecord, recordOf } from "../src/http-wire.ts";
import { reading, readsRecords } from "./records.ts";

const ping = Buffer.from("000008070000000000000000000000000001", "hex");

describe("the records of the vectors", () => readsRecords("vectors"));

describe("the records of SPEC §12.2", () => {
  it("are written as the example says", () => {
    expect(Buffer.from(recordOf([ping.subarray(0, 5), ping.subarray(5)])).toString("hex")).toBe(
      `00000012${ping.toString("hex")}`,
    );
    expect(Buffer.from(closeRecord(1000, "CLOSED")).toString("hex")).toBe("0000000003e806434c4f534544");
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
