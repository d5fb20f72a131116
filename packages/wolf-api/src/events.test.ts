import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { EventStreamError, maySecret, parseEventStream, redactWolfEvent, type StreamItem } from "./events.ts";

const utf8 = new TextEncoder();

async function* chunksOf(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === "string" ? utf8.encode(chunk) : chunk;
}

async function read(chunks: AsyncIterable<Uint8Array>, eventBytesMax?: number): Promise<StreamItem[]> {
  const items: StreamItem[] = [];
  for await (const item of parseEventStream(chunks, eventBytesMax === undefined ? {} : { eventBytesMax }))
    items.push(item);
  return items;
}

describe("an event stream that is broken or hostile", () => {
  it("yields nothing for an event that was not finished by an empty line", async () => {
    expect(await read(chunksOf("event: a\ndata: 1\n"))).toEqual([]);
    expect(await read(chunksOf("event: a\ndata: 1"))).toEqual([]);
    expect(await read(chunksOf(""))).toEqual([]);
  });

  it("ends with an error when a line without end grows over the limit", async () => {
    await expect(read(chunksOf("data: ", "x".repeat(60), "x".repeat(60)), 100)).rejects.toThrow(
      EventStreamError,
    );
    await expect(read(chunksOf(`${"y".repeat(101)}\n\n`), 100)).rejects.toThrow(
      "a line of more than 100 bytes",
    );
  });

  it("ends with an error when the lines of one event are over the limit together", async () => {
    const line = `data: ${"x".repeat(24)}\n`;
    await expect(read(chunksOf(line, line, line, line), 100)).rejects.toThrow(
      "an event of more than 100 bytes",
    );
    expect(await read(chunksOf(line, "\n", line, "\n", line, "\n", line, "\n"), 100)).toHaveLength(4);
  });

  it("counts bytes, not characters", async () => {
    expect(await read(chunksOf(`data:${"ä".repeat(47)}\n\n`), 100)).toHaveLength(1);
    await expect(read(chunksOf(`data:${"ä".repeat(48)}\n\n`), 100)).rejects.toThrow(EventStreamError);
  });

  it("takes 256 KiB unless told otherwise", async () => {
    await expect(read(chunksOf("x".repeat(256 * 1024 + 1)))).rejects.toThrow("262144");
  });

  it("lets go of its source when it gives up", async () => {
    let released = false;
    async function* source() {
      try {
        for (;;) yield utf8.encode("x".repeat(50));
      } finally {
        released = true;
      }
    }
    await expect(read(source(), 100)).rejects.toThrow(EventStreamError);
    expect(released).toBe(true);
  });

  it("passes on what its source throws", async () => {
    async function* source() {
      yield utf8.encode("event: a\n");
      throw new Error("cut");
    }
    await expect(read(source())).rejects.toThrow("cut");
  });

  it("replaces bytes that are no UTF-8 and goes on", async () => {
    const items = await read(chunksOf("data: a", new Uint8Array([0xff, 0xc3]), "\n\ndata: b\n\n"));
    expect(items).toEqual([
      { event: "message", data: "a\ufffd\ufffd" },
      { event: "message", data: "b" },
    ]);
  });

  it("ignores fields it does not know and events without data", async () => {
    expect(await read(chunksOf("id: 7\nretry: 1\nnonsense\n: \nevent: a\n\ndata\n\n"))).toEqual([
      { comment: " " },
      { event: "message", data: "" },
    ]);
  });
});

