/** PostgreSQL's own parser, and what its faults mean. */
import { hasSqlDetails, loadModule, parseSync } from 'libpg-query';
import type { Node, ParseResult } from '@pgsql/types';

/** Throws what libpg-query throws; `parseText` makes values of that. */
export type Parser = { readonly parse: (text: string) => ParseResult };

/** Loads the WebAssembly module, about 100 ms; do it once per thread. */
export async function createParser(): Promise<Parser> {
  await loadModule();
  return { parse: parseSync };
}

export type ParsedText =
  | { readonly kind: 'statements'; readonly statements: readonly { readonly node: Node; readonly text: string }[] }
  | { readonly kind: 'unparsable'; readonly message: string; readonly position?: number }
  /** The parser itself failed, for instance for want of stack; nothing is known about the text. */
  | { readonly kind: 'failed' };

/** The statements of a text, each with its own part of the text. */
export function parseText(parser: Parser, text: string): ParsedText {
  // The parser would take NUL for the end of the text, and what follows would go unseen.
  if (text.includes('\0') || !text.isWellFormed()) {
    return { kind: 'unparsable', message: 'invalid byte sequence for encoding "UTF8": 0x00' };
  }
  if (text === '') return { kind: 'statements', statements: [] };
  let result: ParseResult;
  try {
    result = parser.parse(text);
  } catch (error) {
    if (!hasSqlDetails(error)) return { kind: 'failed' };
    const at = error.sqlDetails?.cursorPosition;
    return { kind: 'unparsable', message: error.message, ...(at === undefined ? {} : { position: at + 1 }) };
  }
  // Offsets are those of the UTF-8 bytes.
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    kind: 'statements',
    statements: (result.stmts ?? []).map(({ stmt, stmt_location: start = 0, stmt_len: length }) => ({
      node: stmt ?? ({} as Node),
      text: decoder.decode(bytes.subarray(start, length ? start + length : undefined)).trim(),
    })),
  };
}
