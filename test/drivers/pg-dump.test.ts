import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { House } from '#test/support/driver-house.ts';
import { type Outcome, runProgram, testDriver, withoutCommonChecks } from './_matrix.ts';

const tables = ['driver_rows', 'driver_notes', 'driver_values'];

await testDriver({
  name: 'pg_dump and pg_restore',
  run: runDump,
  without: withoutCommonChecks('it dumps and restores'),
  also: {
    'says nothing': '',
    'plain text holds definitions and rows': ['CREATE TABLE public.driver_rows', 'COPY public.driver_rows', 'row 499'],
    'as inserts': 500,
    'restored from every format': {
      'custom, in one transaction': 'the same',
      'custom, with triggers of nobody': 'the same',
      'directory, four at once': 'the same',
      tar: 'the same',
      'plain, by psql': 'the same',
    },
    'the whole database': '42501',
    'definitions are not restored': '42501',
  },
});

async function runDump(house: House): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-dump-'));
  const outcome: Record<string, unknown> = {};
  const said: string[] = [];
  const run = async (...command: readonly string[]) => {
    const { status, stdout, stderr } = await runProgram(house, command, { env: { PGOPTIONS: '' } });
    said.push(stderr);
    if (status !== 0) said.push(`\`${command.join(' ')}\` ended with ${String(status)}`);
    return stdout;
  };
  const fill = `
    insert into driver_rows select n, 'row ' || n from generate_series(0, 499) n;
    insert into driver_notes (word) select 'ü ' || n || E'\\t\\n\\\\' from generate_series(1, 300) n;
    insert into driver_values (driver, bytes, list, doc) values ('dump', '\\x00ff', '{1,null}', '{"ü": 1}')`;
  await house.target.query(fill);
  const content = async () =>
    JSON.stringify(
      await house.target.query(`
        select (select jsonb_agg(r order by n) from driver_rows r) as rows, (select jsonb_agg(w order by n) from driver_notes w) as notes,
          (select jsonb_agg(v) from driver_values v) as values, (select last_value from driver_notes_n_seq) as next`),
    );
  const whole = await content();
  const only = tables.flatMap((name) => ['-t', `public.${name}`]);
  const at = (name: string) => join(folder, name);
  await run('pg_dump', '-Fc', ...only, '-f', at('custom'));
  await run('pg_dump', '-Fd', '-j4', ...only, '-f', at('directory'));
  await run('pg_dump', '-Ft', ...only, '-f', at('tar'));
  await run('pg_dump', ...only, '-f', at('plain.sql'));
  await run('pg_dump', '--data-only', ...only, '-f', at('data.sql'));
  const inserts = await run('pg_dump', '--column-inserts', '--rows-per-insert=1', '-t', 'driver_rows');
  outcome['as inserts'] = inserts.split('INSERT INTO public.driver_rows').length - 1;
  const text = readFileSync(at('plain.sql'), 'utf8');
  outcome['plain text holds definitions and rows'] = [
    'CREATE TABLE public.driver_rows',
    'COPY public.driver_rows',
    'row 499',
  ].filter((part) => text.includes(part));

  const restored: Record<string, string> = {};
  for (const [name, ...command] of [
    ['custom, in one transaction', 'pg_restore', '--data-only', '--single-transaction', at('custom')],
    ['custom, with triggers of nobody', 'pg_restore', '--data-only', '--no-owner', at('custom')],
    ['directory, four at once', 'pg_restore', '--data-only', '-j4', at('directory')],
    ['tar', 'pg_restore', '--data-only', '--exit-on-error', at('tar')],
    ['plain, by psql', 'psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', at('data.sql')],
  ] as const) {
    await house.target.query(
      'truncate driver_rows, driver_notes, driver_values; select setval($$driver_notes_n_seq$$, 1)',
    );
    await run(...command, ...(command[0] === 'pg_restore' ? ['-d', house.target.database] : []));
    const now = await content();
    restored[name] = now === whole ? 'the same' : now;
  }
  outcome['restored from every format'] = restored;
  outcome['says nothing'] = said.join('');

  const code = (stderr: string) => (/sallyport: .* is not in orders\/driver/.test(stderr) ? '42501' : stderr);
  outcome['the whole database'] = code((await runProgram(house, ['pg_dump', '-f', at('all')])).stderr);
  const clean = await runProgram(house, ['pg_restore', '--clean', '-d', house.target.database, at('custom')]);
  outcome['definitions are not restored'] = code(clean.stderr);
  rmSync(folder, { recursive: true });
  return outcome;
}
