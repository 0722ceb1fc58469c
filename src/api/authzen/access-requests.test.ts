/**
 * AuthZEN's Access Request and Approval Profile, draft 1, from its text. Names in quotes are sections of the draft; it has no
 * numbers that stay.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stranger, testApi, web, type As, type Reply, type TestApi } from '#test/support/api.ts';
import { entriesOf, grantOf } from '#test/support/access.ts';
import type { TestPerson } from '#test/support/app.ts';
import type { RequestId } from '#core/ids.ts';
import { hours, minutes } from '#core/instant.ts';
import { submissionJsonSchema } from '#contract/authzen.ts';
import { readLog } from '#app/read-log.ts';
import { valueOf } from '#test/support/app.ts';

type Body = Record<string, unknown>;
const profile = { accessRequestProfile: 'draft-1' } as const;
const read = {
  subject: { type: 'user', id: 'ada' },
  action: { name: 'select' },
  resource: { type: 'table', id: 'orders/public.order_summary' },
};

async function send(
  api: TestApi,
  as: As,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Reply> {
  return await api.send({
    method,
    path,
    headers: {
      ...(await api.headersOf(as, method, path)),
      ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function evaluate(api: TestApi, as: As, ask: object = read): Promise<{ decision: boolean; context: Body }> {
  const reply = await send(api, as, 'POST', '/access/v1/evaluation', ask);
  assert.equal(reply.status, 200, reply.text);
  return { context: {}, ...reply.json() } as { decision: boolean; context: Body };
}

/** What a client makes of a denial, as the draft tells it to. */
async function submissionFor(api: TestApi, as: As, ask: object = read): Promise<Body> {
  const { context } = await evaluate(api, as, ask);
  const { expires_at, template } = context['access_request'] as Body;
  return {
    ...ask,
    context: { business_justification: 'INC-4211 refund stuck' },
    denial: {
      evaluation_id: context['evaluation_id'],
      evaluated_at: context['evaluated_at'],
      reason: context['reason'],
      expires_at,
      template,
    },
  };
}

const submit = (api: TestApi, as: As, body: unknown, headers?: Readonly<Record<string, string>>) =>
  send(api, as, 'POST', '/access/v1/requests', body, headers);

function taskOf(reply: Reply, status = 200): Body {
  assert.equal(reply.status, status, reply.text);
  return reply.json()['task'] as Body;
}

function assertProblem(reply: Reply, status: number, type: string | undefined, what = ''): void {
  assert.equal(reply.status, status, `${what}: ${reply.text}`);
  assert.equal(reply.headers['content-type'], 'application/problem+json', what);
  const body = reply.json();
  assert.equal(body['type'], type && `urn:openid:authzen:access-request:error:${type}`, what);
  assert.equal(body['status'], status, what);
}

async function world(t: Parameters<typeof testApi>[0]) {
  const api = await testApi(t, profile);
  const ada = await api.person('ada', ['engineering']);
  const eve = await api.person('eve', ['engineering']);
  const bob = await api.person('bob', ['dba']);
  return { api, ada, eve, bob };
}

test('"PDP Metadata", "Requestable Denial Context": a denial that can be asked about says where and until when', async (t) => {
  const { api, ada, eve } = await world(t);
  const metadata = (await api.send({ method: 'GET', path: '/.well-known/authzen-configuration' })).json();
  assert.equal(metadata['access_request_endpoint'], `${api.publicUrl}/access/v1/requests`);
  assert.deepEqual(metadata['capabilities'], ['urn:openid:authzen:capability:access-request']);

  const { decision, context } = await evaluate(api, web(ada));
  assert.equal(decision, false);
  assert.equal(context['reason'], 'approval_required');
  assert.match(String(context['evaluation_id']), /^ent_/);
  const offered = context['access_request'] as Body;
  assert.deepEqual(
    [offered['endpoint'], offered['template'], offered['request_schema_url']],
    [`${api.publicUrl}/access/v1/requests`, 'orders/support-read', `${api.publicUrl}/access/v1/request-schema`],
  );
  assert.ok(Date.parse(String(offered['expires_at'])) > api.clock.now());
  const schema = await send(api, web(ada), 'GET', '/access/v1/request-schema');
  assert.deepEqual(schema.json(), submissionJsonSchema);

  // Not where nothing can be asked for, nor about somebody else.
  const hopeless = await evaluate(api, web(ada), { ...read, action: { name: 'delete' } });
  assert.deepEqual([hopeless.decision, hopeless.context['access_request']], [false, undefined]);
  const aud = await api.person('aud', ['auditors']);
  const about = await evaluate(api, web(aud));
  assert.deepEqual(
    [about.decision, about.context['reason'], about.context['access_request']],
    [false, 'approval_required', undefined],
  );
  const { context: other } = await evaluate(api, web(eve), { ...read, subject: { type: 'user', id: 'eve' } });
  assert.notEqual(other['evaluation_id'], context['evaluation_id']);
});

