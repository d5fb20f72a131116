/** What fits into a session's clipboard, as a function of it. */
import { count } from "../../ui/text.ts";

const BYTES_MAX = 48 * 1024;
const utf8 = new TextEncoder();

/** Why it cannot be sent; undefined: it can. */
export function clipboardProblem(text: string): string | undefined {
  const size = utf8.encode(text).byteLength;
  if (size > BYTES_MAX) return `${count(size)} bytes are more than the ${count(BYTES_MAX)} that fit.`;
  return text.isWellFormed?.() === false ? "It holds half a character." : undefined;
}
