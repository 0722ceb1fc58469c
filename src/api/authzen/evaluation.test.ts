/**
 * OpenID AuthZEN Authorization API 1.0, from its text: the sections that tests name are those of the specification. Nobody's
 * policy is tested here but the protocol, and who may ask what about whom.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stranger, testApi, web, type As, type Reply, type TestApi } from '#test/support/api.ts';
import { active, approved, ask as fileRequest, bindGrant, entriesOf, session } from '#test/support/access.ts';
import { loadConfiguration } from '#app/load-configuration.ts';
import { makePlan } from '#app/make-plan.ts';
import { readLog } from '#app/read-log.ts';
import { exampleConfiguration, valueOf } from '#test/support/app.ts';
import { hours } from '#core/instant.ts';
import { rateRules } from '#identity/rate-limit.ts';

type Body = Readonly<Record<string, unknown>>;

async function post(
  api: TestApi,
  as: As,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Reply> {
  return await api.send({
    method: 'POST',
    path: `/access/v1/${path}`,
    headers: {
      ...(await api.headersOf(as, 'POST', `/access/v1/${path}`)),
      'content-type': 'application/json',
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

const user = (id: string) => ({ type: 'user', id });
const table = (name: string, columns?: readonly string[]) => ({
  type: 'table',
  id: `orders/public.${name}`,
  ...(columns === undefined ? {} : { properties: { columns } }),
});
const role = (id: string) => ({ type: 'role', id });
const select = { name: 'select' };
/** Ada may have it for the asking. */
const request = { subject: user('ada'), action: { name: 'request_role' }, resource: role('orders/support-read') };

/** One world for all that only reads. */
async function world(t: Parameters<typeof testApi>[0]) {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const eve = await api.person('eve', ['engineering']);
  const bob = await api.person('bob', ['dba']);
  const root = await api.person('root', ['administrators']);
  return { api, ada, eve, bob, root };
}

const decisionsOf = (reply: Reply): readonly unknown[] => {
  assert.equal(reply.status, 200, reply.text);
  return (reply.json()['evaluations'] as readonly Body[]).map(({ decision }) => decision);
};
const resultsOf = (reply: Reply): readonly unknown[] => {
  assert.equal(reply.status, 200, reply.text);
  return (reply.json()['results'] as readonly Body[]).map(({ id, name }) => id ?? name);
};

test('§6, §10.1: an evaluation is answered with a decision, as JSON, under the name that the caller gave the request', async (t) => {
  const { api, ada } = await world(t);
  const permit = await post(api, web(ada), 'evaluation', request, { 'x-request-id': 'bfe9eb29 ab87/~%00' });
  assert.equal(permit.status, 200, permit.text);
  assert.equal(permit.headers['content-type'], 'application/json');
  assert.equal(permit.headers['x-request-id'], 'bfe9eb29 ab87/~%00');
  // §5.5: a caller may refuse a permit with a context that it doesn't understand, so there is none.
  assert.deepEqual(permit.json(), { decision: true });

  const deny = await post(api, web(ada), 'evaluation', { ...request, resource: role('orders/none') });
  assert.deepEqual([deny.status, deny.json()['decision']], [200, false]);
  assert.equal(deny.headers['x-request-id'], undefined);
  const cli = await api.signInCli(ada);
  assert.deepEqual((await post(api, cli, 'evaluation', request)).json(), { decision: true }, 'with a token as well');

  // §10.1.1: what isn't known is ignored; §5.4: a context is optional, and says nothing about who somebody is.
  const more = { ...request, foo: 'bar', futureField: { nested: true }, context: { time: '2025-06-27T18:03-07:00' } };
  assert.deepEqual((await post(api, web(ada), 'evaluation', more)).json(), { decision: true });
  const claimed = {
    subject: { ...user('ada'), properties: { groups: ['administrators'], role: 'admin' } },
    action: { name: 'administer' },
    resource: { type: 'administration', id: 'principals' },
    context: { groups: ['administrators'] },
  };
  assert.equal((await post(api, web(ada), 'evaluation', claimed)).json()['decision'], false);
  for (let again = 0; again < 3; again += 1)
    assert.deepEqual((await post(api, web(ada), 'evaluation', request)).json(), { decision: true });
});

