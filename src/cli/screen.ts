/**
 * What the CLI shows. Everything that came from outside goes through `plain`, so that a reason or a name can't move the
 * cursor or change what the terminal shows; colours are added after that, and only where somebody looks.
 */
import { stripVTControlCharacters } from 'node:util';

export type Colour = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
/** A piece of text, with the colour it has where there are colours. */
export type Cell = string | { readonly text: string; readonly colour: Colour };

/** Where output goes. `columns` is undefined where no terminal is. */
export type Sink = {
  readonly write: (text: string) => void;
  readonly isTty: boolean;
  readonly colours: boolean;
  readonly columns: number | undefined;
};

export type Screen = {
  /** Results. */
  readonly out: Sink;
  /** Progress, remarks and errors. */
  readonly err: Sink;
  /** A terminal to ask questions at. */
  readonly canAsk: boolean;
};

const codes: Readonly<Record<Colour, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

// Control characters, and those that turn the direction of what follows.
// oxlint-disable-next-line no-control-regex -- these are the characters that must not reach the terminal
const hostile = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** One line that can't do anything to a terminal. */
export function plain(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\r?\n|\t/g, ' ')
    .replace(hostile, '\ufffd');
}

export function paint(sink: Sink, cell: Cell): string {
  if (typeof cell === 'string') return plain(cell);
  if (!sink.colours) return plain(cell.text);
  const [on, off] = codes[cell.colour];
  return `\u001b[${on}m${plain(cell.text)}\u001b[${off}m`;
}

/** A line made of cells, joined without anything between. */
export function line(sink: Sink, ...cells: readonly Cell[]): void {
  sink.write(`${cells.map((cell) => paint(sink, cell)).join('')}\n`);
}

const textOf = (cell: Cell): string => plain(typeof cell === 'string' ? cell : cell.text);
const gap = '  ';

/** Rows under a head, each column as wide as its widest cell. The last column is cut to the terminal's width. */
export function table(sink: Sink, head: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => textOf(row[i] ?? '').length)));
  const print = (row: readonly Cell[]) => {
    let used = 0;
    const parts = row.map((cell, i) => {
      const last = i === row.length - 1;
      const text = textOf(cell);
      const room = sink.columns === undefined || !last ? undefined : Math.max(6, sink.columns - used);
      const shown = room !== undefined && text.length > room ? `${text.slice(0, room - 1)}…` : text;
      used += (widths[i] ?? 0) + gap.length;
      const painted = paint(sink, typeof cell === 'string' ? shown : { text: shown, colour: cell.colour });
      return last ? painted : painted + ' '.repeat(Math.max(0, (widths[i] ?? 0) - shown.length));
    });
    sink.write(`${parts.join(gap).trimEnd()}\n`);
  };
  print(head.map((text) => ({ text, colour: 'dim' as const })));
  for (const row of rows) print(row);
}

/** Label and value, a line each. A row without a value is left out. */
export function fields(sink: Sink, rows: readonly (readonly [label: string, value: Cell | undefined])[]): void {
  const shown = rows.filter((row): row is readonly [string, Cell] => row[1] !== undefined);
  const width = Math.max(...shown.map(([label]) => label.length));
  for (const [label, value] of shown)
    sink.write(`  ${paint(sink, { text: label.padEnd(width), colour: 'dim' })}${gap}${paint(sink, value)}\n`);
}

/** A document as the API gave it. */
export function json(sink: Sink, document: unknown): void {
  sink.write(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** One document on one line, where several follow each other. */
export function jsonLine(sink: Sink, document: unknown): void {
  sink.write(`${JSON.stringify(document)}\n`);
}

/** A line that changes in place while something is waited for; off a terminal each new text is a line of its own. */
export type LiveLine = { readonly say: (text: string) => void; readonly end: () => void };

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export function liveLine(sink: Sink, now: () => number): LiveLine {
  let text = '';
  if (!sink.isTty)
    return {
      say: (next) => {
        if (next !== text) line(sink, next);
        text = next;
      },
      end: () => {},
    };
  const started = now();
  let frame = 0;
  const draw = () => {
    const elapsed = Math.floor((now() - started) / 1000);
    const clock = `${Math.floor(elapsed / 60)}:${String(elapsed % 60).padStart(2, '0')}`;
    const mark = paint(sink, { text: frames[frame % frames.length] ?? '', colour: 'cyan' });
    const room = Math.max(10, (sink.columns ?? 80) - clock.length - 5);
    const shown = plain(text);
    const cut = shown.length > room ? `${shown.slice(0, room - 1)}…` : shown;
    sink.write(`\r\u001b[K${mark} ${cut} ${paint(sink, { text: clock, colour: 'dim' })}`);
    frame += 1;
  };
  const timer = setInterval(draw, 100);
  return {
    say: (next) => {
      text = next;
      draw();
    },
    end: () => {
      clearInterval(timer);
      sink.write('\r\u001b[K');
    },
  };
}
