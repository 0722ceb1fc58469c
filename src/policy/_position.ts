/** From an index into a text to a line and a column, and from Cedar's byte offsets to such an index. */

/** Both count from 1; the column is in UTF-16 code units. */
export function positionOf(text: string, index: number): { readonly line: number; readonly column: number } {
  const end = Math.max(0, Math.min(index, text.length));
  let line = 1;
  let start = 0;
  for (let at = text.indexOf('\n'); at !== -1 && at < end; at = text.indexOf('\n', at + 1)) {
    line += 1;
    start = at + 1;
  }
  return { line, column: end - start + 1 };
}

/** The index of the character at that offset in the text's UTF-8 form. */
export function indexOfByte(text: string, offset: number): number {
  let bytes = 0;
  let index = 0;
  for (const char of text) {
    if (bytes >= offset) break;
    const code = char.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    index += char.length;
  }
  return index;
}
