import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { hours, minutes, parseInstant } from '#core/instant.ts';
import { openPolicyEngine, shippedPolicies } from '#test/support/policy.ts';
import { networkFinder } from './address.ts';
import { canonicalConfiguration } from './canonical-configuration.ts';
import { parseConfiguration } from './configuration.ts';
import { planChanges } from './plan-changes.ts';
import { workingHoursOf } from './_working-hours.ts';

let engine: Awaited<ReturnType<typeof openPolicyEngine>>;
before(async () => {
  engine = await openPolicyEngine();
});

const parse = (text: string, policy = '') =>
  parseConfiguration({
    file: 'sallyport.yaml',
    text: `version: 1\nresources: {}\n${text}`,
    policies: policy === '' ? [] : [{ name: 'x.cedar', text: policy }],
    shipped: shippedPolicies(),
    engine,
  });
const faults = (text: string, policy?: string) => {
  const outcome = parse(text, policy);
  return outcome.kind === 'ok' ? [] : outcome.faults.map((f) => `${f.line}:${f.column} ${f.message}`);
};
const sound = (text: string) => {
  const outcome = parse(text);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  return outcome.configuration;
};

test('networks, working hours and the limits of holds are read, and are part of what a configuration is', () => {
  const text = `networks:
  office: [10.0.0.0/8, '2001:db8::/32']
  vpn: 192.0.2.7
working-hours: { zone: Europe/Berlin, days: [fri, mon], from: '08:30', to: '18:00' }
holds: { longest: 10m, in-transaction: 30s }
`;
  const configuration = sound(text);
  assert.deepEqual(configuration.networks, { office: ['10.0.0.0/8', '2001:db8::/32'], vpn: ['192.0.2.7'] });
  assert.deepEqual(configuration.workingHours, { zone: 'Europe/Berlin', days: [0, 4], from: 510, to: 1080 });
  assert.deepEqual(configuration.holds, { longest: minutes(10), inTransaction: minutes(0.5) });
  const other = sound(text.replace('192.0.2.7', '192.0.2.8').replace('10m', '5m'));
  assert.notEqual(canonicalConfiguration(configuration), canonicalConfiguration(other));
  assert.equal(
    canonicalConfiguration(sound("networks: { a: ['::1', 10.0.0.1] }")),
    canonicalConfiguration(sound("networks: { a: [10.0.0.1, '::1'] }")),
  );
  const { changed } = planChanges(configuration, other);
  assert.deepEqual(changed, [
    { what: 'network', name: 'vpn', details: ['+ 192.0.2.8', '- 192.0.2.7'] },
    { what: 'setting', name: 'holds', details: ['~ longest: 10m → 5m'] },
  ]);
  const { added } = planChanges(undefined, configuration);
  assert.deepEqual(
    added.find(({ name }) => name === 'working-hours')?.details,
    ['+ days: mon, fri', '+ hours: 08:30 to 18:00', '+ zone: Europe/Berlin'].map((line) => line.slice(2)),
  );
  // The shorter limit wins where only the longer one was made short.
  assert.deepEqual(sound('holds: { longest: 20s }').holds, { longest: minutes(1 / 3), inTransaction: minutes(1 / 3) });
});

for (const [text, expected] of [
  ['networks: { Office: 10.0.0.0/8 }', '3:13 `Office` is not a name for a network'],
  ['networks: { office: [] }', '3:13 network `office` names no address'],
  ['networks: { office: }', '3:21 a network has no value'],
  ['networks: { office: [10.0.0.0/33] }', '3:22 `10.0.0.0/33` is neither an address nor a network'],
  ['networks: { office: [10.0.0.1, 10.0.0.1] }', '3:32 `10.0.0.1` is there twice'],
  ["working-hours: { from: '09:00' }", '3:16 `working-hours` needs `to`'],
  ["working-hours: { from: '09:00', to: '25:00' }", '3:37 `25:00` is not a time of day'],
  ["working-hours: { from: '9:00', to: '17:00' }", '3:24 `9:00` is not a time of day'],
  ["working-hours: { from: '09:00', to: '09:00' }", '3:37 `to` is `from`: nobody would ever work'],
  ["working-hours: { from: '09:00', to: '17:00', zone: Berlin }", '3:52 `Berlin` is not a time zone'],
  ["working-hours: { from: '09:00', to: '17:00', days: [monday] }", '3:53 `monday` is not a day'],
  ["working-hours: { from: '09:00', to: '17:00', days: [] }", '3:52 `days` is empty: nobody would ever work'],
  ['holds: { longest: 2h }', '3:19 `longest` is at most 1h'],
  ['holds: { longest: 1m, in-transaction: 2m }', '3:39 `in-transaction` is longer than `longest`'],
  ['holds: { in-transaction: 11m }', '3:26 `in-transaction` is at most 10m'],
  ['hold: { longest: 1m }', '3:1 the configuration has no key `hold`'],
] as const) {
  test(`\`${text}\` is refused in its place`, () => {
    assert.deepEqual(faults(text), [expected]);
  });
}

