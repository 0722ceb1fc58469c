import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HoldId } from '#core/ids.ts';
import { hours, minutes, type Duration } from '#core/instant.ts';
import { entriesOf } from '#test/support/access.ts';
import { testApp, valueOf, type TestApp, type TestPerson } from '#test/support/app.ts';
import { createSoftwareAuthenticator } from '#test/support/software-authenticator.ts';
import { stateOf, withPolicies } from '#test/support/holds.ts';
import { authenticateWeb } from './authenticate.ts';
import { finishEnrolment, startEnrolment } from './enrol.ts';
import { noticesFor } from './notices.ts';
import { offerProof, type ProofAsk } from './offer-proof.ts';
import { readHold } from './read-holds.ts';
import { denyHold } from './settle-hold.ts';

/** Asks for an act that somebody else has to approve: where it waits. */
async function heldAct(app: TestApp, who: TestPerson, ask: ProofAsk): Promise<HoldId> {
  const outcome = await offerProof(app.ctx, await app.caller(who), ask);
  assert.ok(outcome.kind === 'refused' && outcome.because === 'approval_needed', JSON.stringify(outcome));
  assert.ok(outcome.hold?.url.endsWith(`/h/${outcome.hold.id}`));
  return outcome.hold?.id as HoldId;
}

async function passkeysOf(app: TestApp, who: TestPerson) {
  return await app.ctx.db
    .selectFrom('authenticator')
    .selectAll()
    .where('principal', '=', who.principal.id)
    .where('revoked_at', 'is', null)
    .orderBy('id')
    .execute();
}

async function enrolBy(app: TestApp, url: string) {
  const token = url.slice(url.indexOf('#') + 1);
  const key = createSoftwareAuthenticator({ origin: 'http://localhost:7700', counts: true });
  const { ceremony, options } = valueOf(await startEnrolment(app.ctx, { token, handle: undefined, name: undefined }));
  valueOf(
    await finishEnrolment(app.ctx, {
      token,
      ceremony,
      response: key.register(options as object),
      authenticatorName: 'phone',
      address: '127.0.0.1',
    }),
  );
  return key;
}

test('a colleague’s passkeys are reset when a second administrator has signed that very act, and they are told', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ruth = await app.person('ruth', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  await app.signInWeb(ada);
  const ask = { purpose: 'reset_authenticators', principal: ada.principal.id, reason: 'lost her phone' } as const;
  const id = await heldAct(app, root, ask);
  assert.equal(await heldAct(app, root, ask), id, 'asked again it is the same');
  const own = await offerProof(app.ctx, await app.caller(root), { purpose: 'approve_act', hold: id });
  assert.ok(own.kind === 'refused' && own.because === 'own_request', 'INVARIANT 2');
  const hidden = await offerProof(app.ctx, await app.caller(ada), { purpose: 'approve_act', hold: id });
  assert.ok(hidden.kind === 'refused' && hidden.because === 'not_found');
  const shown = valueOf(await readHold(app.ctx, await app.caller(ruth), id));
  assert.ok(shown.what.kind === 'act' && shown.what.words.some((line) => line.includes('lost her phone')));
  const { object } = await app.sign(ruth, { purpose: 'approve_act', hold: id });
  assert.ok(object.purpose === 'approve_act' && object.act.includes(ada.principal.id));
  await app.prove(ruth, { purpose: 'approve_act', hold: id });
  assert.equal(await stateOf(app, id), 'cured');
  const before = await app.signInWeb(ada);
  const done = await app.prove(root, ask);
  assert.ok(done.purpose === 'reset_authenticators');
  assert.equal(await stateOf(app, id), 'released');
  assert.deepEqual(await entriesOf(app, { hold: id }), ['hold.opened', 'hold.approved', 'hold.released']);
  assert.deepEqual(await passkeysOf(app, ada), []);
  assert.equal(await authenticateWeb(app.ctx, { cookie: before, address: '127.0.0.1' }), undefined, 'INVARIANT 4');
  await enrolBy(app, done.link.url.reveal());
  const told = await noticesFor(app.ctx, ada.principal.id);
  assert.ok(
    told.some(({ words }) => words.includes('root')),
    JSON.stringify(told),
  );
  assert.notEqual(await heldAct(app, root, ask), id, 'an approval is for one act');
});

test('one administrator alone can reset, since there is nobody else to ask; nobody resets their own', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const reset = { purpose: 'reset_authenticators', reason: 'lost' } as const;
  await app.prove(root, { ...reset, principal: ada.principal.id });
  const own = await offerProof(app.ctx, await app.caller(root), { ...reset, principal: root.principal.id });
  assert.equal(own.kind, 'refused');
});

