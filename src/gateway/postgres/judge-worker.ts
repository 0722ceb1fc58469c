/**
 * The thread that parses. A long statement takes tens of milliseconds to parse and walk; here it holds up its own connection
 * and no other. Knows nothing of sessions or policy: a text, names and a catalogue in, an analysis out.
 */
import { parentPort } from 'node:worker_threads';
import { analyse } from '#sql/analyse.ts';
import { parseCatalogue, type Catalogue } from '#sql/catalogue.ts';
import type { Analysis } from '#sql/needs.ts';
import { createParser } from '#sql/parser.ts';

export type AskedNames =
  | {
      readonly kind: 'known';
      readonly searchPath: readonly string[];
      readonly user: string;
      readonly changedInTransaction: boolean;
      /** What the session itself sees in a transaction in which it has changed definitions; otherwise the target's. */
      readonly definitions?: Definitions | undefined;
    }
  /** `definitionsChanged`: by the session, in the open transaction; so the target's catalogue doesn't hold for it. */
  | { readonly kind: 'unknown'; readonly definitionsChanged?: boolean };

export type Definitions = { readonly version: string; readonly json: string };

export type WorkerAsk =
  | { readonly kind: 'catalogue'; readonly version: string; readonly json: string }
  | { readonly kind: 'forget'; readonly version: string }
  | {
      readonly kind: 'analyse';
      readonly id: number;
      readonly text: string;
      readonly catalogue: string;
      readonly names: AskedNames;
      readonly prepared: readonly (readonly [string, string])[];
    };

export type WorkerAnswer =
  | { readonly id: number; readonly analysis: Analysis }
  | { readonly id: number; readonly fault: string };

const port = parentPort;
if (port !== null) {
  const parser = await createParser();
  const catalogues = new Map<string, Catalogue>();

  const answer = (ask: WorkerAsk & { readonly kind: 'analyse' }): WorkerAnswer => {
    const catalogue = catalogues.get(ask.catalogue);
    if (catalogue === undefined) return { id: ask.id, fault: 'catalogue is not known' };
    const prepared = new Map(ask.prepared);
    const { names } = ask;
    const analysis =
      names.kind === 'unknown'
        ? analyse(parser, ask.text, {
            unknownPath: true,
            unknownDefinitions: names.definitionsChanged === true,
            catalogue,
            prepared,
          })
        : analyse(parser, ask.text, {
            catalogue,
            searchPath: names.searchPath,
            user: names.user,
            changedInTransaction: names.changedInTransaction,
            prepared,
          });
    return { id: ask.id, analysis };
  };

  port.on('message', (ask: WorkerAsk) => {
    switch (ask.kind) {
      case 'catalogue':
        catalogues.set(ask.version, parseCatalogue(ask.json));
        return;
      case 'forget':
        catalogues.delete(ask.version);
        return;
      case 'analyse':
        try {
          port.postMessage(answer(ask));
        } catch (error) {
          port.postMessage({ id: ask.id, fault: error instanceof Error ? error.message : 'failed' });
        }
        return;
      default:
        ask satisfies never;
    }
  });
}
