/** What others have written, made harmless for terminals: hosts choose their names, labels and error texts themselves. */

/** Controls, invisible format characters such as those that turn the direction of text, line separators, halves of pairs, characters of nobody. */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** One line in which each such character is written out, as `\x1b` or `\u{202e}`. */
export function printable(text: string): string {
  return text.replace(unsafe, (sign) => {
    const code = sign.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    return short[sign] ?? (code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`);
  });
}

/** Several lines: line breaks and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(/\r\n/g, "\n").split("\n").map(printableWithTabs).join("\n");
}

const printableWithTabs = (line: string) => line.split("\t").map(printable).join("\t");

/** JSON means the same with these characters written as escapes; outside of strings it has none but line breaks. */
export function printableJson(json: string): string {
  return json.replace(unsafeButLines, (sign) =>
    sign
      .split("")
      .map((half) => `\\u${hex(half, 4)}`)
      .join(""),
  );
}

/** The same for YAML, which knows no halves of pairs. */
export function printableYaml(json: string): string {
  return json.replace(unsafeButLines, (sign) =>
    sign.length === 1 ? `\\u${hex(sign, 4)}` : `\\U${hex(sign, 8)}`,
  );
}

const unsafeButLines = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const hex = (sign: string, digits: number) => (sign.codePointAt(0) ?? 0).toString(16).padStart(digits, "0");

const credential = /\b(wpk|wjt)_[A-Za-z0-9_-]{4,}/g;
/** Keys and tokens that stand where none belongs are not repeated. */
export const withoutCredentials = (text: string): string => text.replace(credential, "[$1_…]");

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const plain = /^[\x20-\x7e]*$/;

/** Columns of a terminal that a printable text takes. */
export function columnsOf(text: string): number {
  if (plain.test(text)) return text.length;
  let columns = 0;
  for (const sign of text) columns += /\p{M}/u.test(sign) ? 0 : wide.test(sign) ? 2 : 1;
  return columns;
}

/** At most so many columns; what is cut off is shown by an ellipsis. */
export function shortened(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let kept = "";
  let taken = 0;
  for (const sign of text) {
    taken += columnsOf(sign);
    if (taken > columns - 1) break;
    kept += sign;
  }
  return `${kept}…`;
}

/** Lines of at most so many columns; a word that is longer is cut into pieces. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).flatMap((long) => pieces(long, columns))) {
    if (line !== "" && columnsOf(line) + 1 + columnsOf(word) > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function pieces(word: string, columns: number): string[] {
  const found: string[] = [];
  let piece = "";
  for (const sign of word) {
    if (piece !== "" && columnsOf(piece) + columnsOf(sign) > columns) {
      found.push(piece);
      piece = "";
    }
    piece += sign;
  }
  return piece === "" ? found : [...found, piece];
}