describe("an event stream", () => {
  it("gives events, several lines of data, and comments", async () => {
    const text = ":keepalive\n\nevent: wolf::core::events::StopLobbyEvent\ndata: {\ndata:  1}\n\n";
    expect(await read(chunksOf(text))).toEqual([
      { comment: "keepalive" },
      { event: "wolf::core::events::StopLobbyEvent", data: "{\n 1}" },
    ]);
  });

  it("removes a byte order mark at its start and nowhere else", async () => {
    expect(await read(chunksOf("\ufeffdata: \ufeffa\n\n\ufeffdata: b\n\n"))).toEqual([
      { event: "message", data: "\ufeffa" },
    ]);
  });

  it("gives an event that ends with carriage returns at once", async () => {
    let more: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      more = resolve;
    });
    async function* source() {
      yield utf8.encode("data: 1\r\r");
      await gate;
      yield utf8.encode("\ndata: 2\r\n\r\n");
    }
    const items = parseEventStream(source());
    expect(await items.next()).toEqual({ done: false, value: { event: "message", data: "1" } });
    more();
    expect(await items.next()).toEqual({ done: false, value: { event: "message", data: "2" } });
    expect(await items.next()).toEqual({ done: true, value: undefined });
  });

  it.each([["\n"], ["\r"], ["\r\n"]])(
    "reads the same wherever its bytes are cut, with lines ended by %j",
    async (end) => {
      const lines = [":keepalive", "event: Größe", "data: {", "data: \u{1f43a}}", "", "data: second", ""];
      const bytes = utf8.encode(`\ufeff${lines.join(end)}${end}`);
      const whole = [
        { comment: "keepalive" },
        { event: "Größe", data: "{\n\u{1f43a}}" },
        { event: "message", data: "second" },
      ];
      for (let at = 0; at <= bytes.length; at += 1) {
        expect(await read(chunksOf(bytes.subarray(0, at), bytes.subarray(at)))).toEqual(whole);
      }
      expect(await read(chunksOf(...Array.from(bytes, (byte) => new Uint8Array([byte]))))).toEqual(whole);
    },
  );

  it("gives back any events that were written, however they are cut", async () => {
    const name = fc.stringMatching(/^[A-Za-z:]{1,20}$/);
    const data = fc.string({ unit: "grapheme" }).map((text) => text.replace(/[\r\n]/g, "_"));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ event: name, data })),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        async (events, sizes) => {
          const bytes = utf8.encode(
            events.map((item) => `event: ${item.event}\ndata: ${item.data}\n\n`).join(""),
          );
          const pieces: Uint8Array[] = [];
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const size = sizes[turn % sizes.length] ?? 1;
            pieces.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect(await read(chunksOf(...pieces))).toEqual(events);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("redaction", () => {
  const secrets = {
    ...{ pin: [1, 2, 3, 4], aes_key: "K", aes_iv: "I", AES_KEY: "K" },
    ...{ rtp_secret_payload: [1], payload: "P" },
  };

  it("removes keys and PINs at every depth, in arrays as well, and keeps the rest", () => {
    const event = {
      event: "e",
      data: { ...secrets, id: "1", list: [{ ...secrets, a: 1 }], deep: { deeper: { ...secrets, b: null } } },
    };
    expect(redactWolfEvent(event)).toEqual({
      event: "e",
      data: { id: "1", list: [{ a: 1 }], deep: { deeper: { b: null } } },
    });
    expect(event.data.pin).toEqual([1, 2, 3, 4]);
  });

  it("leaves no secret in anything that nests, also below its depth limit", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.boolean(), (depth, inArray) => {
        let data: unknown = { aes_key: "SECRET", pin: "SECRET" };
        for (let level = 0; level < depth; level += 1) data = inArray ? [data] : { inner: data };
        expect(JSON.stringify(redactWolfEvent({ event: "e", data: { data } }))).not.toContain("SECRET");
      }),
    );
  });

  it("is needed for every text with a secret's name in it, plain or escaped, and not for a list of lobbies", () => {
    for (const name of Object.keys(secrets))
      expect(maySecret(JSON.stringify({ a: [{ [name]: 1 }] }))).toBe(true);
    expect(maySecret('{"\\u0070in":1}')).toBe(true);
    expect(maySecret('{"lobbies":[{"id":"a","pin_required":true}]}')).toBe(false);
  });

  it("does not let a field named __proto__ become a prototype", () => {
    const data = JSON.parse('{"__proto__":{"polluted":true,"pin":1}}') as Record<string, unknown>;
    const redacted = redactWolfEvent({ event: "e", data });
    expect(Object.getPrototypeOf(redacted.data)).toBe(Object.prototype);
    expect(JSON.stringify(redacted.data)).toBe('{"__proto__":{"polluted":true}}');
  });
});
