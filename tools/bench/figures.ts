/**
 * What is measured, as data: tables of figures, each under the name `table.row.column`. The document and `--json` are two
 * views of the same. A table that is measured again replaces the one that was there, so a part can be measured alone.
 */
import type { Spread } from './statistics.ts';

export type Figure = {
  readonly value: number;
  /** Quartiles, where the figure is the median of a sample. */
  readonly q1?: number;
  readonly q3?: number;
  readonly samples?: number;
};

export type Table = {
  readonly name: string;
  readonly title: string;
  /** What the figures mean, for the reader of the table. */
  readonly about: string;
  readonly unit: string;
  readonly digits: number;
  readonly columns: readonly string[];
  /** By row, then column. What could not be measured is absent. */
  readonly rows: Readonly<Record<string, Readonly<Record<string, Figure>>>>;
  /** Of the commit that was measured, and when. */
  readonly commit?: string;
  readonly date?: string;
  /** Was cut short to be quick. */
  readonly quick?: boolean;
};

export type Machine = { readonly [what: string]: string };

export type Results = {
  readonly date: string;
  readonly commit: string;
  readonly command: string;
  readonly machine: Machine;
  readonly versions: Machine;
  readonly tables: Readonly<Record<string, Table>>;
  /** Texts, such as a CPU profile. */
  readonly texts: Readonly<Record<string, string>>;
  /** What could not be measured, and why. */
  readonly failures: Readonly<Record<string, string>>;
};

export const plain = (value: number): Figure => ({ value });
export const figure = ({ median, q1, q3, samples }: Spread): Figure => ({ value: median, q1, q3, samples });

/** Collects rows of one table while it is measured. */
export class TableMaker {
  readonly #rows: Record<string, Record<string, Figure>> = {};
  readonly #about: Omit<Table, 'rows'>;

  constructor(about: Omit<Table, 'rows'>) {
    this.#about = about;
  }

  set(row: string, column: string, value: Figure): void {
    (this.#rows[row] ??= {})[column] = value;
  }

  get table(): Table {
    const columns = this.#about.columns.filter((column) =>
      Object.values(this.#rows).some((row) => row[column] !== undefined),
    );
    return { ...this.#about, columns, rows: this.#rows };
  }
}

/** The figure of a name as it is written in the document: `throughput.prepared-8.direct`. */
export function find(results: Pick<Results, 'tables'>, name: string): Figure | undefined {
  const [table = '', row = '', column = ''] = name.split('.');
  return results.tables[table]?.rows[row]?.[column];
}

/** Newer tables in place of older ones of the same name; what failed now says so instead of an old figure. */
export function merged(older: Results | undefined, newer: Results, measured: readonly string[]): Results {
  const failures = { ...older?.failures };
  for (const part of measured) delete failures[part];
  return {
    ...newer,
    tables: { ...older?.tables, ...newer.tables },
    texts: { ...older?.texts, ...newer.texts },
    failures: { ...failures, ...newer.failures },
  };
}
