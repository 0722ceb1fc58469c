/** Acts over HTTP, with passkeys in software: what a proof is good for, who may decide, what is hidden, who waits for what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureBootstrap } from '#app/ensure-bootstrap.ts';
import { createSoftwareAuthenticator, type Misbehaviour } from '#test/support/software-authenticator.ts';
import { minutes } from '#core/instant.ts';
import { newId } from '#core/ids.ts';
import { stranger, testApi, web, type As, type Reply, type TestApi } from '#test/support/api.ts';
import type { TestPerson } from '#test/support/app.ts';

const role = 'orders/support-read';

type Offer = { readonly id: string; readonly options: object; readonly object: Record<string, unknown> };

async function file(api: TestApi, by: TestPerson, reason = 'INC-4211 refund stuck'): Promise<string> {
  const filed = await api.call(web(by), 'fileRequest', { body: { role, seconds: 3600, reason } });
  assert.equal(filed.status, 200, filed.text);
  return String(filed.json()['id']);
}

async function offer(api: TestApi, by: TestPerson, ask: object): Promise<Offer> {
  const reply = await api.call(web(by), 'offerProof', { body: ask });
  assert.equal(reply.status, 200, reply.text);
  return reply.json() as Offer;
}

async function use(api: TestApi, as: As, of: Pick<Offer, 'id'>, assertion: unknown): Promise<Reply> {
  return await api.call(as, 'useProof', { params: { id: of.id }, body: { assertion } });
}

/** Offers and uses a proof, as the console does. */
async function prove(api: TestApi, by: TestPerson, ask: object): Promise<Record<string, unknown>> {
  const offered = await offer(api, by, ask);
  const done = await use(api, web(by), offered, by.key.assert(offered.options));
  assert.equal(done.status, 200, done.text);
  return done.json();
}

test('INVARIANT 2: over HTTP nobody decides on their own request, an administrator and approver least of all', async (t) => {
  const api = await testApi(t);
  const root = await api.person('root', ['administrators', 'engineering', 'dba']);
  const cli = await api.signInCli(root);
  const request = await file(api, root);
  for (const as of [web(root), cli] as const) {
    const offered = await api.call(as, 'offerProof', { body: { purpose: 'approve_request', request } });
    assert.deepEqual([offered.status, offered.code], [403, 'own_request']);
    const denied = await api.call(as, 'denyRequest', { params: { id: request }, body: { word: 'no' } });
    assert.deepEqual([denied.status, denied.code], [403, 'own_request']);
  }
  const shown = await api.call(web(root), 'getRequest', { params: { id: request } });
  assert.deepEqual(shown.json()['you'], { isRequester: true, mayDecide: false, because: 'it is your own request' });
  const inbox = await api.call(web(root), 'listRequests', { query: { box: 'inbox' } });
  assert.deepEqual(inbox.json()['items'], []);

  // Nor with a proof that somebody else was offered for it.
  const bob = await api.person('bob', ['dba']);
  const offered = await offer(api, bob, { purpose: 'approve_request', request });
  const forged = await use(api, web(root), offered, root.key.assert({ ...offered.options, allowCredentials: [] }));
  assert.equal(forged.code, 'not_found');
  assert.equal((await api.call(web(root), 'getRequest', { params: { id: request } })).json()['state'], 'pending');
});

