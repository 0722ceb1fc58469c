import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Approvers, Cover, Cure, Demand } from '#core/decision.ts';
import { days, formatDuration, hours, minutes, seconds } from '#core/instant.ts';
import { configuration, engineWith, now, person, role } from '#test/support/policy.ts';
import { cureForms, cureKinds, curedBy, describeCure, describeCures, parseCure } from './cures.ts';

const parsed = (text: string): Cure => {
  const outcome = parseCure(text);
  assert.equal(outcome.kind, 'cure', JSON.stringify(outcome));
  return outcome.kind === 'cure' ? outcome.cure : { kind: 'reason' };
};

test('every kind of cure reads as its forms say, and says what it asks for', () => {
  for (const [text, cure, words] of [
    ['proof', { kind: 'proof' }, 'your passkey'],
    [
      'proof over statement for 90s',
      { kind: 'proof', cover: { over: 'statement', lasts: seconds(90) } },
      'your passkey, good for the same statement for 1m30s',
    ],
    [
      'proof over grant for 10m',
      { kind: 'proof', cover: { over: 'grant', lasts: minutes(10) } },
      'your passkey, good for this grant for 10m',
    ],
    ['approval by dba', { kind: 'approval', by: [{ group: 'dba' }], count: 1 }, 'an approval by dba'],
    [
      'approval by @bob, dba count 2',
      { kind: 'approval', by: [{ handle: 'bob' }, { group: 'dba' }], count: 2 },
      'approvals by 2 of @bob or dba',
    ],
    [
      'approval by @bob,dba over tables for 1h',
      {
        kind: 'approval',
        by: [{ handle: 'bob' }, { group: 'dba' }],
        count: 1,
        cover: { over: 'tables', lasts: hours(1) },
      },
      'an approval by @bob or dba, good for the same on the same tables for 1h',
    ],
    ['reason', { kind: 'reason' }, 'a reason'],
    ['activation', { kind: 'activation' }, 'an activation of the grant'],
    ['fresh_sign_in within 5m', { kind: 'fresh_sign_in', within: minutes(5) }, 'a sign-in within the last 5m'],
    ['preview', { kind: 'preview' }, 'a look at what it changed'],
    [
      'preview by dba',
      { kind: 'preview', approvers: { by: [{ group: 'dba' }], count: 1 } },
      'a look at what it changed by dba',
    ],
  ] as const satisfies readonly (readonly [string, Cure, string])[]) {
    assert.deepEqual(parsed(text), cure, text);
    assert.equal(describeCure(cure), words);
  }
  for (const kind of cureKinds) for (const form of cureForms(kind)) assert.equal(parsed(form).kind, kind);
  assert.equal(
    describeCures([{ kind: 'proof' }, { kind: 'reason' }, parsed('approval by dba')]),
    'your passkey, a reason and an approval by dba',
  );
});

for (const [text, at, message, help] of [
  ['', 0, 'the cure is empty', 'a cure begins with `proof`'],
  ['prof', 0, '`prof` is not a cure', 'did you mean `proof`?'],
  ['  magic', 2, '`magic` is not a cure', 'a cure begins with'],
  ['proof over', 10, 'what it covers is missing', 'write `proof`'],
  ['proof over everything for 10m', 11, '`everything` is nothing to cover', 'it is `statement`, `tables` or `grant`'],
  ['proof over grant', 16, 'for how long it covers is missing', 'for example `over grant for 10m`'],
  ['proof over grant for ever', 21, '`ever` is not a duration', 'for example `90s`'],
  ['proof over grant for 25h', 21, '`25h` is longer than 1d', 'write `proof`'],
  ['proof and approval by dba', 6, '`and` is not understood', 'a second `forbid` with the other asks for both'],
  ['proof, reason', 5, '`,` is not understood', 'a second `forbid`'],
  ['approval', 8, 'who approves is missing', 'for example `approval by dba`'],
  ['approval by', 11, 'a group or `@handle` is missing', 'write `approval by dba`'],
  ['approval by DBA', 12, '`DBA` is neither a group nor `@handle`', 'lower-case'],
  ['approval by dba,', 16, 'a group or `@handle` is missing', 'write'],
  ['approval by dba security', 16, '`security` is not understood', 'write'],
  ['approval by dba, dba', 17, '`dba` is there twice', 'write'],
  ['approval by @a', 12, '`@a` is neither a group nor `@handle`', 'write'],
  ['approval by dba count 0', 22, '`0` is not a number of people', 'from 1 to 5'],
  ['approval by dba count 6', 22, '`6` is not a number of people', 'from 1 to 5'],
  ['approval by dba count two', 22, '`two` is not a number of people', 'from 1 to 5'],
  ['approval by @bob, @eve count 3', 29, '3 people are to approve, and 2 could', 'name a group, or more people'],
  ['fresh_sign_in', 13, 'how fresh is missing', 'for example `fresh_sign_in within 5m`'],
  ['reason please', 7, '`please` is not understood', 'write `reason`'],
  ['preview over grant for 10m', 8, '`over` is not understood', 'write `preview`'],
] as const) {
  test(`\`${text}\` is refused with its place and help`, () => {
    const outcome = parseCure(text);
    assert.ok(outcome.kind === 'fault');
    assert.deepEqual([outcome.at, outcome.message], [at, message]);
    assert.ok(outcome.help.includes(help) || help === 'write', outcome.help);
  });
}