test('§10.1.1, §10.1.2: what is no request is told by status and message, with the name of the request', async (t) => {
  const { api, ada } = await world(t);
  const { subject, action, resource } = request;
  const wrong: readonly (readonly [string, unknown])[] = [
    ['no subject', { action, resource }],
    ['no action', { subject, resource }],
    ['no resource', { subject, action }],
    ['a subject without a type', { ...request, subject: { id: 'ada' } }],
    ['a subject without an id', { ...request, subject: { type: 'user' } }],
    ['an action without a name', { ...request, action: {} }],
    ['a resource without a type', { ...request, resource: { id: 'x' } }],
    ['a resource without an id', { ...request, resource: { type: 'role' } }],
    ['a subject that is a text', { ...request, subject: 'ada' }],
    ['a name that is a number', { ...request, action: { name: 123 } }],
    ['properties that are a list', { ...request, action: { name: 'x', properties: [] } }],
    ['a context that is a text', { ...request, context: 'x' }],
    ['an array', [request]],
    ['no JSON', '{'],
    ['nothing', ''],
  ];
  for (const [what, body] of wrong)
    for (const path of ['evaluation', 'evaluations']) {
      const reply = await post(api, web(ada), path, body, { 'x-request-id': 'r1' });
      assert.equal(reply.status, 400, `${path}: ${what}: ${reply.text}`);
      assert.equal(reply.headers['content-type'], 'text/plain; charset=utf-8');
      assert.equal(reply.headers['x-request-id'], 'r1');
      assert.match(reply.text, /^[^{}]+\n$/, 'a message');
    }
  const cli = await api.signInCli(ada);
  const text = await post(api, cli, 'evaluation', request, { 'content-type': 'text/plain' });
  assert.equal(text.status, 400);

  const nobody = await post(api, stranger, 'evaluation', request, { 'x-request-id': 'r2' });
  assert.equal(nobody.status, 401);
  assert.equal(nobody.headers['x-request-id'], 'r2');
  assert.match(String(nobody.headers['www-authenticate']), /^DPoP/);
  assert.equal((await post(api, { ...cli, withoutProof: true }, 'evaluation', request)).status, 401);
  const elsewhere = await post(api, web(ada), 'evaluation', request, { origin: 'https://evil.example' });
  assert.equal(elsewhere.status, 403, 'a page of another site asks in nobody’s name');
  assert.equal((await api.send({ method: 'GET', path: '/access/v1/evaluation' })).status, 404);
});

test('a fault is told with a message and the name of the request, and nothing of what went wrong', async (t) => {
  const { api, ada } = await world(t);
  const as = await api.headersOf(web(ada), 'POST', '/access/v1/evaluation');
  const decide = api.ctx.policy.decide;
  Object.assign(api.ctx.policy, {
    decide: () => {
      throw new Error('the secret of the house');
    },
  });
  const reply = await api.send({
    method: 'POST',
    path: '/access/v1/evaluation',
    headers: { ...as, 'content-type': 'application/json', 'x-request-id': 'r3' },
    body: JSON.stringify(request),
  });
  Object.assign(api.ctx.policy, { decide });
  assert.deepEqual([reply.status, reply.headers['x-request-id']], [500, 'r3']);
  assert.doesNotMatch(reply.text, /secret/);
  assert.equal(api.faults.length, 1);
});

