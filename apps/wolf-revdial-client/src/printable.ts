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

/**
 * A line of JSON whose strings steer no terminal: JSON itself escapes only the controls below U+0020. Outside of its strings a line
 * has none, but for the newline at its end.
 */
export function plainLine(line: string): string {
  return line.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) =>
    [...Array(sign.length).keys()]
      .map((at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
