/** JSON as Wolf writes it: 64-bit ids may arrive as bare numbers, and nothing from outside may nest without bound. */

const DEPTH_MAX = 64;

/**
 * As JSON.parse, but an integer that a double cannot hold exactly becomes a string of its own digits (an id of
 * 2^53 or more would otherwise lose some). Throws SyntaxError, also for what nests deeper than 64 levels.
 */
export function parseWolfJson(text: string): unknown {
  if (nestsDeeperThan(text, DEPTH_MAX)) throw new SyntaxError(`nested deeper than ${DEPTH_MAX} levels`);
  // Shorter integers are exact in a double, and a reviver costs more than the whole parse.
  if (!/[0-9]{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    const digits = context?.source;
    return digits !== undefined && /^-?[0-9]+$/.test(digits) ? digits : value;
  });
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
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