test('§7: evaluations come back in order, with defaults, and a bad one among them is denied in its place', async (t) => {
  const { api, ada, eve, bob } = await world(t);
  await active(api, ada, bob);
  const read = (items: readonly unknown[], more: object = {}) =>
    post(api, web(ada), 'evaluations', {
      subject: user('ada'),
      action: select,
      context: { time: '2024-05-31T15:22-07:00' },
      evaluations: items,
      ...more,
    });
  const reply = await read([
    { resource: table('orders') },
    { resource: table('customers', ['email']) },
    { action: { name: 'delete' }, resource: table('orders') },
    { resource: table('customers', ['name']), context: { source: 'override' } },
  ]);
  assert.deepEqual(decisionsOf(reply), [true, false, false, true]);
  assert.equal(reply.json()['decision'], undefined, '§7.2: none for all of them');

  // §7.2.1: errors of an item are in its place.
  const mixed = await read([
    { resource: table('orders') },
    {},
    'text',
    { subject: user('eve'), resource: table('orders') },
  ]);
  assert.deepEqual(decisionsOf(mixed), [true, false, false, false]);
  const statuses = (mixed.json()['evaluations'] as readonly Body[]).map(
    ({ context }) => (context as { error?: { status: number } } | undefined)?.error?.status,
  );
  assert.deepEqual(statuses, [undefined, 400, 400, 403]);

  // §7.1.1: what an item says goes before the default; what it must say and doesn't is the default's.
  const merged = await read(
    [{ resource: { id: 'orders/public.orders' } }, { resource: { id: 'orders', type: 'database' } }],
    {
      resource: { type: 'table', properties: { columns: ['nothing'] } },
    },
  );
  assert.deepEqual(decisionsOf(merged), [true, false], 'the columns of the default are replaced with the rest of it');
  const whole = [request, { ...request, resource: role('orders/none') }];
  assert.deepEqual(decisionsOf(await post(api, web(ada), 'evaluations', { evaluations: whole })), [true, false]);

  // §7.1: without items it is one evaluation.
  for (const none of [{}, { evaluations: [] }])
    assert.deepEqual((await post(api, web(eve), 'evaluations', { ...request, subject: user('eve'), ...none })).json(), {
      decision: true,
    });
  for (const bad of [
    { evaluations: {} },
    { evaluations: Array.from({ length: 51 }, () => request) },
    { subject: 'ada', evaluations: whole },
  ])
    assert.equal((await post(api, web(ada), 'evaluations', bad)).status, 400);
});

test('§7.1.2.1: the semantics stop where they say, and what comes behind is not evaluated', async (t) => {
  const { api, ada, bob } = await world(t);
  await active(api, ada, bob);
  const items = [table('orders'), table('customers', ['email']), table('products')].map((resource) => ({ resource }));
  const run = async (semantic: string | undefined, evaluations: readonly unknown[] = items) =>
    await post(api, web(ada), 'evaluations', {
      subject: user('ada'),
      action: select,
      evaluations,
      options: { ...(semantic === undefined ? {} : { evaluations_semantic: semantic }), another_option: 'value' },
    });
  assert.deepEqual(decisionsOf(await run(undefined)), [true, false, true]);
  assert.deepEqual(decisionsOf(await run('execute_all')), [true, false, true]);
  assert.deepEqual(decisionsOf(await run('deny_on_first_deny')), [true, false]);
  assert.deepEqual(decisionsOf(await run('permit_on_first_permit')), [true]);
  assert.deepEqual(decisionsOf(await run('permit_on_first_permit', items.toReversed().slice(1))), [false, true]);
  assert.deepEqual(
    decisionsOf(await run('deny_on_first_deny', [items[0], {}, items[2]])),
    [true, false],
    'an error denies',
  );
  assert.deepEqual(decisionsOf(await run('permit_on_first_permit', [{}, items[1]])), [false, false]);
  assert.equal((await run('all_at_once')).status, 400);
  const logged = await entriesOf(api, { principal: ada.principal.id });
  assert.equal(logged.filter((kind) => kind === 'decision.evaluated').length, 3 + 3 + 2 + 1 + 2 + 1 + 1);
});