test('INVARIANT 5: a proof is used once, by the one it was offered to, for the content that was shown', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const bob = await api.person('bob', ['dba']);
  const cas = await api.person('cas', ['dba']);
  const first = await file(api, ada, 'the first');
  const second = await file(api, ada, 'the second');
  const stateOf = async (id: string) => (await api.call(web(ada), 'getRequest', { params: { id } })).json()['state'];

  const one = await offer(api, bob, { purpose: 'approve_request', request: first });
  const two = await offer(api, bob, { purpose: 'approve_request', request: second });
  const assertion = bob.key.assert(one.options);
  assert.equal(one.object['reason'], 'the first');

  // The signature over one request doesn't approve another, nor is it anybody else's to use.
  assert.equal((await use(api, web(bob), two, assertion)).code, 'proof_refused');
  assert.equal((await use(api, web(cas), one, assertion)).code, 'not_found');
  const others = cas.key.assert({ ...one.options, allowCredentials: [] });
  assert.equal((await use(api, web(bob), one, others)).code, 'proof_refused');
  assert.equal((await use(api, stranger, one, assertion)).code, 'not_signed_in');
  assert.deepEqual([await stateOf(first), await stateOf(second)], ['pending', 'pending']);

  for (const misbehaviour of [
    { tamper: 'signature' },
    { tamper: 'authenticatorData' },
    { tamper: 'clientDataJSON' },
    { origin: 'https://evil.example' },
    { rpId: 'evil.example' },
    { userVerified: false },
    { userPresent: false },
    { type: 'webauthn.create' },
    { challenge: new Uint8Array(32) },
    { crossOrigin: true },
  ] as readonly Misbehaviour[]) {
    const reply = await use(api, web(bob), one, bob.key.assert(one.options, misbehaviour));
    assert.equal(reply.code, 'proof_refused', JSON.stringify(misbehaviour));
  }
  for (const nonsense of [
    {},
    { id: 1 },
    { ...assertion, response: null },
    { ...assertion, id: 'x' },
    { ...assertion, type: 'y' },
  ])
    assert.equal((await use(api, web(bob), one, nonsense)).code, 'proof_refused');
  assert.equal(await stateOf(first), 'pending');

  const done = await use(api, web(bob), one, bob.key.assert(one.options));
  assert.equal(done.status, 200, done.text);
  assert.equal(await stateOf(first), 'approved');
  assert.equal((await use(api, web(bob), one, bob.key.assert(one.options))).code, 'proof_refused', 'used up');
  assert.equal(await stateOf(second), 'pending');

  api.clock.move(minutes(5));
  assert.equal((await use(api, web(bob), two, bob.key.assert(two.options))).code, 'expired', 'after five minutes');
  assert.equal(await stateOf(second), 'pending');
});

test('INVARIANT 5: a proof for one purpose does nothing else, whatever is sent along with it', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const bob = await api.person('bob', ['dba', 'engineering']);
  const request = await file(api, ada);
  const done = (await prove(api, bob, { purpose: 'approve_request', request })) as { request: { grant: string } };
  const { grant } = done.request;
  const own = await file(api, bob, 'bob needs it too');
  const activation = await offer(api, ada, { purpose: 'activate_grant', grant });
  const assertion = ada.key.assert(activation.options);
  const reply = await api.call(web(ada), 'useProof', {
    params: { id: activation.id },
    body: { assertion, purpose: 'approve_request', request: own, object: { purpose: 'approve_request', request: own } },
  });
  assert.equal(reply.status, 200, reply.text);
  assert.deepEqual(
    [reply.json()['purpose'], (reply.json()['grant'] as { state: string }).state],
    ['activate_grant', 'active'],
  );
  assert.equal((await api.call(web(bob), 'getRequest', { params: { id: own } })).json()['state'], 'pending');
});

