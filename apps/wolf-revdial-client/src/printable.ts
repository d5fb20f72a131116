/** What others say, made fit for terminals and lists. */

/** Nothing in it steers a terminal or breaks a line. */
export function printable(text: string): string {
  return text.replace(/\p{C}+/gu, " ");
}

/** Neither does it repeat the token; an empty token is none. */
export function printableWithout(token: string, text: string): string {
  return printable(token === "" ? text : text.replaceAll(token, "[token]"));
}