test('INVARIANT 14: about others only those may ask who may read everybody’s decisions; for the rest all others are alike', async (t) => {
  const { api, ada, eve, bob, root } = await world(t);
  const aud = await api.person('aud', ['auditors']);
  for (const about of [
    user('ada'),
    user(ada.principal.id),
    user('nobody-at-all'),
    user(''),
    { type: 'agent', id: 'ada' },
    { type: 'spaceship', id: 'x' },
  ]) {
    const replies = await Promise.all(
      [eve, bob].map((who) => post(api, web(who), 'evaluation', { ...request, subject: about })),
    );
    for (const reply of replies)
      assert.deepEqual([reply.status, reply.text], [403, 'evaluate access: you may ask about yourself only\n']);
    const search = await post(api, web(eve), 'search/resource', {
      ...request,
      subject: about,
      resource: { type: 'role' },
    });
    assert.deepEqual([search.status, search.text], [403, 'search access: you may ask about yourself only\n']);
    assert.equal(
      (await post(api, web(eve), 'search/action', { subject: about, resource: request.resource })).status,
      403,
    );
  }
  // A role that is there and hidden, and one that isn't there.
  const hidden = async (id: string, name = 'request_role') => {
    const { context, ...rest } = (
      await post(api, web(bob), 'evaluation', { subject: user('bob'), action: { name }, resource: role(id) })
    ).json();
    return { ...rest, reason: (context as Body)['reason'], members: Object.keys(context as Body) };
  };
  for (const action of ['request_role', 'connect'])
    assert.deepEqual(await hidden('orders/support-read', action), await hidden('orders/none', action));

  for (const who of [root, aud]) {
    assert.deepEqual((await post(api, web(who), 'evaluation', request)).json(), { decision: true });
    const unknown = await post(api, web(who), 'evaluation', { ...request, subject: user('nobody\0at all') });
    assert.deepEqual([unknown.status, unknown.json()['decision']], [200, false]);
    const denied = await post(api, web(who), 'evaluation', { ...request, subject: user('bob') });
    const { reason_admin: why, policies } = denied.json()['context'] as Body;
    assert.deepEqual([why, policies], [{ en: 'no policy permits it' }, []]);
  }
  const own = await post(api, web(bob), 'evaluation', { ...request, subject: user('bob') });
  assert.equal((own.json()['context'] as Body)['reason_admin'], undefined, 'policies are not told to whom they deny');
});

test('each answer is in the log with what was asked, for whom it is about and for whoever asked', async (t) => {
  const { api, ada, eve, root } = await world(t);
  await post(api, web(root), 'evaluation', { ...request, context: { why: 'the quarterly review' } });
  const odd = await post(
    api,
    web(root),
    'evaluation',
    `{"subject":{"type":"user","id":"ada"},"action":{"name":"\\ud800"},"resource":{"type":"role","id":"x"}}`,
  );
  assert.deepEqual([odd.status, odd.json()['decision']], [200, false]);
  await post(api, web(root), 'search/subject', {
    subject: { type: 'user' },
    action: request.action,
    resource: request.resource,
  });
  const mine = async (who: typeof ada) =>
    valueOf(await readLog(api.ctx, await api.caller(who), { scope: 'mine', order: 'oldest', limit: 50 })).items.filter(
      ({ kind }) => kind.startsWith('decision.'),
    );
  const [first, second, ...rest] = await mine(ada);
  assert.deepEqual(rest, []);
  assert.deepEqual(first?.actor, { id: root.principal.id, handle: 'root' });
  assert.deepEqual(
    [first.facts['decision'], first.facts['policies'], first.content?.['context']],
    ['allow', ['default:request-role'], { why: 'the quarterly review' }],
  );
  assert.deepEqual([second?.facts['decision'], second?.content?.['action']], ['deny', { unreadable: true }]);
  assert.equal((await mine(root)).length, 3);
  assert.deepEqual(await mine(eve), []);
});

