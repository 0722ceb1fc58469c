import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuthorizedSession } from '#core/session.ts';
import type { Need, StatementAnalysis } from '#sql/needs.ts';
import { hubOfReads } from '#test/support/hub-of-reads.ts';
import { createJudge, lookUp } from './judge.ts';
import type { AskedNames } from './judge-worker.ts';

const session = {
  principal: { id: 'usr_test' },
  id: 'ses_1',
  grant: 'gra_1',
  policyVersion: 'v1',
  role: { name: 'orders/read', resource: 'orders', permissions: { tables: [], functions: [] } },
} as unknown as AuthorizedSession;
const names: AskedNames = { kind: 'known', searchPath: ['public'], user: 'u', changedInTransaction: false };
const need: Need = { action: 'select', object: { kind: 'table', schema: 'public', name: 'orders' }, columns: ['id'] };

/** A hub that takes every text for a select on orders, and allows that until told otherwise. */
function makeJudge() {
  const state = { isAllowed: true, more: {} as Partial<StatementAnalysis> };
  const judge = createJudge({
    onFault: (_what, error) => assert.fail(String(error)),
    hub: hubOfReads({
      more: () => ({ needs: [need], ...state.more }),
      decide: () =>
        state.isAllowed
          ? { kind: 'allow', policyVersion: 'v1', variesWith: 'nothing', policies: ['p'] }
          : { kind: 'deny', policyVersion: 'v1', variesWith: 'nothing', policies: [], missing: [need], roles: [] },
    }),
  });
  const text = (n: number) => `select id from orders where id = ${n}`;
  const ask = (n: number) => judge.judge({ session, names, text: text(n), prepared: () => [] });
  const look = (n: number) => lookUp(judge.book(session, names), text(n));
  return { judge, state, ask, look };
}

test('what is allowed is known for every text that differs in literals only, until anything changes', async () => {
  const { judge, ask, look } = makeJudge();
  assert.equal(look(2), undefined);
  const verdict = await ask(1);
  assert.equal(verdict.kind, 'allow');
  assert.equal(look(1), verdict);
  assert.equal(look(2), verdict);
  for (const change of [judge.forgetDecisions, judge.catalogueChanged, () => judge.policyChanged('v2')]) {
    change();
    assert.equal(look(1), undefined);
    assert.equal(look(2), undefined);
    await ask(1);
    assert.notEqual(look(2), undefined);
  }
  judge.forgetGrant(session.grant);
  assert.equal(look(2), undefined);
});

test('a refusal is known for its own text only, and so is what has effects by its text', async () => {
  const { state, ask, look } = makeJudge();
  state.isAllowed = false;
  assert.equal((await ask(1)).kind, 'deny');
  assert.equal(look(1)?.kind, 'deny');
  assert.equal(look(2), undefined);
  state.isAllowed = true;
  for (const more of [{ declares: { name: 'c', text: 't' } }, { fetches: 'c' }, { deallocates: { name: 'q' } }]) {
    state.more = more;
    await ask(3);
    assert.equal(look(4), undefined, JSON.stringify(more));
  }
});

test('INVARIANT 7: sessions of one grant whose role was declared anew in between have nothing in common', async () => {
  const { judge, state } = makeJudge();
  state.more = { needs: [], class: 'session', mayLeaveReadOnly: true };
  const text = 'set transaction read write';
  const permissions = { tables: [], functions: [{ schema: 'public', name: 'f' }] };
  const before = { ...session, role: { ...session.role, permissions } } as unknown as AuthorizedSession;
  const verdict = await judge.judge({ session: before, names, text, prepared: () => [] });
  assert.equal(verdict.kind, 'allow');
  assert.equal(lookUp(judge.book(before, names), text), verdict);
  assert.equal(lookUp(judge.book(session, names), text), undefined);
  assert.equal((await judge.judge({ session, names, text, prepared: () => [] })).kind, 'deny');
});