test('INVARIANT 14: what is hidden and what is not there get the same answer', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const bob = await api.person('bob', ['dba']);
  const eve = await api.person('eve', ['engineering']);
  const pending = await file(api, ada);
  const approved = await file(api, ada);
  const done = (await prove(api, bob, { purpose: 'approve_request', request: approved })) as {
    request: { grant: string };
  };
  const { grant } = done.request;
  const from = { now: api.clock.now(), random: api.ctx.random };
  const entries = await api.call(web(ada), 'listLog', { query: { scope: 'mine', kind: 'request.filed' } });
  const entry = (entries.json()['items'] as { id: string }[])[0]?.id ?? '';
  const activation = await offer(api, ada, { purpose: 'activate_grant', grant });

  for (const [what, hidden, missing, ask] of [
    ['request', pending, newId('request', from), (id) => api.call(web(eve), 'getRequest', { params: { id } })],
    [
      'waiting',
      pending,
      newId('request', from),
      (id) => api.call(web(eve), 'getRequest', { params: { id }, query: { waitSeconds: 25 } }),
    ],
    ['grant', grant, newId('grant', from), (id) => api.call(web(eve), 'getGrant', { params: { id } })],
    [
      'person',
      ada.principal.id,
      newId('principal', from),
      (id) => api.call(web(eve), 'getPrincipal', { params: { id } }),
    ],
    ['entry', entry, `ent_${'0'.repeat(26)}`, (id) => api.call(web(eve), 'proveEntry', { params: { id } })],
    [
      'approval',
      pending,
      newId('request', from),
      (request) => api.call(web(eve), 'offerProof', { body: { purpose: 'approve_request', request } }),
    ],
    [
      'activation',
      grant,
      newId('grant', from),
      (id) => api.call(web(eve), 'offerProof', { body: { purpose: 'activate_grant', grant: id } }),
    ],
    [
      'proof',
      activation.id,
      newId('proof', from),
      (id) => use(api, web(eve), { id }, ada.key.assert(activation.options)),
    ],
    [
      'denial',
      pending,
      newId('request', from),
      (id) => api.call(web(eve), 'denyRequest', { params: { id }, body: { word: 'no' } }),
    ],
    ['withdrawal', pending, newId('request', from), (id) => api.call(web(eve), 'withdrawRequest', { params: { id } })],
    ['end', grant, newId('grant', from), (id) => api.call(web(eve), 'endGrant', { params: { id }, body: {} })],
    ['credential', grant, newId('grant', from), (id) => api.call(web(eve), 'issueCredential', { params: { id } })],
    [
      'role',
      'orders/support-read',
      'orders/no-such-role',
      (name) => api.call(web(bob), 'fileRequest', { body: { role: name, seconds: 600, reason: 'curious' } }),
    ],
    ['authorization', pending, newId('request', from), (id) => api.call(stranger, 'getRequest', { params: { id } })],
  ] as readonly (readonly [string, string, string, (id: string) => Promise<Reply>])[]) {
    const [a, b] = [await ask(hidden), await ask(missing)];
    assert.ok(a.code === 'not_found' || a.code === 'not_signed_in', `${what}: ${a.text}`);
    assert.equal(a.status, b.status, what);
    assert.equal(a.text.replaceAll(hidden, 'ID'), b.text.replaceAll(missing, 'ID'), what);
    const names = (reply: Reply) => Object.keys(reply.headers).toSorted();
    assert.deepEqual(names(a), names(b), what);
  }
});

test('a wait ends with the decision, with the time, and with the sign-in; not with other people’s changes', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const bob = await api.person('bob', ['dba']);
  const root = await api.person('root', ['administrators']);
  const cookie = { cookie: await api.signInWeb(ada) };
  const subscriptions = countSubscriptions(api);
  const wait = (id: string, seconds: number, by: As = web(ada)) =>
    api.call(by, 'getRequest', { params: { id }, query: { waitSeconds: seconds } });

  const request = await file(api, ada);
  const other = await file(api, ada, 'another');
  const begun = performance.now();
  const waiting = wait(request, 25);
  await subscriptions.reach(1);
  await api.call(web(ada), 'withdrawRequest', { params: { id: other } });
  await prove(api, bob, { purpose: 'approve_request', request });
  const decided = await waiting;
  assert.deepEqual([decided.status, decided.json()['state']], [200, 'approved']);
  assert.ok(performance.now() - begun < 15_000, 'it did not wait for its time to be over');
  assert.equal((await wait(request, 25)).json()['state'], 'approved', 'what is decided is not waited for');

  const grant = String(decided.json()['grant']);
  const activation = api.call(web(ada), 'getGrant', {
    params: { id: grant },
    query: { waitSeconds: 25, while: 'approved' },
  });
  await subscriptions.reach(3);
  await prove(api, ada, { purpose: 'activate_grant', grant });
  assert.equal((await activation).json()['state'], 'active');

  const third = await file(api, ada, 'nobody decides this one');
  assert.equal((await wait(third, 1)).json()['state'], 'pending', 'the time is over');

  const signedOut = wait(third, 25, web(cookie));
  await subscriptions.reach(5);
  await api.call(web(cookie), 'signOut');
  // A sign-out tells nobody; whoever suspends somebody tells everybody.
  const suspended = wait(third, 25);
  await subscriptions.reach(6);
  const { id } = ada.principal;
  await prove(api, root, { purpose: 'change_principal', principal: id, groups: ['engineering'], state: 'suspended' });
  assert.deepEqual([(await suspended).status, (await suspended).code], [401, 'not_signed_in']);
  assert.equal((await signedOut).code, 'not_signed_in');
  assert.equal(subscriptions.open(), 0);
});