test('an evaluation is an answer and no grant: it is judged anew each time, and opens nothing', async (t) => {
  const { api, ada, bob } = await world(t);
  const connect = async () => {
    const [onRole, onResource] = await Promise.all(
      [role('orders/support-read'), { type: 'resource', id: 'orders' }].map((resource) =>
        post(api, web(ada), 'evaluation', { subject: user('ada'), action: { name: 'connect' }, resource }),
      ),
    );
    const reason = (onRole?.json()['context'] as Body | undefined)?.['reason'];
    return [onRole?.json()['decision'], onResource?.json()['decision'], reason];
  };
  const read = { subject: user('ada'), action: select, resource: table('order_summary') };
  const reads = async () => (await post(api, web(ada), 'evaluation', read)).json();
  assert.deepEqual(await connect(), [false, false, 'approval_required']);
  const { context } = await reads();
  assert.deepEqual((context as Body)['requestable'], {
    role: 'orders/support-read',
    command: 'sally request orders/support-read',
  });
  assert.equal((context as Body)['access_request'], undefined, 'the profile is not switched on');

  const waiting = await approved(api, ada, bob);
  assert.deepEqual(await connect(), [false, false, 'grant_pending']);
  assert.equal(((await reads())['context'] as Body)['grant'], waiting);
  await api.prove(ada, { purpose: 'activate_grant', grant: waiting });
  assert.deepEqual(await connect(), [true, true, undefined]);
  assert.deepEqual(await reads(), { decision: true });
  // One that is for a single statement alone says nothing about the table.
  await bindGrant(api, waiting, '0'.repeat(64));
  assert.equal((await reads())['decision'], false);
  await bindGrant(api, waiting, null);
  assert.deepEqual(await reads(), { decision: true });
  const ended = await api.call(web(ada), 'endGrant', { params: { id: waiting }, body: {} });
  assert.equal(ended.status, 200);
  assert.deepEqual(await connect(), [false, false, 'approval_required']);
  assert.equal((await reads())['decision'], false);
});

test('a denial that something would cure says what; the answer takes no cure from whoever asks', async (t) => {
  const { api, ada, bob, root } = await world(t);
  const { file, text, policies } = exampleConfiguration();
  const held = `@id("held") @cure("proof over tables for 10m") forbid (principal, action == PG::Action::"select", resource == PG::Table::"orders/public.orders") unless { context.proof.covers_action };`;
  const more = [...policies, { name: 'policies/held.cedar', text: held }];
  const planned = valueOf(await makePlan(api.ctx, await api.caller(root), { file, text, policies: more }));
  assert.ok(planned.kind === 'planned', JSON.stringify(planned));
  await api.prove(root, { purpose: 'change_configuration', plan: planned.plan });
  await loadConfiguration(api.ctx);
  await active(api, ada, bob);
  const asked = {
    subject: user('ada'),
    action: { ...select, properties: { proof: true } },
    resource: table('orders'),
    context: { proof: { covers_action: true }, cured: { proof: true } },
  };
  const { decision, context } = (await post(api, web(ada), 'evaluation', asked)).json();
  const { reason, cures } = context as Body;
  assert.deepEqual(
    [decision, reason, cures],
    [false, 'cure_needed', [{ kind: 'proof', covers: { over: 'tables', seconds: 600 } }]],
  );
});

