import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ResourceName } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { TargetAccess } from '../control-plane.ts';
import type { Admin } from './admin.ts';
import { createCatalogues } from './catalogue.ts';

test('INVARIANT 7: what is asked for after a definition is not answered by a look that was begun with before it', async () => {
  // A target that answers when it is told to, with what is defined when it is asked.
  let defined = 'old';
  const waiting: (() => void)[] = [];
  const query: Admin['query'] = async (text) => {
    const answer = text.includes('as fingerprint') ? { fingerprint: defined } : { catalogue: defined };
    if ('catalogue' in answer) await new Promise<void>((resolve) => waiting.push(resolve));
    return [answer];
  };
  const answerAll = async () => {
    for (let i = 0; i < 5; i += 1) {
      await new Promise(setImmediate);
      for (const answer of waiting.splice(0).toReversed()) answer();
    }
  };
  const resource = 'orders' as ResourceName;
  const access = { resource } as TargetAccess;
  const changes: string[] = [];
  const catalogues = createCatalogues({
    admin: () => ({ query }) as Admin,
    clock: { now: () => 1_000_000 as Instant },
    onChange: ({ json }) => changes.push(json),
  });

  const before = catalogues.get(access);
  await new Promise(setImmediate);
  defined = 'new';
  catalogues.invalidate(resource);
  const behind = catalogues.get(access);
  await answerAll();
  assert.equal((await before).json, 'old');
  assert.equal((await behind).json, 'new');
  assert.equal((await catalogues.get(access)).json, 'new');
  assert.deepEqual(changes, ['new']);
});
