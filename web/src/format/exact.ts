/**
 * What can't be seen in a text, or makes it look like another: controls, blanks of other widths, marks of direction, tags
 * and variation selectors (Unicode TR 36, "Bidirectional Text Spoofing"; CVE-2021-42574). Tab and line feed are what they are.
 */
const unseen: readonly (readonly [first: number, last: number])[] = [
  [0x0, 0x8],
  [0xb, 0x1f],
  [0x7f, 0xa0],
  [0xad, 0xad],
  [0x34f, 0x34f],
  [0x61c, 0x61c],
  [0x115f, 0x1160],
  [0x17b4, 0x17b5],
  [0x180b, 0x180f],
  [0x2000, 0x200f],
  [0x2028, 0x202f],
  [0x205f, 0x206f],
  [0x2800, 0x2800],
  [0x3000, 0x3000],
  [0x3164, 0x3164],
  [0xfe00, 0xfe0f],
  [0xfeff, 0xfeff],
  [0xffa0, 0xffa0],
  [0xfff0, 0xfffb],
  [0xe0000, 0xe0fff],
];
const isUnseen = (code: number): boolean => unseen.some(([first, last]) => code >= first && code <= last);

export type Part = { readonly text: string; readonly isUnseen: boolean };

/** The text in pieces; a character that can't be seen is a piece of its own, by its code point: `U+202E`. */
export function exactParts(text: string): readonly Part[] {
  const parts: Part[] = [];
  let plain = '';
  const close = () => {
    if (plain !== '') parts.push({ text: plain, isUnseen: false });
    plain = '';
  };
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (!isUnseen(code)) {
      plain += character;
      continue;
    }
    close();
    parts.push({ text: `U+${code.toString(16).toUpperCase().padStart(4, '0')}`, isUnseen: true });
  }
  close();
  return parts;
}
