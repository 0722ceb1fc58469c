/** Writes the results down for people: `docs/performance.md`, and the same tables for a terminal. */
import type { Figure, Results, Table } from './figures.ts';
import { goals, judge } from './goals.ts';

/** No more digits than mean something. */
export function number(value: number, most: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? Math.min(most, 1) : most;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function cell(figure: Figure | undefined, digits: number): string {
  if (figure === undefined) return '–';
  const value = number(figure.value, digits);
  if (figure.q1 === undefined || figure.q3 === undefined) return value;
  return `${value} (${number(figure.q1, digits)}–${number(figure.q3, digits)})`;
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
}

export function tableText(table: Table): string {
  return markdownTable(
    [`\`${table.name}\``, ...table.columns],
    Object.entries(table.rows).map(([name, row]) => [
      name,
      ...table.columns.map((column) => cell(row[column], table.digits)),
    ]),
  );
}

export function goalsText(results: Results): string {
  const rows = goals.map((goal) => {
    const verdict = judge(goal, results);
    const digits = goal.value < 10 ? 2 : 0;
    const wanted = `${goal.at === 'least' ? '≥' : '≤'} ${number(goal.value, goal.value < 10 && goal.unit === '×' ? 2 : 0)} ${goal.unit}`;
    const measured = verdict.kind === 'not_measured' ? '–' : `${number(verdict.value, digits)} ${goal.unit}`;
    const said =
      verdict.kind === 'not_measured'
        ? 'not measured'
        : verdict.kind === 'met'
          ? 'met'
          : `**missed by ${number(-verdict.by * 100, 0)} %**`;
    return [goal.what, `\`${goal.figure}\``, wanted, measured, said];
  });
  return markdownTable(['goal', 'figure', 'wanted', 'measured', ''], rows);
}

/** In this order; tables that aren't named here come at the end. */
const order = [
  'throughput',
  'to-pgbouncer',
  'cpu',
  'cpu-to-pgbouncer',
  'latency',
  'added-latency',
  'pgbench',
  'sustained',
  'bulk',
  'streaming',
  'connections',
  'connect-time',
  'held',
  'memory',
  'journal',
  'revoke',
  'decisions',
  'log',
  'flatness',
  'flatness-log',
];

export function inOrder(results: Results): readonly Table[] {
  const place = (table: Table) => (order.indexOf(table.name) + order.length + 1) % (order.length + 1);
  return Object.values(results.tables).toSorted((a, b) => place(a) - place(b));
}

export function documentText(results: Results): string {
  const facts = (what: Readonly<Record<string, string>>) =>
    Object.entries(what).map(([name, value]) => `- ${name}: ${value}`);
  const part = (table: Table) =>
    [
      `### ${table.title}`,
      '',
      `${table.about}${table.unit === '' ? '' : ` Unit: ${table.unit}.`}${
        table.commit === undefined || table.commit === results.commit
          ? ''
          : ` Measured at ${table.commit}, ${table.date ?? ''}.`
      }${table.quick === true ? ' From a quick run: rough.' : ''}`,
      '',
      tableText(table),
      '',
    ].join('\n');
  const failures = Object.entries(results.failures);
  return [
    '# Performance',
    '',
    '<!-- written by `npm run bench`; the prose is in tools/bench/document.ts, the figures are in performance.json -->',
    '',
    intro,
    '',
    '## This run',
    '',
    `- command: \`${results.command}\``,
    `- commit: ${results.commit}`,
    `- date: ${results.date}`,
    ...facts(results.machine),
    ...facts(results.versions),
    '',
    ...(failures.length === 0
      ? []
      : ['Not measured:', '', ...failures.map(([name, why]) => `- ${name}: ${why.split('\n')[0] ?? ''}`), '']),
    '## Goals',
    '',
    goalsText(results),
    '',
    '## Figures',
    '',
    'The name of a figure is that of its table, row and column: `to-pgbouncer.prepared-8.journal`. In parentheses are the',
    'quartiles.',
    '',
    ...inOrder(results).map(part),
    ...Object.entries(results.texts).flatMap(([title, text]) => [
      `## ${title}`,
      '',
      '```text',
      text.trimEnd(),
      '```',
      '',
    ]),
  ]
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .replace(/\n*$/, '\n');
}

const intro = `\`npm run bench\` measures and writes this file; \`npm run bench -- --json\` prints every figure as one document
(\`docs/performance.json\` holds the same). \`--quick\` takes a few minutes and is rough, \`--only NAME…\` measures some parts
and leaves the other tables as they are, \`--no-write\` only prints.

How it is measured: a machine that others use as well changes its speed by a factor of two or three within minutes, so runs one after
the other say nothing. The connections of all targets are open at once, and a load generator in a process of its own
switches between them every 50 ms, in random order, for some dozens of cycles. What is reported is the median of the ratios within
a cycle, with its quartiles, and the CPU time (user and system, by the scheduler’s own count) that the processes of a target took for
exactly their own slices, until they were quiet again. Client, gateway and database share the same cores, so CPU per statement
is the figure that carries over to other machines.

The load generator sends what pgbench’s built-in scripts send, byte for byte as libpq would; pgbench itself is run as a
cross-check where it is installed. The database doesn’t wait for its disk, which makes whatever stands in front of it weigh more.

Columns: \`direct\` is the database itself; \`pgbouncer\` is PgBouncer in session pooling; \`judged\` is the gateway in one
thread that parses, judges, forwards and counts, with its journal taken out (which only this measurement can do); \`journal\` is the gateway in
one thread with its journal on a disk, not yet shipped; \`engines\` is that with an engine thread per core; \`everything\` is Sallyport as
\`npm start\` runs it, with its store, shipping to the log, sealing, sequencing and signing, their CPU time included. Rows that
end in \`-tls\` have TLS on both sides, client and database.`;
