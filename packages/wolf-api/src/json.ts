/** JSON as Wolf writes it: 64-bit ids may arrive as bare numbers, and nothing from outside may nest without bound. */

const DEPTH_MAX = 64;

/**
 * As JSON.parse, but an integer that a double cannot hold exactly becomes a string of its own digits (an id of
 * 2^53 or more would otherwise lose some). Throws SyntaxError, also for what nests deeper than `depthMax` levels
 * (default 64).
 */
export function parseWolfJson(text: string, depthMax = DEPTH_MAX): unknown {
  if (nestsDeeperThan(text, depthMax)) throw new SyntaxError(`nested deeper than ${depthMax} levels`);
  return JSON.parse(/[0-9]{16}/.test(text) ? quoteLongIntegers(text) : text);
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [ZERO, NINE, MINUS] = [0x30, 0x39, 0x2d];
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Counts brackets outside strings; on text that is no JSON the answer does not matter. */
function nestsDeeperThan(text: string, depthMax: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === BACKSLASH) at += 1;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1;
  }
  return false;
}

/** From a digit, or a minus sign, to the number's end as RFC 8259 section 6 has it. */
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const BEFORE_COLON = /[ \t\n\r]*:/y;

/**
 * The text with quotes around integers that a double cannot hold. A reviver's access to the source would do the same, but
 * Node has that only from 21 on. What is no JSON stays none: an integer in a name's place keeps its bareness.
 */
function quoteLongIntegers(text: string): string {
  let quoted = "";
  let copied = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0];
      if (number === undefined) continue;
      const end = at + number.length;
      BEFORE_COLON.lastIndex = end;
      if (isLongInteger(number) && !BEFORE_COLON.test(text)) {
        quoted += `${text.slice(copied, at)}"${number}"`;
        copied = end;
      }
      at = end - 1;
    }
  }
  return quoted + text.slice(copied);
}

const isLongInteger = (number: string) =>
  number.length >= 16 && /^-?[0-9]+$/.test(number) && !Number.isSafeInteger(Number(number));

/** The place of the quote that ends the string which begins at `start`, or the text's length. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at += 1;
    else if (code === QUOTE) return at;
  }
  return text.length;
}