test('a policy about a network that is not declared is refused, since nobody would ever be in it', () => {
  const policy = (condition: string) =>
    `@id("x") forbid (principal, action == Action::"connect", resource) unless { ${condition} };`;
  const networks = 'networks: { office: 10.0.0.0/8 }';
  assert.deepEqual(faults(networks, policy('context.client.networks.contains("office")')), []);
  for (const condition of [
    'context.client.networks.contains("ofice")',
    'context.client.networks.containsAny(["office", "ofice"])',
    '["office", "ofice"].containsAll(context.client.networks)',
  ])
    assert.match(faults(networks, policy(condition))[0] ?? '', /there is no network `ofice`/, condition);
});

test('working hours follow the zone, its summer time, and a shift over midnight', () => {
  const at = (text: string) => parseInstant(text) ?? assert.fail(text);
  const berlin = workingHoursOf({ zone: 'Europe/Berlin', days: [0, 1, 2, 3, 4], from: 9 * 60, to: 17 * 60 });
  for (const [text, expected] of [
    ['2026-01-07T07:59:59Z', false],
    ['2026-01-07T08:00:00Z', true],
    ['2026-01-07T15:59:59.999Z', true],
    ['2026-01-07T16:00:00Z', false],
    // An hour earlier in summer.
    ['2026-07-01T07:00:00Z', true],
    ['2026-07-01T15:00:00Z', false],
    // Saturday, Sunday.
    ['2026-01-10T10:00:00Z', false],
    ['2026-01-11T10:00:00Z', false],
  ] as const)
    assert.equal(berlin(at(text)), expected, text);
  const night = workingHoursOf({ zone: 'UTC', days: [4], from: 22 * 60, to: 6 * 60 });
  for (const [text, expected] of [
    ['2026-01-09T21:59:00Z', false],
    ['2026-01-09T22:00:00Z', true],
    ['2026-01-10T05:59:00Z', true],
    ['2026-01-10T06:00:00Z', false],
    // Friday's morning belongs to Thursday's shift, which there is not.
    ['2026-01-09T05:00:00Z', false],
  ] as const)
    assert.equal(night(at(text)), expected, text);
  const whole = workingHoursOf({ zone: 'UTC', days: [0, 1, 2, 3, 4, 5, 6], from: 0, to: 24 * 60 });
  assert.ok([0, 6, 12, 18, 23].every((hour) => whole(hours(hour) as number as never)));
  assert.ok(workingHoursOf()(at('2026-01-07T12:00:00Z')));
});

test('an address is in a network when their first bits are the same', () => {
  const find = networkFinder({
    office: ['10.1.0.0/16', '2001:db8:1::/48'],
    here: ['127.0.0.1', '::1'],
    all: ['0.0.0.0/0'],
    odd: ['10.1.2.200/25'],
  });
  assert.deepEqual(find('10.1.2.3'), ['office', 'all']);
  assert.deepEqual(find('10.1.2.129'), ['office', 'all', 'odd']);
  assert.deepEqual(find('10.2.0.1'), ['all']);
  assert.deepEqual(find('127.0.0.1'), ['here', 'all']);
  assert.deepEqual(find('::1'), ['here']);
  assert.deepEqual(find('2001:db8:1:ffff::9'), ['office']);
  assert.deepEqual(find('2001:DB8:2::'), []);
  assert.deepEqual(find('unix'), []);
  assert.deepEqual(find('10.1.2'), []);
  const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
  fc.assert(
    fc.property(octets, octets, fc.integer({ min: 0, max: 32 }), (address, network, length) => {
      const bits = (of: readonly number[]) => of.map((octet) => octet.toString(2).padStart(8, '0')).join('');
      const isIn = bits(address).slice(0, length) === bits(network).slice(0, length);
      assert.equal(networkFinder({ n: [`${network.join('.')}/${length}`] })(address.join('.')).length === 1, isIn);
    }),
  );
});