test('a wait that nobody waits for any more is over, and nobody holds more than their share of them', async (t) => {
  const api = await testApi(t, { api: { limits: { waitersPerPrincipal: 2 } } });
  const ada = await api.person('ada', ['engineering']);
  const eve = await api.person('eve', ['engineering']);
  const subscriptions = countSubscriptions(api);
  const request = await file(api, ada);
  const { request: open } = await import('node:http');
  const path = `/api/v1/requests/${request}?waitSeconds=25`;
  const headers = { ...(await api.headersOf(web(ada), 'GET', path)), host: new URL(api.publicUrl).host };
  const held = [1, 2].map(() => {
    const waiting = open({ host: '127.0.0.1', port: api.running.port, path, headers, agent: false });
    waiting.on('error', () => undefined);
    waiting.end();
    return waiting;
  });
  await subscriptions.reach(2);
  const third = await api.send({ method: 'GET', path, headers });
  assert.deepEqual([third.status, third.code, third.headers['retry-after']], [429, 'too_many_tries', '5']);
  assert.equal(
    (await api.call(web(ada), 'getRequest', { params: { id: request } })).status,
    200,
    'asking without waiting',
  );
  const own = await file(api, eve);
  assert.equal(
    (await api.call(web(eve), 'getRequest', { params: { id: own }, query: { waitSeconds: 1 } })).status,
    200,
  );
  for (const waiting of held) waiting.destroy();
  await subscriptions.drained();
  assert.deepEqual(api.faults, []);
});

