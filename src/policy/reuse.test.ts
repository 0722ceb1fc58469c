import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GrantId, PrincipalId, RoleName } from '#core/ids.ts';
import { days, hours, minutes, type Instant } from '#core/instant.ts';
import type { Need } from '#sql/needs.ts';
import { configuration, engineWith, idOf, now, openPolicyEngine, person, role } from '#test/support/policy.ts';
import type { Circumstances, StatementQuestion } from './question.ts';

const ada = person('ada', ['engineering']);
const all = role('orders/all', {
  permissions: {
    tables: ['orders', 'customers'].map((name) => ({
      schema: 'public',
      name,
      select: 'all',
      update: 'all',
      delete: true,
    })),
    functions: [],
  },
});
const need = (action: Need['action'], name = 'orders'): Need => ({
  action,
  object: { kind: 'table', schema: 'public', name },
  columns: [],
});
const networks = { office: ['10.0.0.0/8'], cafe: ['192.0.2.0/24'] };

/** One for each thing that a policy can look at. */
const conditions = [
  'context.time.toTime() < duration("12h")',
  'context.time < datetime("2026-01-10T00:00:00Z")',
  'context.working_hours',
  'context.client.networks.contains("office")',
  'context.client.tls',
  'context.client has address && context.client.address.isLoopback()',
  'context.device.known',
  'context.device has age && context.device.age > duration("1d")',
  'context.sign_in.method == "passkey"',
  'context.sign_in.fresh',
  'context.sign_in has age && context.sign_in.age < duration("10m")',
  'context.acts_for.isEmpty()',
  'context.proof.covers_action',
  'context.proof has age && context.proof.age < duration("10m")',
  'context.proof has authenticator_age',
  'context.approval.covers_action',
  'context.approval.count >= 1',
  'context.reason.given',
  'context.activation.done',
  'context.preview.confirmed',
  'context has estimated_rows && context.estimated_rows < 100',
  'context.has_where',
  'context.class == "write"',
  'context.statement_count == 1',
  'context.columns.isEmpty()',
  'context.tables.contains(PG::Table::"orders/public.customers")',
  'context.functions.contains("public.refund")',
  'context.grant.approvals >= 2',
  'context.grant has ticket',
  'context.grant has activated_at && context.time.durationSince(context.grant.activated_at) < duration("1h")',
  'principal.handle == "ada"',
] as const;
const cures = [
  '',
  '@cure("proof")',
  '@cure("approval by dba")',
  '@cure("fresh_sign_in within 5m")',
  '@cure("preview")',
];

const condition = fc.oneof(
  fc.constantFrom(...conditions),
  fc
    .tuple(fc.constantFrom(...conditions), fc.constantFrom('&&', '||'), fc.constantFrom(...conditions))
    .map((parts) => parts.map((part) => (part.length > 2 ? `(${part})` : part)).join(' ')),
);
const policy = fc.record({
  cure: fc.constantFrom(...cures),
  effect: fc.constantFrom('permit', 'forbid'),
  action: fc.constantFrom(
    'action in [PG::Action::"reading", PG::Action::"writing"]',
    'action in PG::Action::"writing"',
    'action == PG::Action::"select"',
  ),
  kind: fc.constantFrom('when', 'unless'),
  condition,
});

const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const age = fc.constantFrom(minutes(1), minutes(6), hours(2), days(3));
const circumstances = fc.record({
  now: fc.constantFrom(now, (now + hours(3)) as Instant, (now + days(4)) as Instant, (now + hours(12)) as Instant),
  client: optional(
    fc.record({ address: fc.constantFrom('10.0.0.1', '192.0.2.1', '127.0.0.1', 'unix'), tls: fc.boolean() }),
  ),
  known: optional(fc.boolean()),
  deviceAge: optional(age),
  method: optional(fc.constantFrom('passkey', 'totp')),
  signInAge: optional(age),
  actsFor: fc.subarray([idOf<PrincipalId>('usr', 'bob'), idOf<PrincipalId>('usr', 'eve')]),
  estimatedRows: optional(fc.constantFrom(10, 1000)),
});
type Drawn = typeof circumstances extends fc.Arbitrary<infer T> ? T : never;
const cured = optional(
  fc.record({
    proof: fc.boolean(),
    approval: fc.boolean(),
    preview: fc.boolean(),
    proofAge: optional(age),
    approvals: optional(fc.nat(2)),
  }),
);

/** Undefined fields left out, as callers leave them out. */
const without = <T extends object>(of: T) => JSON.parse(JSON.stringify(of)) as Partial<T>;

const question = (drawn: Drawn, more: Omit<StatementQuestion, keyof Circumstances>, obtained: unknown) => {
  const { known, deviceAge, method, signInAge, estimatedRows, ...rest } = drawn;
  const asked = {
    ...rest,
    device: known === undefined ? undefined : { known, age: deviceAge },
    signIn: method === undefined ? undefined : { method, age: signInAge },
    cured: obtained,
    ...more,
    context: { ...more.context, estimatedRows },
  };
  return without(asked) as StatementQuestion;
};

