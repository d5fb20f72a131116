/** Objects whose names come once: of two equal ones each JSON parser keeps the one it likes (RFC 8259 §4). */

const QUOTE = '"'.charCodeAt(0);
const BACKSLASH = "\\".charCodeAt(0);
const OPEN = "{".charCodeAt(0);
const CLOSE = "}".charCodeAt(0);
const COLON = ":".charCodeAt(0);
/** Space, tab, newline and carriage return lie below; no other sign of JSON does. */
const SPACE = 0x20;

/** Of JSON that was parsed already, whether no object in it names a field twice. */
export function namesOnce(json: string): boolean {
  const objects: Set<string>[] = [];
  for (let at = 0; at < json.length; at += 1) {
    const sign = json.charCodeAt(at);
    if (sign === OPEN) objects.push(new Set());
    else if (sign === CLOSE) objects.pop();
    if (sign !== QUOTE) continue;
    const end = endOfText(json, at);
    if (isName(json, end + 1)) {
      const name: string = JSON.parse(json.slice(at, end + 1));
      const names = objects.at(-1);
      if (names?.has(name)) return false;
      names?.add(name);
    }
    at = end;
  }
  return true;
}

function endOfText(json: string, start: number): number {
  let at = start + 1;
  while (at < json.length && json.charCodeAt(at) !== QUOTE) at += json.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
}

/** Only a name is followed by a colon. */
function isName(json: string, after: number): boolean {
  let at = after;
  while (json.charCodeAt(at) <= SPACE) at += 1;
  return json.charCodeAt(at) === COLON;
}