test('from the first link to a credential and back, with nothing but HTTP and passkeys', async (t) => {
  const api = await testApi(t);
  const link = await ensureBootstrap(api.ctx);
  const enrol = async (url: string, handle?: string): Promise<TestPerson> => {
    const token = url.slice(url.indexOf('#') + 1);
    const inspected = await api.call(stranger, 'inspectLink', { body: { token } });
    assert.equal(inspected.json()['kind'], handle === undefined ? 'enrolment' : 'bootstrap');
    const key = createSoftwareAuthenticator({ origin: api.publicUrl });
    const started = await api.call(stranger, 'startEnrolment', { body: { token, handle, name: handle } });
    const { ceremony, options } = started.json() as { ceremony: string; options: object };
    const finished = await api.call(stranger, 'finishEnrolment', {
      body: { token, ceremony, response: key.register(options), authenticatorName: 'laptop' },
    });
    assert.equal(finished.status, 200, finished.text);
    const cookie = /=([^;]+)/.exec(String(finished.headers['set-cookie']))?.[1] ?? '';
    const me = finished.json() as { principal: TestPerson['principal'] };
    assert.equal((await api.call(stranger, 'inspectLink', { body: { token } })).code, 'not_found', 'a link works once');
    return { principal: me.principal, key, cookie };
  };
  const root = await enrol(String(link?.url.reveal()), 'root');
  const invite = async (handle: string, groups: readonly string[]) => {
    const done = await prove(api, root, { purpose: 'invite_principal', handle, name: handle.toUpperCase(), groups });
    return await enrol((done as { link: { url: string } }).link.url);
  };
  const ada = await invite('ada', ['engineering']);
  const bob = await invite('bob', ['dba']);
  const cli = await api.signInCli(ada);

  const roles = (await api.call(cli, 'listRoles')).json()['items'] as { role: string }[];
  assert.deepEqual(roles.map(({ role: name }) => name).toSorted(), [
    'orders/fix-orders',
    'orders/maintain-orders',
    role,
  ]);
  const filed = await api.call(cli, 'fileRequest', {
    body: { role, seconds: 7200, reason: 'INC-4211', ticket: 'INC-4211' },
  });
  const request = String(filed.json()['id']);
  const inbox = (await api.call(web(bob), 'listRequests', { query: { box: 'inbox' } })).json()['items'] as {
    id: string;
  }[];
  assert.deepEqual(
    inbox.map(({ id }) => id),
    [request],
  );
  const approved = (await prove(api, bob, { purpose: 'approve_request', request })) as { request: { grant: string } };
  const { grant } = approved.request;
  assert.equal(
    (await api.call(cli, 'issueCredential', { params: { id: grant } })).code,
    'conflict',
    'not activated yet',
  );
  await prove(api, ada, { purpose: 'activate_grant', grant });
  const credential = await api.call(cli, 'issueCredential', { params: { id: grant } });
  assert.match(String(credential.json()['user']), /^ada\.[0-9a-z]{8}$/);
  assert.equal(credential.json()['sslmode'], 'verify-full');
  const password = String(credential.json()['password']);
  assert.ok(password.length >= 24);

  const again = (await prove(api, root, { purpose: 'enrol_authenticator', principal: bob.principal.id })) as {
    link: { url: string };
  };
  assert.match(again.link.url, /\/enrol#sly_ln_/);
  const revoked = await api.call(web(bob), 'endGrant', { params: { id: grant }, body: { word: 'enough' } });
  assert.deepEqual([revoked.json()['state'], revoked.json()['how']], ['ended', 'revoked']);
  assert.equal((await api.call(cli, 'issueCredential', { params: { id: grant } })).code, 'already_ended');

  const kinds = (
    (await api.call(web(root), 'listLog', { query: { scope: 'all', order: 'oldest', limit: 200 } })).json()[
      'items'
    ] as { kind: string }[]
  ).map(({ kind }) => kind);
  for (const kind of ['request.filed', 'request.approved', 'grant.activated', 'credential.issued', 'grant.ended'])
    assert.ok(kinds.includes(kind), `${kind} is not among ${kinds.join(', ')}`);
  const everything = JSON.stringify(await api.ctx.db.selectFrom('log_entry').selectAll().execute());
  assert.equal(everything.includes(password), false);
  assert.deepEqual(api.faults, []);
});

test('administration takes a passkey that was shown a quarter of an hour ago at most', async (t) => {
  const api = await testApi(t);
  const root = await api.person('root', ['administrators']);
  const invite = { purpose: 'invite_principal', handle: 'ada', name: 'Ada', groups: [] };
  assert.equal((await api.call(web(root), 'offerProof', { body: invite })).status, 200);
  api.clock.move(minutes(16));
  const late = await api.call(web(root), 'offerProof', { body: invite });
  assert.deepEqual([late.status, late.code], [401, 'fresh_sign_in_needed']);
  assert.equal((await api.call(web(root), 'listPrincipals', { query: {} })).status, 200, 'looking does not');
  const again = web({ cookie: await api.signInWeb(root) });
  assert.equal((await api.call(again, 'offerProof', { body: invite })).status, 200);
});

/** Counts who listens for changes, so that a test knows when a long poll has begun and ended. */
function countSubscriptions(api: TestApi) {
  let made = 0;
  let open = 0;
  let wake: () => void = () => undefined;
  const { subscribe } = api.ctx.changes;
  Object.assign(api.ctx.changes, {
    subscribe: (on: Parameters<typeof subscribe>[0]) => {
      const subscription = subscribe(on);
      made += 1;
      open += 1;
      wake();
      return {
        [Symbol.dispose]: () => {
          subscription[Symbol.dispose]();
          open -= 1;
          wake();
        },
      };
    },
  });
  const until = async (isSo: () => boolean) => {
    while (!isSo()) await new Promise<void>((resolve) => (wake = resolve));
  };
  return {
    open: () => open,
    reach: (count: number) => until(() => made >= count),
    drained: () => until(() => open === 0),
  };
}
