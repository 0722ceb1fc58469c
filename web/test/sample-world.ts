/** A plausible organisation for the tests: the `orders` database, three people, and some history. */
import { addPerson, at, emptyWorld, id, type Person, record, refOf, type World } from './mock-world.ts';

export type Sample = { readonly world: World; readonly root: Person; readonly ada: Person; readonly bob: Person };

export function sampleWorld(): Sample {
  const world = emptyWorld();
  const root = addPerson(world, { handle: 'root', name: 'Robin Root', groups: ['admins'], isAdministrator: true });
  const ada = addPerson(world, { handle: 'ada', name: 'Ada Lovelace', groups: ['engineers'] });
  const bob = addPerson(world, { handle: 'bob', name: 'Bob Backus', groups: ['dba'] });
  const orders = {
    resource: 'orders',
    kind: 'postgres' as const,
    resourceDescription: 'the orders database',
    labels: { environment: 'production', team: 'shop' },
  };
  world.roles.push(
    {
      ...orders,
      role: 'orders/support-read',
      description: 'Read what support needs, without card data',
      maxSeconds: 28_800,
      permissions: [
        { object: 'public.orders', actions: [{ action: 'select', columns: null }] },
        { object: 'public.customers', actions: [{ action: 'select', columns: ['id', 'name', 'country'] }] },
      ],
      approvers: { groups: ['dba'], count: 1 },
    },
    {
      ...orders,
      role: 'orders/fix-orders',
      description: 'Correct single orders',
      maxSeconds: 3600,
      permissions: [
        {
          object: 'public.orders',
          actions: [
            { action: 'select', columns: null },
            { action: 'update', columns: ['status', 'note'] },
          ],
        },
      ],
      approvers: { groups: ['dba'], count: 1 },
    },
  );
  world.requesters.set('orders/support-read', ['engineers']);
  world.requesters.set('orders/fix-orders', ['engineers']);
  world.files = {
    file: 'sallyport.yaml',
    text: 'resources:\n  orders:\n    kind: postgres\n    address: localhost:5432\n\nroles:\n  orders/support-read:\n    maximum: 8h\n',
    policies: [
      {
        name: 'approvals.cedar',
        text: '@id("approve")\npermit (principal in Group::"dba", action == Action::"approve", resource);\n',
      },
    ],
  };
  record(world, 'system.started', 'Sallyport started', 'system');
  return { world, root, ada, bob };
}

/** A pending request. */
export function addRequest(
  sample: Sample,
  reason: string,
  by: Person = sample.ada,
  role = 'orders/support-read',
): string {
  const { world } = sample;
  const of = world.roles.find((one) => one.role === role);
  if (of === undefined) throw new Error(`find the role \`${role}\``);
  const request = id('request');
  world.requests.set(request, {
    id: request,
    state: 'pending',
    requester: refOf(by),
    role,
    resource: of.resource,
    seconds: 3600,
    reason,
    ticket: 'INC-4211',
    startsAt: null,
    filedAt: at(-120),
    expiresAt: at(3400),
    decidedAt: null,
    statement: null,
    approvals: [],
    approvalsNeeded: 1,
    approverGroups: of.approvers.groups,
    denial: null,
    grant: null,
    permissions: of.permissions,
  });
  record(world, 'request.filed', `${by.handle} asked for ${role}`, by, { request }, { seconds: 3600 }, { reason });
  return request;
}

/** A grant, approved or running already for ten minutes. */
export function addGrant(sample: Sample, state: 'approved' | 'active', role = 'orders/support-read'): string {
  const grant = id('grant');
  sample.world.grants.set(grant, {
    id: grant,
    state,
    request: addDecidedRequest(sample, role, grant),
    principal: refOf(sample.ada),
    role,
    resource: 'orders',
    seconds: 7200,
    reason: 'INC-4211 refund stuck',
    notBefore: at(-900),
    activateBy: at(80_000),
    activatedAt: state === 'active' ? at(-600) : null,
    endsAt: state === 'active' ? at(6600) : null,
    endedAt: null,
    how: null,
    endedBy: null,
    openSessions: 0,
    once: false,
  });
  return grant;
}

function addDecidedRequest(sample: Sample, role: string, grant: string): string {
  const request = addRequest(sample, 'INC-4211 refund stuck', sample.ada, role);
  const pending = sample.world.requests.get(request);
  if (pending === undefined) throw new Error('find the request');
  const approvals = [{ by: refOf(sample.bob), at: at(-900), proof: id('proof') }];
  sample.world.requests.set(request, { ...pending, state: 'approved', decidedAt: at(-900), approvals, grant });
  return request;
}

