import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { House } from '#test/support/driver-house.ts';
import { bigQuery, type Outcome, runProgram, testDriver, values } from './_matrix.ts';

await testDriver({
  name: 'psql',
  run: runPsql,
  without: { 'many connections': 'it has one' },
  putsValuesIntoText: true,
  also: {
    'no error of its own commands': '',
    described: ['driver_values', 'Primary key', 'order_total', 'sally_r_'],
    'completes names': 'driver_secrets',
    'watches, shows plans, executes what it selected': ['3', 'Seq Scan', '5'],
    'error in a string of several': ['22012', '0'],
  },
});

async function runPsql(house: House): Promise<Outcome> {
  const outcome: Record<string, unknown> = {};
  const psql = async (lines: readonly string[], ...args: readonly string[]) =>
    runProgram(house, ['psql', '-XAtq', '-v', 'VERBOSITY=verbose', ...args], { stdin: `${lines.join('\n')}\n` });
  const state = (stderr: string) => [...stderr.matchAll(/(?:ERROR|FATAL): {2}([0-9A-Z]{5}):/g)].map(([, code]) => code);

  const who = await psql(['select substr(current_user, 1, 8);', '\\conninfo']);
  outcome['connect'] = `${who.stdout.split('\n')[0]} over ${who.stdout.includes('SSL connection') ? 'TLS' : 'nothing'}`;

  const names = Object.keys(values);
  const set = Object.entries(values).flatMap(([name, value]) =>
    value === null
      ? []
      : [`\\set v_${name} '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`],
  );
  const list = names.map((name) => (values[name as keyof typeof values] === null ? 'null' : `:'v_${name}'`)).join(', ');
  await psql([...set, `insert into driver_values (${names.join(', ')}) values (${list});`]);
  const same = names
    .filter((name) => values[name as keyof typeof values] !== null)
    .map((name) => `${name} = (:'v_${name}')`)
    .join(' and ');
  outcome['parameters'] = (
    await psql([...set, `select 'as sent' from driver_values where nothing is null and ${same};`])
  ).stdout.trim();

  const inserts = Array.from({ length: 500 }, (_, n) => `insert into driver_rows values (${n}, 'row ${n}');`);
  const batch = await psql([...inserts, 'select count(*) from driver_rows;'], '-1');
  outcome['batch'] = Number(batch.stdout);

  const folder = mkdtempSync(join(tmpdir(), 'sallyport-psql-'));
  const file = join(folder, 'in.tsv');
  writeFileSync(file, Array.from({ length: 500 }, (_, n) => `${n}\tü ${n}\n`).join(''));
  await psql([`\\copy driver_copies from '${file}'`]);
  // The rest as psql itself reads it.
  const rest = Array.from({ length: 500 }, (_, n) => `${n + 500}\tü ${n}`);
  outcome['copy in'] = Number(
    (await psql(['copy driver_copies from stdin;', ...rest, '\\.', 'select count(*) from driver_copies;'])).stdout,
  );
  outcome['copy out'] = (await psql(['\\copy driver_copies to stdout (format csv)'])).stdout.split('\n').length - 1;
  rmSync(folder, { recursive: true });

  const sleeping = spawn('psql', ['-XAtq', '-v', 'VERBOSITY=verbose', '-c', 'select pg_sleep(60)'], {
    env: house.env,
  });
  let said = '';
  sleeping.stderr.on('data', (chunk: Buffer) => (said += String(chunk)));
  await house.begun('pg_sleep');
  // As the terminal does at ctrl-c.
  sleeping.kill('SIGINT');
  await once(sleeping, 'close');
  [outcome['cancel']] = state(said);

  const news = await psql(['listen driver_news;', "notify driver_news, 'Grüße';", 'select 1;']);
  const heard = /notification "(.*?)" with payload "(.*?)"/.exec(news.stdout);
  outcome['notification'] = heard?.slice(1);

  const note = (word: string) => `insert into driver_notes (word) values ('${word}');`;
  const transaction = [
    `begin; ${note('committed')} commit; begin; ${note('rolled back')} rollback;`,
    `begin; ${note('before the savepoint')} savepoint here; ${note('behind the savepoint')} select 1/0;`,
    `rollback to here; ${note('after the error')} commit; select word from driver_notes order by n;`,
  ];
  outcome['transaction'] = (await psql(transaction)).stdout.trim().split('\n');
  const several = await psql([], '-c', `${note('never')} select 1/0; ${note('never')}`);
  const never = await psql(["select count(*) from driver_notes where word = 'never';"]);
  outcome['error in a string of several'] = [...state(several.stderr), never.stdout.trim()];

  outcome['errors of the server'] = state((await psql(['select 1/0;', 'insert into driver_rows values (1);'])).stderr);
  const refused = await psql(['select word from driver_secrets where id = 1;']);
  outcome['refused'] = [...state(refused.stderr), /HINT: {2}(.*)/.exec(refused.stderr)?.[1]];
  const inside = await psql([
    'begin;',
    'select * from driver_secrets;',
    'select 1;',
    'rollback;',
    "select 'usable after rollback';",
  ]);
  outcome['refused in a transaction'] = [...state(inside.stderr), inside.stdout.trim()];

  const big = await psql(['\\set FETCH_COUNT 20000', `${bigQuery};`]);
  const numbers = big.stdout.trim().split('\n').map(Number);
  outcome['big result'] = [numbers.length, numbers.reduce((sum, n) => sum + n, 0)];

  const plain = String.raw`\l \dn+ \dt+ \dv \di+ \ds \df+ \dT+ \du \dp \dg \dx \db \dC \do \da \dL \dD \des \dy \dd \drds \ddp
    \dO \dc \dA \dAc \dF \dX \det \dew \dP \dconfig`;
  const described = await psql([
    ...plain.split(/\s+/),
    '\\d+ driver_values',
    '\\d+ orders',
    '\\d driver_rows_pkey',
    '\\sf order_total',
  ]);
  outcome['no error of its own commands'] = described.stderr;
  outcome['described'] = ['driver_values', 'Primary key', 'order_total', 'sally_r_'].filter((word) => {
    const shown = word === 'Primary key' ? /primary key|driver_rows_pkey/i : word;
    return described.stdout.match(shown) !== null;
  });
  const more = await psql([
    "select 'select ' || n from generate_series(1, 3) n \\gexec",
    'explain select * from driver_notes;',
    'select 2 + 3 as five \\gset',
    '\\echo :five',
  ]);
  const shown = more.stdout.split('\n');
  outcome['watches, shows plans, executes what it selected'] = [shown[2], shown[3]?.slice(0, 8), shown.at(-2)];
  outcome['completes names'] = await complete(house);
  return outcome;
}

/** In a terminal: what the key for completion makes of the beginning of a name. */
async function complete(house: House): Promise<string | undefined> {
  const terminal = spawn('script', ['-qec', 'psql -X', '/dev/null'], {
    env: { ...house.env, TERM: 'dumb', PAGER: 'cat' },
  });
  let shown = '';
  terminal.stdout.on('data', (chunk: Buffer) => (shown += String(chunk)));
  const until = async (pattern: RegExp) => {
    for (const started = Date.now(); !pattern.test(shown) && Date.now() - started < 20_000;)
      await once(terminal.stdout, 'data');
  };
  await until(/=> /);
  terminal.stdin.write('select * from driver_sec\t');
  await until(/driver_secrets/);
  terminal.stdin.write(' limit 0;\n\\q\n');
  await once(terminal, 'close');
  return /driver_secrets/.exec(shown)?.[0];
}
