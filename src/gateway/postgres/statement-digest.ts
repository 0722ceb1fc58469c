/**
 * What a proof over a statement is bound to (INVARIANT 5): the text as the server will see it and the raw parameters, byte for
 * byte, as SHA-256 in hex over
 *
 * `"sallyport/statement/v1" 0x00  u32 length, text in UTF-8  u16 count { u32 type, u16 format, i32 length or -1, bytes }*`
 *
 * with all numbers big-endian. A type is 0 where nobody has said which it is.
 */
import { createHash } from 'node:crypto';

export type RawParameters = {
  /** None, one for all, or one each; 0 is text, 1 is binary. */
  readonly formats: readonly number[];
  readonly values: readonly (Buffer | null)[];
  readonly types: readonly number[];
};

export const noParameters: RawParameters = { formats: [], values: [], types: [] };

export function statementDigest(text: string, { formats, values, types }: RawParameters): string {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  const count = Buffer.alloc(2);
  count.writeUInt16BE(values.length);
  const hash = createHash('sha256').update('sallyport/statement/v1\0').update(head).update(bytes).update(count);
  for (const [i, value] of values.entries()) {
    const each = Buffer.alloc(10);
    each.writeUInt32BE(types[i] ?? 0);
    each.writeUInt16BE((formats.length === 1 ? formats[0] : formats[i]) ?? 0, 4);
    each.writeInt32BE(value?.length ?? -1, 6);
    hash.update(each);
    if (value !== null) hash.update(value);
  }
  return hash.digest('hex');
}

/** More than this isn't held: nobody could read what they sign. */
export const maxHeldStatement = 65_536;

export const heldLength = (text: string, { values }: RawParameters): number =>
  values.reduce((sum, value) => sum + (value?.length ?? 0), Buffer.byteLength(text));

/** What `execute` runs is part of what is signed. */
export const textToSign = (
  text: string,
  executes: readonly { readonly name: string; readonly text: string }[],
): string => [text, ...executes.map(({ name, text: run }) => `-- prepared as ${name}:\n${run}`)].join('\n');