test('a fault in a cure is named by file, line and column', async () => {
  const engine = await engineWith(configuration([role('orders/one')]));
  const text = `// a comment\n@id("x")\n  @cure("approval by DBA")\n  forbid (principal, action, resource);\n`;
  const outcome = engine.check({
    shipped: [],
    configuration: configuration([role('orders/one')], { 'x.cedar': text }),
  });
  assert.ok(outcome.kind === 'faults');
  const { file, line, column, message } = outcome.faults[0] ?? {};
  assert.deepEqual([file, line, column, message], ['x.cedar', 3, 22, '`DBA` is neither a group nor `@handle`']);
});

const approvers: fc.Arbitrary<Approvers> = fc
  .uniqueArray(fc.constantFrom('dba', 'security', '@bob', '@eve', 'on-call'), { minLength: 1 })
  .chain((names) => {
    const by = names.map((name) => (name.startsWith('@') ? { handle: name.slice(1) } : { group: name }));
    const most = names.every((name) => name.startsWith('@')) ? names.length : 5;
    return fc.integer({ min: 1, max: most }).map((count) => ({ by, count }));
  });
const cover: fc.Arbitrary<{ cover?: Cover }> = fc.oneof(
  fc.constant({}),
  fc.record({
    cover: fc.record({
      over: fc.constantFrom('statement' as const, 'tables' as const, 'grant' as const),
      lasts: fc.integer({ min: 1, max: 86_400 }).map(seconds),
    }),
  }),
);
const cures: fc.Arbitrary<Cure> = fc.oneof(
  cover.map((of): Cure => ({ kind: 'proof', ...of })),
  fc.tuple(approvers, cover).map(([of, covers]): Cure => ({ kind: 'approval', ...of, ...covers })),
  fc.constantFrom<Cure>({ kind: 'reason' }, { kind: 'activation' }, { kind: 'preview' }),
  fc.integer({ min: 1, max: 86_400 }).map((n): Cure => ({ kind: 'fresh_sign_in', within: seconds(n) })),
  approvers.map((of): Cure => ({ kind: 'preview', approvers: of })),
);

function written(cure: Cure): string {
  const by = ({ by: names, count }: Approvers) =>
    ` by ${names.map((of) => ('group' in of ? of.group : `@${of.handle}`)).join(', ')} count ${count}`;
  const over = (of: Cover | undefined) => (of === undefined ? '' : ` over ${of.over} for ${formatDuration(of.lasts)}`);
  switch (cure.kind) {
    case 'proof':
      return `proof${over(cure.cover)}`;
    case 'approval':
      return `approval${by(cure)}${over(cure.cover)}`;
    case 'preview':
      return `preview${cure.approvers === undefined ? '' : by(cure.approvers)}`;
    case 'fresh_sign_in':
      return `fresh_sign_in within ${formatDuration(cure.within)}`;
    default:
      return cure.kind;
  }
}

test('what is written is read back, whatever the cure; and no text makes the reader throw', () => {
  fc.assert(fc.property(cures, (cure) => assert.deepEqual(parsed(written(cure)), structuredClone(cure))));
  const word = fc.constantFrom(
    'proof',
    'approval',
    'by',
    'dba',
    '@bob',
    ',',
    'count',
    '2',
    'over',
    'grant',
    'for',
    '10m',
    'x',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join(' ')),
      ),
      (text) => {
        const outcome = parseCure(text);
        if (outcome.kind === 'fault') assert.ok(outcome.at >= 0 && outcome.at <= text.length);
      },
    ),
  );
});