/** An open session of ada's with a few statements, as the gateway would have recorded them. */
export function addSession(sample: Sample, grant: string): string {
  const { world, ada } = sample;
  const session = id('session');
  world.sessions.set(session, {
    id: session,
    state: 'open',
    grant,
    principal: refOf(ada),
    role: 'orders/support-read',
    resource: 'orders',
    openedAt: at(-300),
    endedAt: null,
    how: null,
    word: null,
    client: { address: '127.0.0.1', application: 'psql' },
    statements: 3,
  });
  const held = world.grants.get(grant);
  if (held !== undefined) world.grants.set(grant, { ...held, openSessions: 1 });
  const on = { session, grant, principal: ada.id, role: 'orders/support-read', resource: 'orders' };
  const of = (statement: number) => ({ ...on, statement: String(statement) });
  record(world, 'session.opened', 'ada connects to orders', ada, on, {}, { address: '127.0.0.1' });
  const ended = { command: 0, tag: 'SELECT 17', rows: 17, durationMs: 4.2, bytesOut: 512, bytesIn: 0 };
  record(
    world,
    'statement.ended',
    'select … · SELECT 17 · 4.2 ms',
    ada,
    of(1),
    { outcome: 'completed', ...ended },
    {
      text: { text: 'select id, status, total\n  from public.orders\n where customer_id = $1 and status = $2' },
      parameters: [{ text: '4211' }, { text: 'refund_pending' }],
    },
  );
  const denied = 'select on public.payments (card_number) is not part of orders/support-read';
  record(
    world,
    'statement.denied',
    `select … · denied: ${denied}`,
    ada,
    of(2),
    { outcome: 'denied', sqlState: '42501' },
    {
      text: { text: 'select card_number from public.payments' },
      error: denied,
    },
  );
  record(
    world,
    'statement.begun',
    'select pg_sleep(60) · no end seen',
    ada,
    of(3),
    { protocol: 'simple' },
    {
      text: { text: 'select pg_sleep(60)' },
    },
  );
  return session;
}

/** A statement of ada's that waits: for her own passkey, or for a preview and an approval. */
export function addHold(
  sample: Sample,
  on: { readonly grant: string; readonly session: string },
  needs: 'proof' | 'both',
): string {
  const { world, ada } = sample;
  const hold = id('hold');
  const cure = (kind: 'proof' | 'approval' | 'preview', words: string) => ({
    kind,
    words,
    policy: `orders:${kind}-for-deletes`,
    done: false,
  });
  world.holds.set(hold, {
    id: hold,
    subject: 'statement',
    state: 'waiting',
    requester: refOf(ada),
    actsFor: [],
    resource: 'orders',
    role: 'orders/fix-orders',
    grant: { id: on.grant, reason: 'INC-4211 refund stuck', ticket: 'INC-4211', endsAt: at(3000) },
    session: on.session,
    title: needs === 'proof' ? "update public.orders set status = 'refunded'" : 'delete from public.orders where …',
    text:
      needs === 'proof'
        ? "update public.orders set status = 'refunded' /* \u202e all of them */"
        : 'delete from public.orders\n where customer_id = $1\n   and status = $2',
    parameters: needs === 'proof' ? [] : ['$1 = 4211', "$2 = 'refund_pending'"],
    words: [],
    needs:
      needs === 'proof'
        ? ['update on public.orders (status)']
        : ['delete on public.orders', 'select on public.orders (customer_id, status)'],
    tables: ['public.orders'],
    inTransaction: needs === 'both',
    preview:
      needs === 'proof'
        ? null
        : {
            rows: 17,
            tag: 'DELETE 17',
            columns: ['id', 'status', 'total_cents', 'created_at'],
            before: [
              ['9001', 'refund_pending', '12900', '2026-11-02 10:15:00+00'],
              ['9017', 'refund_pending', null, '2026-11-03 08:00:12+00'],
            ],
            after: [],
          },
    cures:
      needs === 'proof'
        ? [cure('proof', 'your passkey')]
        : [cure('preview', 'your passkey over the preview'), cure('approval', 'an approval by dba')],
    covers: needs === 'proof' ? ['for 10 minutes more updates of public.orders under this grant'] : [],
    signatures: [],
    reason: null,
    askedBy: [{ policy: needs === 'proof' ? 'orders:update-names-its-rows' : 'orders:deletes-are-previewed' }],
    openedAt: at(-20),
    expiresAt: at(280),
    settled: null,
    earlier: [
      { at: at(-60), summary: 'select id, status from public.orders where customer_id = 4211 · SELECT 17' },
      { at: at(-90), summary: '\\d public.orders · SELECT 1' },
    ],
  });
  return hold;
}

/** A plan that waits to be applied. */
export function addPlan(sample: Sample): string {
  const plan = id('plan');
  sample.world.plans.set(plan, {
    id: plan,
    state: 'open',
    by: refOf(sample.root),
    createdAt: at(-30),
    expiresAt: at(1800),
    configurationHash: 'b'.repeat(64),
    added: [
      {
        what: 'role',
        name: 'orders/export',
        details: ['select on public.orders', 'at most 30m, approved by 2 of dba'],
      },
    ],
    changed: [{ what: 'role', name: 'orders/fix-orders', details: ['maximum: 1h → 2h'] }],
    removed: [{ what: 'policy', name: 'old-night-shift.cedar', details: [] }],
  });
  return plan;
}
