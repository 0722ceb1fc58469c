/** Bound parameters as the journal keeps them: text where the type is read, hex elsewhere, long values cut and hashed. */
import { hash } from 'node:crypto';
import { parameterText, type TypeShape } from '#wire/postgres/parameters.ts';
import type { RecordedParameter } from '../records.ts';
import type { Prepared } from './exchange.ts';
import { recordText } from './recorded-text.ts';

/** Values longer than this are cut in the record. */
const maxRecordedValue = 16_384;

export function recordParameters(
  message: { readonly formats: readonly number[]; readonly values: readonly (Buffer | null)[] },
  prepared: Pick<Prepared, 'parameterTypes'>,
  shapeOf: (type: number) => TypeShape | undefined = () => undefined,
): RecordedParameter[] {
  const { formats, values } = message;
  return values.map((value, i) => {
    if (value === null) return null;
    const format = formats.length === 1 ? (formats[0] ?? 0) : (formats[i] ?? 0);
    const type = prepared.parameterTypes[i] ?? 0;
    const isLong = value.length > maxRecordedValue;
    const shown = parameterText(value, format, type, format === 0 ? undefined : shapeOf(type));
    if (!isLong) return 'text' in shown ? shown : { hex: shown.hex, type };
    const whole = { bytes: value.length, sha256: hash('sha256', value, 'hex') };
    if ('text' in shown) return { text: recordText(shown.text).text.slice(0, maxRecordedValue), ...whole };
    return { hex: shown.hex.slice(0, 2 * maxRecordedValue), type, ...whole };
  }) as RecordedParameter[];
}
