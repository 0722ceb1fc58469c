/** Waiting for what becomes true outside of this process, and a look at what is ours on a target. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestTarget } from './postgres.ts';

/** Looks every few milliseconds; fails with what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  for (const deadline = performance.now() + withinMs; performance.now() < deadline;) {
    if (await holds()) return;
    await sleep(25);
  }
  assert.fail(`not within ${withinMs} ms: ${what}`);
}

/** What of ours is on the target. */
export async function leftOn(target: TestTarget) {
  const [row] = (await target.query(
    `select array(select rolname::text from pg_roles where starts_with(rolname, 'sally_l_')) as logins,
            array(select usename || ': ' || left(query, 60) from pg_stat_activity
                  where starts_with(usename, 'sally_l_')) as backends,
            array(select gid::text from pg_prepared_xacts where starts_with(owner, 'sally_')) as prepared`,
  )) as { readonly logins: string[]; readonly backends: string[]; readonly prepared: string[] }[];
  return row ?? assert.fail('the target does not answer');
}