test('an answer that may be used again is the answer that would be given again', async () => {
  const engine = await openPolicyEngine();
  let seen = { nothing: 0, session: 0, moment: 0 };
  fc.assert(
    fc.property(
      fc.array(policy, { minLength: 1, maxLength: 3 }),
      circumstances,
      circumstances,
      cured,
      fc.record({
        needs: fc.subarray([need('select'), need('update'), need('delete'), need('select', 'customers')], {
          minLength: 1,
        }),
        context: fc.record({
          statementClass: fc.constantFrom('read', 'write'),
          hasWhere: fc.boolean(),
          statementCount: fc.constantFrom(1, 2),
          functions: fc.subarray(['public.refund']),
        }),
        grant: fc.record({
          approvals: fc.nat(2),
          ticket: optional(fc.constant('OPS-1')),
          activatedAt: optional(fc.constant(now)),
        }),
      }),
      (policies, first, second, obtained, asked) => {
        const text = policies
          .map(
            ({ cure, effect, action, kind, condition: of }, i) =>
              `@id("p${i}") ${effect === 'forbid' ? cure : ''} ${effect} (principal, ${action}, resource) ${kind} { ${of} };`,
          )
          .join('\n');
        const loaded = engine.load({
          shipped: [],
          configuration: { ...configuration([all], { 'x.cedar': text }), networks },
        });
        assert.equal(loaded.kind, 'loaded', JSON.stringify(loaded));
        const more = {
          action: 'statement',
          principal: ada,
          role: all.name,
          needs: asked.needs,
          context: asked.context,
          grant: {
            id: idOf<GrantId>('grt', 'g'),
            principal: ada.id,
            role: all.name,
            ...without(asked.grant),
          } as StatementQuestion['grant'] & object,
        } as const;
        const before = engine.decide(question(first, more, obtained));
        seen = { ...seen, [before.variesWith]: seen[before.variesWith] + 1 };
        if (before.variesWith === 'moment') return;
        // Of another session anything may be different; of the same one what doesn't change in it is the same.
        const { client, known, method, actsFor } = first;
        const same = before.variesWith === 'session' ? { client, known, method, actsFor } : {};
        const after = engine.decide(question({ ...second, ...same }, more, obtained));
        assert.deepEqual(after, before);
      },
    ),
    { numRuns: 150 },
  );
  // Else nothing was compared.
  assert.ok(seen.nothing > 5 && seen.session > 5 && seen.moment > 5, JSON.stringify(seen));
});

const answer = async (text: string, more: Partial<StatementQuestion> = {}, needs = [need('update')]) => {
  const engine = await engineWith({ ...configuration([all], { 'x.cedar': text }), networks });
  return engine.decide({
    now,
    principal: ada,
    role: 'orders/all' as RoleName,
    needs,
    ...more,
    context: { statementClass: 'write', hasWhere: true, statementCount: 1, functions: [], ...more.context },
    action: 'statement',
  });
};
const forbid = (rest: string, action = 'update') =>
  `@id("x") ${rest.startsWith('@') ? rest.slice(0, rest.indexOf(')') + 1) : ''} forbid (principal, action == PG::Action::"${action}", resource) ${rest.startsWith('@') ? rest.slice(rest.indexOf(')') + 1) : rest};`;

test('how far an answer can be used again follows from what the policies with a say in it look at', async () => {
  for (const [text, expected] of [
    ['', 'nothing'],
    [forbid('unless { context.has_where }'), 'nothing'],
    [forbid('when { context.client.tls }'), 'session'],
    [forbid('unless { context.device.known }'), 'session'],
    [forbid('unless { context.acts_for.isEmpty() }'), 'session'],
    [forbid('when { context.grant.reason == "" }'), 'nothing'],
    [forbid('unless { context.working_hours }'), 'moment'],
    [forbid('when { context.time < datetime("2020-01-01") }'), 'moment'],
    [forbid('when { context.device has age }'), 'moment'],
    [forbid('unless { context.sign_in.fresh }'), 'moment'],
    [forbid('when { context has estimated_rows }'), 'moment'],
    [forbid('when { context.proof has age }'), 'moment'],
    [forbid('@cure("proof") unless { context.proof.covers_action }'), 'nothing'],
    // The cover that one run obtains is good for the next.
    [forbid('@cure("proof over grant for 5m") unless { context.proof.covers_action }'), 'moment'],
    // It has no say in an update.
    [forbid('unless { context.working_hours }', 'delete'), 'nothing'],
  ] as const)
    assert.equal((await answer(text)).variesWith, expected, text);
  const proven = await answer(forbid('@cure("proof") unless { context.proof.covers_action }'), {
    cured: { proof: true },
  });
  assert.deepEqual([proven.kind, proven.variesWith], ['allow', 'moment']);
});

test('an estimate is asked for when a policy with a say in it looks at one, and only then', async () => {
  const text = forbid('unless { context has estimated_rows && context.estimated_rows < 100 }');
  assert.equal((await answer(text)).wantsEstimate, true);
  assert.equal((await answer(text, {}, [need('select')])).wantsEstimate, false);
  const context = { statementClass: 'write', hasWhere: true, statementCount: 1, functions: [] };
  const few = await answer(text, { context: { ...context, estimatedRows: 7 } });
  assert.deepEqual([few.kind, few.wantsEstimate], ['allow', false]);
  assert.equal((await answer(text, { context: { ...context, estimatedRows: 700 } })).kind, 'deny');
});

test('where nothing permits it, no cure of a forbid is offered, and the denial names none', async () => {
  const denied = await answer(
    `@id("x") @cure("proof") forbid (principal, action in PG::Action::"writing", resource) unless { context.proof.covers_action };`,
    {},
    [need('insert')],
  );
  assert.deepEqual(
    [denied.kind, denied.policies, denied.kind === 'deny' && denied.because],
    ['deny', [], 'no policy permits it'],
  );
});
