import { hasSqlDetails, loadModule, parseSync } from 'libpg-query';
import type { ParseResult } from '@pgsql/types';

/** PostgreSQL's own parser. It throws what libpg-query throws; `parse-text.ts` makes values of that. */
export type Parser = { readonly parse: (text: string) => ParseResult };

/** Loads the WebAssembly module, about 100 ms; do it once per thread. */
export async function createParser(): Promise<Parser> {
  await loadModule();
  return { parse: parseSync };
}

export { hasSqlDetails };