test('a task goes from a denial to an approval, and only the activated grant makes the evaluation a permit', async (t) => {
  const { api, ada, bob } = await world(t);
  const cli = await api.signInCli(ada);
  const submission = await submissionFor(api, cli);
  const filed = await submit(api, cli, submission);
  const task = taskOf(filed, 202);
  const statusEndpoint = String(task['status_endpoint']);
  assert.equal(filed.headers['location'], statusEndpoint);
  assert.equal(task['status'], 'pending');
  assert.deepEqual(task['progress'], { current_step: 1, total_steps: 1 });
  const path = new URL(statusEndpoint).pathname;
  const polled = await send(api, cli, 'GET', path);
  assert.deepEqual(polled.json(), filed.json(), '"Pending Task Response": the same shape');
  assert.match(String(polled.headers['retry-after']), /^\d+$/);
  assert.doesNotMatch(polled.text, /bob|dba/, 'who decides is not told');

  const id = String(task['id']) as RequestId;
  await api.prove(bob, { purpose: 'approve_request', request: id });
  const done = await send(api, cli, 'GET', path);
  assert.equal(taskOf(done)['status'], 'approved');
  const result = done.json()['result'] as Body;
  const approval = result['approval'] as Body;
  assert.equal(result['mode'], 'reevaluate');
  const grant = await grantOf(api, id);
  assert.equal(approval['id'], grant);

  // "Approval and Re-evaluation": an approval is no grant, whatever is shown for it.
  const pending = await evaluate(api, cli, { ...read, context: { approval } });
  assert.deepEqual(
    [pending.decision, pending.context['reason'], pending.context['next_action'], pending.context['retry_after']],
    [false, 'grant_pending', 'retry', 15],
  );
  await api.prove(ada, { purpose: 'activate_grant', grant });
  const permitted = await evaluate(api, cli, { ...read, context: { approval } });
  assert.equal(permitted.decision, true);
  const shown = permitted.context['approval'] as Body;
  assert.equal(shown['id'], grant);
  assert.ok(String(shown['approved_until']) <= String(approval['approved_until']));
  assert.deepEqual((await evaluate(api, cli)).context, {}, 'what allows is the grant, with or without the reference');

  // In the log: the denial, the request that names it, and what became of it.
  assert.deepEqual(await entriesOf(api, { request: id }), [
    'request.filed',
    'request.approved',
    'grant.created',
    'grant.activated',
  ]);
  const entries = valueOf(
    await readLog(api.ctx, await api.caller(ada), { scope: 'mine', kind: 'request.filed', order: 'newest', limit: 1 }),
  );
  assert.equal(entries.items[0]?.subject['evaluation'], (submission['denial'] as Body)['evaluation_id']);
});

test('"Approval and Re-evaluation": an approval of somebody else, made up, ended or of something else never permits', async (t) => {
  const { api, ada, eve, bob } = await world(t);
  const get = async (who: TestPerson, ask: Body): Promise<string> => {
    const filed = taskOf(await submit(api, web(who), await submissionFor(api, web(who), ask)), 202);
    const request = String(filed['id']) as RequestId;
    await api.prove(bob, { purpose: 'approve_request', request });
    const grant = await grantOf(api, request);
    await api.prove(who, { purpose: 'activate_grant', grant });
    return grant;
  };
  const eves = await get(eve, { ...read, subject: { type: 'user', id: 'eve' } });
  const outcome = async (id: unknown, ask: object = read) => {
    const { decision, context } = await evaluate(api, web(ada), { ...ask, context: { approval: id } });
    return [decision, context['reason'], context['next_action'], context['access_request'] !== undefined];
  };
  const unverifiable = [false, 'approval_unverifiable', 'none', false];
  for (const id of [{ id: eves }, { id: 'grt_none' }, { id: 7 }, {}, 'text', { id: api.ctx.policy.version }])
    assert.deepEqual(await outcome(id), unverifiable, JSON.stringify(id));
  const adas = await get(ada, read);
  assert.deepEqual(await outcome({ id: adas }), [true, undefined, undefined, false]);
  const update = {
    ...read,
    action: { name: 'update', properties: { has_where: true } },
    resource: { type: 'table', id: 'orders/public.orders' },
  };
  assert.deepEqual(await outcome({ id: adas }, update), [false, 'out_of_scope', 'request', true]);
  assert.deepEqual(await outcome({ id: adas }, { ...update, action: { name: 'truncate' } }), [
    false,
    'out_of_scope',
    'none',
    false,
  ]);
  await api.call(web(ada), 'endGrant', { params: { id: adas }, body: {} });
  assert.deepEqual(await outcome({ id: adas }), [false, 'approval_expired', 'request', true]);
});

