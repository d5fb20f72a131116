/** A question at a terminal: what is typed, what is shown of it, and Ctrl-C. */
import { PassThrough } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { ask } from "../src/ask.ts";

function asked(hidden: boolean) {
  const input = new PassThrough();
  const output = new PassThrough();
  let shown = "";
  output.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
  });
  const stop = new AbortController();
  const answer = ask({ input, output, signal: stop.signal, onInterrupt: () => stop.abort() }, "Key? ", {
    hidden,
  });
  return { input, answer, stop, shown: () => shown };
}

describe("a question", () => {
  it("shows what is typed, unless it is a secret", async () => {
    for (const hidden of [false, true]) {
      const { input, answer, shown } = asked(hidden);
      input.write("typed\r");
      expect(await answer).toBe("typed");
      expect([shown().startsWith("Key? "), shown().includes("typed")]).toEqual([true, !hidden]);
    }
  });

  it("is ended by Ctrl-C, which is heard by whoever asked, and by a signal from elsewhere", async () => {
    const typed = asked(true);
    typed.input.write("half\u0003");
    expect([await typed.answer, typed.stop.signal.aborted]).toEqual(["", true]);
    const elsewhere = asked(false);
    elsewhere.stop.abort();
    expect(await elsewhere.answer).toBe("");
  });

  it("that nobody answers any more is answered with nothing", async () => {
    const { input, answer, stop } = asked(false);
    input.end();
    expect([await answer, stop.signal.aborted]).toEqual(["", false]);
  });
});
