import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GrantId, PrincipalId, ResourceName, RoleName, SessionId } from '#core/ids.ts';
import type { RecordedParameter, RecordedTransaction } from '../records.ts';
import { recordText } from './recorded-text.ts';
import { RecordJson, type StatementBegun, type StatementEnded } from './record-json.ts';
import type { Allowed } from './judge.ts';

const on = {
  session: 'ses_"1' as SessionId,
  grant: 'gra_1' as GrantId,
  principal: 'usr_1' as PrincipalId,
  resource: 'orders' as ResourceName,
  role: 'orders/\u2028röle' as RoleName,
};

const words = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'binary', maxLength: 6 }));
const recorded = words.map(recordText);
const parameter: fc.Arbitrary<RecordedParameter> = fc.oneof(
  fc.constant(null),
  recorded,
  fc.record({ hex: fc.constant('00ff'), type: fc.nat() }),
);
const allowed = fc.record({
  policyVersion: words,
  policies: fc.array(words, { maxLength: 3 }),
  executes: fc.array(fc.record({ name: words, text: words }), { maxLength: 2 }),
}) as unknown as fc.Arbitrary<Allowed>;
const outcome: fc.Arbitrary<StatementEnded['outcome']> = fc.oneof(
  fc.record({ kind: fc.constant('completed' as const), tag: words, rows: fc.nat() }),
  fc.record({ kind: fc.constant('suspended' as const), rows: fc.nat() }),
  fc.record({ kind: fc.constant('failed' as const), sqlState: words, message: words }),
  fc.record({ kind: fc.constantFrom('skipped' as const, 'cut' as const) }),
);
const transaction: fc.Arbitrary<RecordedTransaction> = fc.record(
  {
    number: fc.nat(),
    state: fc.constantFrom('open' as const, 'committed' as const, 'rolled_back' as const, 'unknown' as const),
    undoes: fc.option(fc.record({ statement: fc.nat(), command: fc.nat() })),
  },
  { requiredKeys: ['number', 'state'] },
);

test('records made by hand are what JSON.stringify makes of the events, whatever was made before', () => {
  const json = new RecordJson(on);
  let last: { text: string; verdict: Allowed } | undefined;
  fc.assert(
    fc.property(
      fc.record({ again: fc.boolean(), text: words, verdict: allowed }),
      fc.option(fc.array(parameter, { maxLength: 3 }), { nil: undefined }),
      fc.constantFrom<StatementBegun['protocol']>('simple', 'extended'),
      fc.nat(),
      (one, parameters, protocol, statement) => {
        // The same objects again and again, as in a session.
        const { text, verdict } = one.again ? (last ?? one) : one;
        last = { text, verdict };
        const event: StatementBegun = {
          kind: 'statement.begun',
          on,
          statement,
          protocol,
          text: recordText(text),
          ...(parameters === undefined ? {} : { parameters }),
          ...(verdict.executes.length === 0
            ? {}
            : { prepared: verdict.executes.map(({ name, text: own }) => ({ name, text: recordText(own) })) }),
          policyVersion: verdict.policyVersion,
          policies: verdict.policies,
        };
        assert.equal(json.begun(statement, protocol, text, verdict, parameters), JSON.stringify(event));
      },
    ),
  );
  fc.assert(
    fc.property(
      outcome,
      fc.nat(),
      fc.oneof(
        fc.double({ min: 0, max: 1e12, noNaN: true }),
        fc.nat(5_000_000).map((us) => us / 1000),
        fc.maxSafeNat().map((us) => us / 1000),
      ),
      fc.boolean(),
      fc.option(transaction, { nil: undefined }),
      (what, statement, durationMs, hasCopied, ran) => {
        const event = {
          kind: 'statement.ended' as const,
          on,
          statement,
          command: 1,
          outcome: what,
          durationMs,
          bytesOut: 2,
          bytesIn: 3,
          ...(hasCopied ? { copyInSha256: 'ab' } : {}),
        };
        const whole: StatementEnded = ran === undefined ? event : { ...event, transaction: ran };
        assert.equal(json.ended(event, ran), JSON.stringify(whole));
      },
    ),
  );
});

test('a long text is made into its record as before', () => {
  const text = 'é'.repeat(70_000);
  const verdict = { policyVersion: 'v', policies: [], executes: [] } as unknown as Allowed;
  const made = JSON.parse(new RecordJson(on).begun(1, 'simple', text, verdict, undefined)) as StatementBegun;
  assert.deepEqual(made.text, recordText(text));
});