test('every action on every type of resource is judged as the act itself would be', async (t) => {
  const { api, ada, eve, bob, root } = await world(t);
  const pending = await fileRequest(api, ada);
  const waiting = await approved(api, ada, bob);
  const live = await active(api, ada, bob);
  const open = (await session(api, ada, live)).id;
  // Of ada, eve, bob (approver) and root (administrator), as root asks.
  const expected: readonly (readonly [string, string, string, string])[] = [
    ['role orders/support-read', 'request_role', 'role', 'yes yes no no'],
    ['role orders/support-read', 'connect', 'role', 'yes no no no'],
    ['resource orders', 'connect', 'resource', 'yes no no no'],
    [`request ${pending}`, 'approve_request', 'request', 'no no yes no'],
    [`grant ${waiting}`, 'activate_grant', 'grant', 'yes no no no'],
    [`grant ${live}`, 'activate_grant', 'grant', 'no no no no'],
    [`grant ${live}`, 'connect', 'grant', 'yes no no no'],
    [`grant ${live}`, 'revoke_grant', 'grant', 'yes no yes yes'],
    [`session ${open}`, 'read_session', 'session', 'yes no yes yes'],
    ['administration principals', 'administer', 'administration', 'no no no yes'],
    ['log own', 'read_log', 'log', 'yes yes yes yes'],
    ['log all', 'read_log', 'log', 'no no no yes'],
    ['table orders/public.orders', 'select', 'table', 'yes no no no'],
    ['table orders/public.orders', 'update', 'table', 'no no no no'],
    ['table orders/pg_catalog.pg_class', 'select', 'table', 'yes no no no'],
    ['function orders/public.order_total', 'call', 'function', 'yes no no no'],
    ['channel orders/order_events', 'listen', 'channel', 'yes no no no'],
    ['channel orders/order_events', 'notify', 'channel', 'no no no no'],
    ['database orders', 'ddl', 'database', 'no no no no'],
    // What isn't there, or isn't called that.
    ['role orders/none', 'request_role', 'role', 'no no no no'],
    ['table orders/orders', 'select', 'table', 'no no no no'],
    ['table orders/Public.orders', 'select', 'table', 'no no no no'],
    ['table none/public.orders', 'select', 'table', 'no no no no'],
    ['grant grt_none', 'connect', 'grant', 'no no no no'],
    ['log everything', 'read_log', 'log', 'no no no no'],
    ['toString x', 'select', 'toString', 'no no no no'],
    ['table orders/public.orders', 'toString', 'table', 'no no no no'],
  ];
  for (const [what, name, type, answers] of expected) {
    const id = what.slice(what.indexOf(' ') + 1);
    const reply = await post(api, web(root), 'evaluations', {
      action: { name },
      resource: { type, id },
      evaluations: [ada, eve, bob, root].map(({ principal }) => ({ subject: user(principal.handle) })),
    });
    assert.equal(
      decisionsOf(reply)
        .map((yes) => (yes === true ? 'yes' : 'no'))
        .join(' '),
      answers,
      `${name} on ${what}`,
    );
  }
  const unconditioned = { subject: user('ada'), resource: role('orders/support-read') };
  for (const [seconds, decision] of [
    [14_400, true],
    [14_401, false],
  ] as const) {
    const asked = { ...unconditioned, action: { name: 'request_role', properties: { seconds } } };
    assert.equal((await post(api, web(ada), 'evaluation', asked)).json()['decision'], decision);
  }
});

