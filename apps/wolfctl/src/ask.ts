/** One line from the person at the terminal; a key is not shown while it is typed or pasted. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

export interface Asker {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
  signal: AbortSignal;
  /** While somebody types, Ctrl-C is a key like others and no signal. */
  onInterrupt: () => void;
}

/** Empty when it was interrupted, or when the input has ended. */
export function ask(
  { input, output, signal, onInterrupt }: Asker,
  question: string,
  { hidden }: { hidden: boolean },
): Promise<string> {
  output.write(question);
  // Readline shows what is typed by its output: this one shows nothing.
  const blind = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, output: hidden ? blind : output, terminal: true, historySize: 0 });
  const close = () => lines.close();
  signal.addEventListener("abort", close, { once: true });
  return new Promise((resolve) => {
    let answer: string | undefined;
    lines.once("line", (line) => {
      answer = line;
      lines.close();
    });
    lines.once("SIGINT", onInterrupt);
    lines.once("close", () => {
      signal.removeEventListener("abort", close);
      if (hidden || answer === undefined) output.write("\n");
      resolve(answer ?? "");
    });
  });
}
