/** A part of the measurements: measures some tables and hands each over as soon as it is complete. */
import type { Table } from '../figures.ts';
import type { World } from '../world.ts';

export type Part = {
  readonly name: string;
  readonly run: (world: World, report: Report) => Promise<void>;
};

export type Report = {
  readonly table: (table: Table) => void;
  /** A text of the document under this title. */
  readonly text: (title: string, text: string) => void;
  /** Something that could not be measured; the part goes on. */
  readonly failed: (what: string, error: unknown) => void;
};