test('"Access Request Submission": a request is for exactly what was denied, to this caller, in time', async (t) => {
  const { api, ada, eve, bob } = await world(t);
  const good = await submissionFor(api, web(ada));
  const denial = good['denial'] as Body;
  const { evaluation_id: _, ...unbound } = denial;
  const evesDenial = (await submissionFor(api, web(eve), { ...read, subject: { type: 'user', id: 'eve' } }))['denial'];
  const hopeless = await evaluate(api, web(ada), { ...read, action: { name: 'delete' } });
  const aud = await api.person('aud', ['auditors']);
  const { evaluation_id: asked } = (await evaluate(api, web(aud))).context;
  const binding: readonly (readonly [string, Body, number, string | undefined])[] = [
    [
      'another resource',
      { ...good, resource: { type: 'table', id: 'orders/public.orders' } },
      400,
      'invalid_denial_binding',
    ],
    ['another action', { ...good, action: { name: 'update' } }, 400, 'invalid_denial_binding'],
    [
      'more properties',
      { ...good, resource: { ...read.resource, properties: { columns: [] } } },
      400,
      'invalid_denial_binding',
    ],
    [
      'another spelling of the subject',
      { ...good, subject: { type: 'user', id: ada.principal.id } },
      400,
      'invalid_denial_binding',
    ],
    ['no evaluation', { ...good, denial: unbound }, 400, 'invalid_denial_binding'],
    ['no denial', { ...good, denial: undefined }, 400, 'invalid_denial_binding'],
    [
      'an evaluation that was not',
      { ...good, denial: { ...denial, evaluation_id: 'ent_00000000000000000000000000' } },
      400,
      'invalid_denial_binding',
    ],
    ['an entry that is none', { ...good, denial: { ...denial, evaluation_id: 'x' } }, 400, 'invalid_denial_binding'],
    ['another role', { ...good, denial: { ...denial, template: 'orders/fix-orders' } }, 400, 'invalid_denial_binding'],
    ['the denial of somebody else', { ...good, denial: evesDenial }, 400, 'invalid_denial_binding'],
    [
      'a denial that somebody else was given about her',
      { ...good, denial: { ...denial, evaluation_id: asked } },
      400,
      'invalid_denial_binding',
    ],
    ['in the name of somebody else', { ...good, subject: { type: 'user', id: 'eve' } }, 403, undefined],
    [
      'a denial that is none to ask about',
      { ...good, action: { name: 'delete' }, denial: { ...denial, evaluation_id: hopeless.context['evaluation_id'] } },
      400,
      'not_requestable',
    ],
    ['no reason', { ...good, context: {} }, 400, undefined],
    ['too short a reason', { ...good, context: { business_justification: ' a ' } }, 400, undefined],
    ['an end that is over', { ...good, requested_access: { requested_until: '2020-01-01T00:00:00Z' } }, 400, undefined],
    ['several at once', { ...good, items: [] }, 400, undefined],
    ['a callback', { ...good, callback: { endpoint: 'http://169.254.169.254/' } }, 400, undefined],
    ['no expiry', { ...good, denial: { ...denial, expires_at: undefined } }, 400, undefined],
  ];
  for (const [what, body, status, type] of binding)
    assertProblem(await submit(api, web(ada), body), status, type, what);
  assertProblem(await submit(api, stranger, good), 401, undefined);
  assertProblem(await submit(api, web(bob), good), 403, undefined);
  assert.deepEqual(await api.ctx.db.selectFrom('access_request').select('id').execute(), [], 'nothing was filed');

  api.clock.move(minutes(11));
  assertProblem(await submit(api, web(ada), good), 410, 'expired_denial');
  const late = { ...good, denial: { ...denial, expires_at: '2099-01-01T00:00:00Z' } };
  assertProblem(await submit(api, web(ada), late), 410, 'expired_denial', 'the expiry that counts is the recorded one');
});