test('a kind counts as obtained only when every demand of that kind is', () => {
  const demands: readonly Demand[] = [
    { policy: 'a', cure: parsed('approval by dba') },
    { policy: 'b', cure: parsed('approval by security') },
    { policy: 'c', cure: parsed('proof') },
  ];
  const met = (...policies: string[]) => curedBy(demands, ({ policy }) => policies.includes(policy));
  assert.deepEqual(met('a', 'c'), { proof: true });
  assert.deepEqual(met('a', 'b'), { approval: true });
  assert.deepEqual(met('a', 'b', 'c'), { approval: true, proof: true });
  assert.deepEqual(
    curedBy(demands, () => false, { approvals: 1 }),
    { approvals: 1 },
  );
});

const demanding = `
  @id("a:security") @cure("approval by security")
  forbid (principal, action == Action::"connect", resource) unless { context.approval.covers_action };
  @id("b:two") @cure("approval by dba count 2")
  forbid (principal, action == Action::"connect", resource) unless { context.approval.count >= 2 };
  @id("c:fresh") @cure("fresh_sign_in within 5m")
  forbid (principal, action == Action::"connect", resource) unless { context.sign_in.fresh };
  @id("d:old-key") @cure("proof")
  forbid (principal, action == Action::"connect", resource)
  when { context.client.networks.contains("cafe") }
  unless { context.proof has authenticator_age && context.proof.authenticator_age >= duration("24h") };`;

test('several forbids ask for all of their cures, and what is met already is not asked for', async () => {
  const one = role('orders/one');
  const ada = person('ada', ['engineering']);
  const engine = await engineWith({
    ...configuration([one], { 'x.cedar': demanding }),
    networks: { cafe: ['192.0.2.0/24'] },
  });
  type More = Partial<Omit<Extract<Parameters<typeof engine.decide>[0], { action: 'connect' }>, 'action'>>;
  const ask = (more: More = {}) =>
    engine.decide({
      now,
      principal: ada,
      grant: { id: 'grt_00000000000000000000000000' as never, principal: ada.id, role: one.name },
      client: { address: '10.0.0.1', tls: true },
      ...more,
      action: 'connect',
    });
  const all = ask();
  assert.ok(all.kind === 'curable');
  assert.deepEqual(
    all.demands.map(({ policy, cure }) => `${policy} ${cure.kind}`),
    ['a:security approval', 'b:two approval', 'c:fresh fresh_sign_in'],
  );
  // Signed in a moment ago: that cure is there. Longer ago than the policy says: it is not.
  const fresh = ask({ signIn: { method: 'passkey', age: minutes(4) } });
  assert.deepEqual(fresh.kind === 'curable' && fresh.cures.map(({ kind }) => kind), ['approval', 'approval']);
  const stale = ask({ signIn: { method: 'passkey', age: minutes(6) } });
  assert.deepEqual(stale.kind === 'curable' && stale.cures.length, 3);
  const cured = { approval: true, approvals: 2, freshSignIn: true };
  assert.equal(ask({ cured }).kind, 'allow');
  const fromCafe = { client: { address: '192.0.2.9', tls: true } };
  assert.equal(ask({ cured, ...fromCafe }).kind, 'curable');
  // No key of theirs is old enough: a proof can't help, and nobody is sent for one.
  assert.equal(ask({ cured, ...fromCafe, oldestAuthenticator: hours(1) }).kind, 'deny');
  assert.equal(ask({ cured, ...fromCafe, oldestAuthenticator: days(2) }).kind, 'curable');
  assert.equal(ask({ cured: { ...cured, proof: true, authenticatorAge: hours(1) }, ...fromCafe }).kind, 'deny');
  assert.equal(ask({ cured: { ...cured, proof: true, authenticatorAge: days(2) }, ...fromCafe }).kind, 'allow');
});

test('every kind of cure has its page, with each of its forms on it', () => {
  const folder = new URL('../../docs/cures/', import.meta.url);
  for (const kind of cureKinds) {
    const page = new URL(`${kind}.md`, folder);
    assert.ok(existsSync(page), `docs/cures/${kind}.md is missing`);
    const text = readFileSync(page, 'utf8');
    for (const form of cureForms(kind)) assert.ok(text.includes(`@cure("${form}")`), `${kind}.md: ${form}`);
  }
  assert.deepEqual(readdirSync(folder).toSorted(), cureKinds.map((kind) => `${kind}.md`).toSorted());
});