test('§8: searches find what evaluations allow, of the type that was asked for, and nothing of what is not known', async (t) => {
  const { api, ada, eve, bob, root } = await world(t);
  await active(api, ada, bob);
  const asRoot = (what: string, body: object) => post(api, web(root), `search/${what}`, body);
  const who = await asRoot('subject', {
    subject: { type: 'user', id: 'ignored' },
    action: request.action,
    resource: request.resource,
  });
  assert.deepEqual(who.json(), {
    page: { next_token: '', count: 2 },
    results: [user('ada'), user('eve')],
  });
  assert.equal(Object.keys(who.json())[0], 'page', '§8.3: the page comes first');
  const whoReads = { subject: { type: 'user' }, action: select, resource: table('orders') };
  assert.deepEqual(resultsOf(await asRoot('subject', whoReads)), ['ada']);
  const what = await asRoot('resource', {
    subject: user('ada'),
    action: select,
    resource: { type: 'table', id: 'ignored' },
  });
  assert.deepEqual(resultsOf(what).includes('orders/public.orders'), true);
  // §8.1: each of them is allowed when it is evaluated.
  const again = await asRoot('resource', { subject: user('ada'), action: select, resource: { type: 'table' } });
  const evaluations = resultsOf(again).map((id) => ({ resource: { type: 'table', id } }));
  const all = await post(api, web(root), 'evaluations', { subject: user('ada'), action: select, evaluations });
  assert.ok(decisionsOf(all).length > 3 && decisionsOf(all).every((decision) => decision === true));
  assert.deepEqual((await asRoot('action', { subject: user('ada'), resource: table('orders') })).json()['results'], [
    { name: 'select' },
  ]);
  assert.deepEqual(resultsOf(await asRoot('action', { subject: user('ada'), resource: role('orders/support-read') })), [
    'connect',
    'request_role',
  ]);
  assert.deepEqual(
    resultsOf(
      await asRoot('resource', {
        subject: user('root'),
        action: { name: 'administer' },
        resource: { type: 'administration' },
      }),
    ).length,
    5,
  );
  const grants = await asRoot('resource', {
    subject: user('ada'),
    action: { name: 'connect' },
    resource: { type: 'grant' },
  });
  assert.equal(resultsOf(grants).length, 1);

  // §8.3: nothing found is an empty list.
  const nothing: readonly (readonly [string, object])[] = [
    ['action', { subject: user('nonexistent'), resource: table('orders') }],
    ['action', { subject: user('ada'), resource: { type: 'spaceship', id: 'x' } }],
    ['subject', { ...whoReads, subject: { type: 'spaceship' } }],
    ['subject', { ...whoReads, subject: { type: 'agent' } }],
    ['resource', { subject: user('ada'), action: { name: 'fly' }, resource: { type: 'table' } }],
    ['resource', { subject: user('ada'), action: select, resource: { type: 'constructor' } }],
  ];
  for (const [path, body] of nothing)
    assert.deepEqual(
      (await asRoot(path, body)).json(),
      { page: { next_token: '', count: 0 }, results: [] },
      JSON.stringify(body),
    );
  const wrong: readonly (readonly [string, object])[] = [
    ['subject', { subject: { type: 'user' }, resource: table('orders') }],
    ['subject', { ...whoReads, resource: { type: 'table' } }],
    ['resource', { action: select, resource: { type: 'table' } }],
    ['resource', { subject: { type: 'user' }, action: select, resource: { type: 'table' } }],
    ['action', { subject: user('ada') }],
    ['action', { subject: user('ada'), resource: table('orders'), page: { limit: -1 } }],
  ];
  for (const [path, body] of wrong) assert.equal((await asRoot(path, body)).status, 400, JSON.stringify(body));

  // Who may ask about themselves alone finds themselves alone.
  const byEve = (subject: object) =>
    post(api, web(eve), 'search/subject', { ...whoReads, action: request.action, resource: request.resource, subject });
  assert.deepEqual(resultsOf(await byEve({ type: 'user' })), ['eve']);
  assert.deepEqual(resultsOf(await byEve({ type: 'agent' })), []);
  assert.deepEqual(resultsOf(await post(api, web(eve), 'search/subject', whoReads)), [], 'not even by not being found');
});