test('a further passkey is added by its owner alone, one is removed, and the last one stays where it locks out', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const done = await app.prove(ada, { purpose: 'add_authenticator' });
  assert.ok(done.purpose === 'add_authenticator');
  await enrolBy(app, done.link.url.reveal());
  const [first, second] = await passkeysOf(app, ada);
  assert.ok(first !== undefined && second !== undefined);
  const others = await offerProof(app.ctx, await app.caller(await app.person('eve', ['engineering'])), {
    purpose: 'remove_authenticator',
    authenticator: first.id,
  });
  assert.ok(others.kind === 'refused' && others.because === 'not_found');
  const two = await app.sign(ada, { purpose: 'remove_authenticator', authenticator: second.id });
  assert.ok(two.object.purpose === 'remove_authenticator' && two.object.left === 1);
  valueOf(await two.use());
  assert.deepEqual(
    (await passkeysOf(app, ada)).map(({ id }) => id),
    [first.id],
  );
  assert.equal((await entriesOf(app, { authenticator: second.id })).at(-1), 'authenticator.removed');
  // Her last one: without it only an administrator helps, so one looks at it.
  const id = await heldAct(app, ada, { purpose: 'remove_authenticator', authenticator: first.id });
  valueOf(await denyHold(app.ctx, await app.caller(root), { hold: id, word: 'keep it', endsSession: false }));
  assert.equal(await stateOf(app, id), 'denied');
  const [only] = await passkeysOf(app, root);
  const last = await offerProof(app.ctx, await app.caller(root), {
    purpose: 'remove_authenticator',
    authenticator: only?.id ?? assert.fail(),
  });
  assert.ok(last.kind === 'refused' && last.because === 'conflict', 'INVARIANT 13');
});

test('an approval is for the act as it was: a change of it, of policy or of the person asks again', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ruth = await app.person('ruth', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  await withPolicies(
    app,
    root,
    `@id("two-administer") @cure("approval by administrators")
     forbid (principal, action == Action::"administer", resource == Administration::"principals")
     unless { context.approval.covers_action };`,
  );
  const change = (groups: readonly string[]) =>
    ({ purpose: 'change_principal', principal: ada.principal.id, groups, state: 'active' }) as const;
  const id = await heldAct(app, root, change(['engineering', 'dba']));
  await app.prove(ruth, { purpose: 'approve_act', hold: id });
  assert.notEqual(await heldAct(app, root, change(['engineering', 'ops'])), id, 'another act is another hold');
  const signed = await app.sign(root, change(['engineering', 'dba']));
  const [one, two] = [await signed.use(), await signed.use()];
  assert.deepEqual([one.kind, two.kind], ['done', 'refused'], 'once');
  assert.notEqual(await heldAct(app, root, change(['engineering', 'dba'])), id);

  // Two that are approved: the one that comes first changes what the other is about.
  const [third, fourth] = [change(['engineering', 'dba', 'ops']), change(['engineering', 'dba', 'night'])];
  for (const ask of [third, fourth])
    await app.prove(ruth, { purpose: 'approve_act', hold: await heldAct(app, root, ask) });
  const late = await app.sign(root, fourth);
  await app.prove(root, third);
  const stale = await late.use();
  assert.ok(stale.kind === 'refused' && stale.because === 'conflict');
  const renewed = await heldAct(app, root, fourth);
  assert.equal(await stateOf(app, renewed), 'waiting', 'what was approved is not what it would be now');

  const invite = { purpose: 'invite_principal', handle: 'newt', name: 'Newt', groups: ['engineering'] } as const;
  const held = await heldAct(app, root, invite);
  const approval = await app.sign(ruth, { purpose: 'approve_act', hold: held });
  assert.ok(approval.object.purpose === 'approve_act');
  valueOf(await approval.use());
  const offered = await app.sign(root, invite);
  assert.ok(
    offered.object.purpose === 'invite_principal' && approval.object.act.includes(offered.object.subject.id),
    'the account that was approved is the one that is made',
  );
  app.clock.move(minutes(1));
  const expired = await heldAct(app, root, change(['engineering', 'dba', 'sales']));
  await app.prove(ruth, { purpose: 'approve_act', hold: expired });
  app.clock.move((hours(1) + 1) as Duration);
  assert.notEqual(
    await heldAct(app, root, change(['engineering', 'dba', 'sales'])),
    expired,
    'an old approval is none',
  );
});

test('a fresh key cures nothing where policy says so; the first key of all is exempt', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ruth = await app.person('ruth', ['administrators']);
  await withPolicies(
    app,
    root,
    `@id("old-keys-administer")
     forbid (principal, action == Action::"administer", resource == Administration::"principals")
     when { context.proof has authenticator_age && context.proof.authenticator_age < duration("24h") };`,
  );
  const invite = (handle: string) => ({ purpose: 'invite_principal', handle, name: handle, groups: [] }) as const;
  const young = await (await app.sign(ruth, invite('newt'))).use();
  assert.ok(young.kind === 'refused' && young.because === 'forbidden');
  await app.prove(root, invite('newt'));
  app.clock.move(hours(24));
  await app.prove(ruth, invite('nora'));
});