test('"Access Request Submission": the same key is the same request, for this caller and this body', async (t) => {
  const { api, ada, eve } = await world(t);
  const key = { 'idempotency-key': '7b8d0f0d-65a1-4af1-9fd3-a684f08a5d13' };
  const body = await submissionFor(api, web(ada));
  const replies = await Promise.all([1, 2, 3].map(() => submit(api, web(ada), body, key)));
  const ids = new Set(replies.map((reply) => taskOf(reply, 202)['id']));
  assert.equal(ids.size, 1, 'also at once');
  api.clock.move(minutes(11));
  assert.ok(ids.has(taskOf(await submit(api, web(ada), body, key), 202)['id']), 'also when the denial is too old');
  const other = { ...body, context: { business_justification: 'something else' } };
  assertProblem(await submit(api, web(ada), other, key), 409, 'duplicate_request');
  const hers = await submissionFor(api, web(eve), { ...read, subject: { type: 'user', id: 'eve' } });
  assert.ok(!ids.has(taskOf(await submit(api, web(eve), hers, key), 202)['id']));
  const filed = await api.ctx.db.selectFrom('access_request').select('id').execute();
  assert.equal(filed.length, 2);
});

test('"Task Status Values", "Cancellation": each end of a request has its word, and an ended task stays as it is', async (t) => {
  const { api, ada, eve, bob } = await world(t);
  const file = async () => taskOf(await submit(api, web(ada), await submissionFor(api, web(ada))), 202);
  const statusOf = async (task: Body) =>
    taskOf(await send(api, web(ada), 'GET', new URL(String(task['status_endpoint'])).pathname))['status'];
  const cancelOf = (task: Body) => new URL(String((task['links'] as Body)['cancel'])).pathname;

  const cancelled = await file();
  for (const [who, status, type] of [
    [eve, 404, 'unknown_task'],
    [bob, 404, 'unknown_task'],
  ] as const) {
    assertProblem(await send(api, web(who), 'POST', cancelOf(cancelled), {}), status, type);
    assertProblem(
      await send(api, web(who), 'GET', new URL(String(cancelled['status_endpoint'])).pathname),
      status,
      type,
    );
  }
  const reply = await send(api, web(ada), 'POST', cancelOf(cancelled), { reason: 'not_needed', comment: 'found it' });
  const after = taskOf(reply);
  assert.deepEqual([after['status'], (after['links'] as Body)['cancel']], ['cancelled', undefined]);
  assertProblem(await send(api, web(ada), 'POST', cancelOf(cancelled)), 409, 'invalid_task_state');

  const denied = await file();
  await api.call(web(bob), 'denyRequest', { params: { id: String(denied['id']) }, body: { word: 'no' } });
  assert.equal(await statusOf(denied), 'denied');
  const [approved, expired] = [await file(), await file()];
  await api.prove(bob, { purpose: 'approve_request', request: String(approved['id']) as RequestId });
  assertProblem(await send(api, web(ada), 'POST', cancelOf(approved)), 409, 'invalid_task_state');
  api.clock.move(hours(2));
  // Two hours end a sign-in that wasn't used.
  const again = web({ cookie: await api.signInWeb(ada) });
  const path = new URL(String(expired['status_endpoint'])).pathname;
  assert.equal(taskOf(await send(api, again, 'GET', path))['status'], 'expired');
  for (const id of ['req_00000000000000000000000000', 'x', '%00'])
    assertProblem(await send(api, again, 'GET', `/access/v1/requests/${id}`), 404, 'unknown_task', id);
  assertProblem(await send(api, stranger, 'GET', path), 401, undefined);
});

test('a request is for as long as was asked, and no longer than the role lasts', async (t) => {
  const { api, ada } = await world(t);
  // Two hours east of UTC, as RFC 3339 allows.
  const until = (by: number) => new Date(api.clock.now() + by + hours(2)).toISOString().replace('Z', '+02:00');
  for (const [requested, expected] of [
    [undefined, hours(1)],
    [minutes(30) + 30_000, minutes(30)],
    [1000, minutes(1)],
    [hours(100), hours(4)],
  ] as const) {
    const body = await submissionFor(api, web(ada));
    const task = taskOf(
      await submit(
        api,
        web(ada),
        requested === undefined ? body : { ...body, requested_access: { requested_until: until(requested) } },
      ),
      202,
    );
    const row = await api.ctx.db
      .selectFrom('access_request')
      .select('duration_ms')
      .where('id', '=', String(task['id']) as RequestId)
      .executeTakeFirstOrThrow();
    assert.equal(row.duration_ms, expected);
  }
});
