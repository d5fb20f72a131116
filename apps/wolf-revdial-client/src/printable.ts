/** What others say, made fit for terminals and lists. */

/** Nothing in it steers a terminal or breaks a line. */
export function printable(text: string): string {
  return text.replace(/\p{C}+/gu, " ");
}

/** Neither does it repeat a token; an empty one is none. */
export function printableWithout(tokens: readonly string[], text: string): string {
  return printable(
    tokens.reduce((rest, token) => (token === "" ? rest : rest.replaceAll(token, "[token]")), text),
  );
}
