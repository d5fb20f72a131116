/** How the demo prints: lines of at most 80 columns. */

const LINE_WIDTH = 80;

/** `text` in lines of at most 80 columns, each indented. */
export function wrap(text: string, indent: string, width = LINE_WIDTH): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line !== indent && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}
