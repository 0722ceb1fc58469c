/**
 * What can't be seen in a text, or makes it look like another: controls, blanks of other widths, marks of direction, tags
 * and variation selectors (Unicode TR 36, "Bidirectional Text Spoofing"; CVE-2021-42574). Tab and line feed are what they are.
 */
const unseen =
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  /[\u{0}-\u{8}\u{b}-\u{1f}\u{7f}-\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}-\u{180f}\u{2000}-\u{200f}\u{2028}-\u{202f}\u{205f}-\u{206f}\u{2800}\u{3000}\u{3164}\u{fe00}-\u{fe0f}\u{feff}\u{ffa0}\u{fff0}-\u{fffb}\u{e0000}-\u{e0fff}]/u;

export type Part = { readonly text: string; readonly isUnseen: boolean };

/** The text in pieces; a character that can't be seen is a piece of its own, by its code point: `U+202E`. */
export function exactParts(text: string): readonly Part[] {
  if (!unseen.test(text)) return [{ text, isUnseen: false }];
  const parts: Part[] = [];
  let plain = '';
  const close = () => {
    if (plain !== '') parts.push({ text: plain, isUnseen: false });
    plain = '';
  };
  for (const character of text) {
    if (!unseen.test(character)) {
      plain += character;
      continue;
    }
    close();
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    parts.push({ text: `U+${code}`, isUnseen: true });
  }
  close();
  return parts;
}
