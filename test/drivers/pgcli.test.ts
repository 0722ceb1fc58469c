import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { House } from '#test/support/driver-house.ts';
import { type Outcome, testDriver, withoutCommonChecks } from './_matrix.ts';

await testDriver({
  name: 'pgcli',
  run: runPgcli,
  without: withoutCommonChecks('it is a program for people'),
  also: {
    queries: ['sally_r_', 'committed'],
    'its own commands': ['driver_values', 'order_total', 'orders_customer'],
    'error and refusal': [
      'division by zero',
      'select on public.driver_secrets (id, word) is not in orders/driver',
      'orders/secrets would give it',
    ],
    // It has read tables and columns for that, on a connection of its own.
    completes: ['driver_secrets', 'shipped_at'],
    'big result': 'SELECT 5000',
    cancel: 'cancelled query',
  },
});

async function runPgcli(house: House): Promise<Outcome> {
  const outcome: Record<string, unknown> = {};
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-pgcli-'));
  const config = join(folder, 'config');
  writeFileSync(
    config,
    '[main]\nsmart_completion = True\nrow_limit = 0\nenable_pager = False\ndestructive_warning = off\nmulti_line = False\n',
  );
  const terminal = spawn(
    'script',
    ['-qec', `stty rows 50 cols 160; pgcli --pgclirc ${config} --less-chatty`, '/dev/null'],
    {
      env: { ...house.env, TERM: 'xterm', HOME: folder, PAGER: 'cat', PROMPT_TOOLKIT_NO_CPR: '1' },
    },
  );
  let shown = '';
  terminal.stdout.on('data', (chunk: Buffer) => (shown += String(chunk)));
  const until = async (pattern: RegExp, from = 0, withinMs = 30_000) => {
    const deadline = Date.now() + withinMs;
    while (!pattern.test(shown.slice(from)) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20));
    return shown.slice(from);
  };
  const ask = async (text: string, answer: RegExp) => {
    const from = shown.length;
    terminal.stdin.write(`${text}\r`);
    return until(answer, from);
  };
  const found = (text: string, ...words: readonly string[]) => words.filter((word) => text.includes(word));
  await until(/orders>/);
  const queries =
    (await ask('select current_user;', /Time: /)) +
    (await ask("insert into driver_notes (word) values ('committed') returning word;", /Time: /));
  outcome['queries'] = found(queries, 'sally_r_', 'committed');
  const commands =
    (await ask('\\dt driver_*', /SELECT \d+|Time: /)) +
    (await ask('\\df order_*', /SELECT \d+|Time: /)) +
    (await ask('\\d orders', /Referenced by[^]*Time: /));
  outcome['its own commands'] = found(commands, 'driver_values', 'order_total', 'orders_customer');
  const errors =
    (await ask('select 1/0;', /division by zero/)) + (await ask('select * from driver_secrets;', /would give it/));
  outcome['error and refusal'] = found(
    errors,
    'division by zero',
    'select on public.driver_secrets (id, word) is not in orders/driver',
    'orders/secrets would give it',
  );
  // It reads what there is beside its first answers, and shows what it knows when something is typed.
  const complete = async (beginning: string, name: RegExp) => {
    for (let attempt = 0; attempt < 15; attempt += 1) {
      const from = shown.length;
      terminal.stdin.write(beginning);
      const menu = name.exec(await until(name, from, 2000))?.[0];
      terminal.stdin.write('\u0003');
      if (menu !== undefined) return menu;
    }
    return undefined;
  };
  outcome['completes'] = [
    await complete('select * from driver_sec', /driver_secrets/),
    await complete('select * from orders where shipp', /shipped_at/),
  ];
  outcome['big result'] = /SELECT 5000/.exec(
    await ask('select n from generate_series(1, 5000) n;', /SELECT 5000/),
  )?.[0];
  const from = shown.length;
  terminal.stdin.write('select pg_sleep(60);\r');
  await house.begun('pg_sleep');
  terminal.stdin.write('\u0003');
  outcome['cancel'] = /cancell?ed query|canceling statement due to user request/i.exec(
    await until(/cancel/i, from),
  )?.[0];
  terminal.stdin.write('\\q\r');
  await Promise.race([once(terminal, 'close'), new Promise((resolve) => setTimeout(resolve, 10_000))]);
  terminal.kill();
  rmSync(folder, { recursive: true });
  return outcome;
}