test('§8.2: a search goes on where its token says, for the same question and the same caller, to its end', async (t) => {
  const { api, root } = await world(t);
  for (let i = 0; i < 4; i += 1) await api.invited(`guest${i}`, ['engineering']);
  const question = { subject: { type: 'user' }, action: request.action, resource: request.resource };
  const tables = { subject: user('root'), action: { name: 'read_log' }, resource: { type: 'log' } };
  const walk = async (path: string, body: object, limit: number) => {
    const found: unknown[] = [];
    let token: string | undefined;
    for (let pages = 0; pages < 20; pages += 1) {
      const page = { limit, ...(token === undefined ? {} : { token }) };
      const reply = await post(api, web(root), `search/${path}`, { ...body, page });
      const results = resultsOf(reply);
      assert.ok(results.length <= limit);
      found.push(...results);
      const { next_token: next, count } = reply.json()['page'] as { next_token: string; count: number };
      assert.equal(count, results.length);
      if (next === '') return { found, pages: pages + 1, token };
      token = next;
    }
    throw new Error('the search has no end');
  };
  const one = await walk('subject', question, 1);
  assert.deepEqual(one.found, ['ada', 'eve'], 'the invited are nobody yet');
  assert.deepEqual((await walk('subject', question, 100)).found, ['ada', 'eve']);
  assert.deepEqual((await walk('resource', tables, 1)).found, ['all', 'own']);
  assert.deepEqual((await walk('action', { subject: user('ada'), resource: role('orders/support-read') }, 1)).found, [
    'request_role',
  ]);

  const page = { token: one.token };
  const continued = await post(api, web(root), 'search/subject', { ...question, page });
  assert.equal(continued.status, 200);
  const changed = await post(api, web(root), 'search/subject', { ...question, action: { name: 'connect' }, page });
  assert.equal(changed.status, 400, 'of another question');
  const aud = await api.person('aud', ['auditors']);
  assert.equal((await post(api, web(aud), 'search/subject', { ...question, page })).status, 400, 'of another caller');
  for (const token of ['x', 'AAAA', 'not base64', `${one.token}A`])
    assert.ok(
      [200, 400].includes((await post(api, web(root), 'search/subject', { ...question, page: { token } })).status),
    );
  assert.equal((await post(api, web(root), 'search/subject', { ...question, page: { token: 'x' } })).status, 400);
  assert.deepEqual(api.faults, []);
});

test('§9: the metadata says where everything is, and nothing about what is not there', async (t) => {
  const api = await testApi(t);
  const reply = await api.send({
    method: 'GET',
    path: '/.well-known/authzen-configuration',
    headers: { 'x-request-id': 'm' },
  });
  assert.deepEqual(
    [reply.status, reply.headers['content-type'], reply.headers['x-request-id']],
    [200, 'application/json', 'm'],
  );
  assert.match(String(reply.headers['cache-control']), /max-age/);
  assert.deepEqual(reply.json(), {
    policy_decision_point: api.publicUrl,
    access_evaluation_endpoint: `${api.publicUrl}/access/v1/evaluation`,
    access_evaluations_endpoint: `${api.publicUrl}/access/v1/evaluations`,
    search_subject_endpoint: `${api.publicUrl}/access/v1/search/subject`,
    search_resource_endpoint: `${api.publicUrl}/access/v1/search/resource`,
    search_action_endpoint: `${api.publicUrl}/access/v1/search/action`,
  });
  for (const path of ['requests', 'requests/req_x', 'request-schema'])
    assert.equal(
      (await api.send({ method: 'GET', path: `/access/v1/${path}`, headers: { accept: 'text/html' } })).status,
      404,
    );
});

test('§11.8: asking is limited, as each answer is judged and kept', async (t) => {
  const rates = { ...rateRules, evaluation: { burst: 12, every: hours(1) } };
  const api = await testApi(t, { rates });
  const ada = await api.person('ada', ['engineering']);
  const evaluations = [request, request];
  assert.equal((await post(api, web(ada), 'evaluations', { evaluations })).status, 200);
  const search = { subject: user('ada'), resource: request.resource };
  assert.equal((await post(api, web(ada), 'search/action', search)).status, 200);
  const over = await post(api, web(ada), 'evaluation', request);
  assert.equal(over.status, 429);
  assert.match(String(over.headers['retry-after']), /^\d+$/);
  const large = await post(api, web(ada), 'evaluation', { ...request, context: { x: 'x'.repeat(300_000) } });
  assert.equal(large.status, 413);
});
