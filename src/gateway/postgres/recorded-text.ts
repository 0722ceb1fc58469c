/** A text as it is recorded: what is longer is cut, and bound to the record by its size and its hash. */
import { hash } from 'node:crypto';
import type { RecordedText } from '../records.ts';

const maxRecordedText = 65_536;

export function recordText(text: string): RecordedText {
  if (text.length <= maxRecordedText) return { text };
  const bytes = Buffer.from(text);
  return {
    text: text.slice(0, maxRecordedText).toWellFormed(),
    bytes: bytes.length,
    sha256: hash('sha256', bytes, 'hex'),
  };
}
