import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import pg from 'pg';
import { emptyDatabase } from '#test/support/postgres.ts';
import { oids, parameterText, type TypeShape } from './parameters.ts';

type Samples = {
  readonly oid: number;
  readonly arrayOid?: number;
  /** As PostgreSQL reads them. */
  readonly values: fc.Arbitrary<string>;
  /** Further ones that must be among them. */
  readonly always?: readonly string[];
  /** How a text `v` becomes one; otherwise by a cast. */
  readonly cast?: string;
  /** What of it our text is compared with; otherwise what its output function prints. */
  readonly printed?: string;
  readonly isFloat?: true;
};

const pad = (n: number, width = 2) => String(n).padStart(width, '0');
const integers = (min: bigint, max: bigint) => fc.bigInt({ min, max }).map(String);
const digits = (maxLength: number) => fc.stringMatching(new RegExp(`^[0-9]{0,${maxLength}}$`));
const quarters = fc.integer({ min: -4000, max: 4000 }).map((n) => String(n / 4));
const point = fc.tuple(quarters, quarters).map(([x, y]) => `(${x},${y})`);
const text = fc.string({ unit: 'binary', maxLength: 12 }).filter((s) => !s.includes('\0') && s.isWellFormed());
const day = (years: readonly [number, number]) =>
  fc
    .tuple(
      fc.integer({ min: years[0], max: years[1] }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
    )
    .map(([year, month, date]) => ({
      date: `${pad(year < 1 ? 1 - year : year, 4)}-${pad(month)}-${pad(date)}`,
      era: year < 1 ? ' BC' : '',
    }));
const clock = fc
  .tuple(
    fc.integer({ min: 0, max: 23 }),
    fc.integer({ min: 0, max: 59 }),
    fc.integer({ min: 0, max: 59 }),
    fc.constantFrom(0, 1, 500_000, 999_999),
  )
  .map(([hour, minute, second, micros]) => `${pad(hour)}:${pad(minute)}:${pad(second)}.${pad(micros, 6)}`);
const moments = fc.tuple(day([-4700, 294_000]), clock).map(([{ date, era }, time]) => `${date} ${time}${era}`);
const word = fc.constantFrom('0', '0', '0', '1', 'ffff', 'a0b');
const four = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 }))).map((b) => b.join('.'));
const six = fc.tuple(...Array.from({ length: 8 }, () => word)).map((words) => words.join(':'));
const address = fc
  .tuple(fc.oneof(four, six), fc.integer({ min: 0, max: 128 }))
  .map(([host, bits]) => `${host}/${host.includes(':') ? bits : Math.min(bits, 32)}`);
const json = fc.json({ maxDepth: 2 }).filter((s) => !/\\u(?:0000|d[89a-f])/.test(s));
const signed = fc.integer({ min: -100_000, max: 100_000 });

const types: Readonly<Record<string, Samples>> = {
  bool: { oid: oids.bool, arrayOid: 1000, values: fc.constantFrom('t', 'f') },
  int2: { oid: oids.int2, arrayOid: 1005, values: integers(-32_768n, 32_767n) },
  int4: { oid: oids.int4, arrayOid: 1007, values: integers(-(2n ** 31n), 2n ** 31n - 1n) },
  int8: { oid: oids.int8, arrayOid: 1016, values: integers(-(2n ** 63n), 2n ** 63n - 1n) },
  oid: { oid: oids.oid, arrayOid: 1028, values: integers(0n, 2n ** 32n - 1n) },
  regclass: { oid: oids.regclass, cast: 'v::oid::regclass', values: integers(0n, 2000n), printed: '$::oid' },
  regtype: { oid: oids.regtype, cast: 'v::oid::regtype', values: integers(0n, 2000n), printed: '$::oid' },
  xid: { oid: oids.xid, arrayOid: 1011, values: integers(0n, 2n ** 32n - 1n) },
  xid8: { oid: oids.xid8, values: integers(0n, 2n ** 64n - 1n) },
  tid: { oid: oids.tid, arrayOid: 1010, values: fc.tuple(fc.nat(), fc.nat(65_535)).map(([a, b]) => `(${a},${b})`) },
  pg_lsn: { oid: oids.pgLsn, arrayOid: 3221, values: fc.nat().map((n) => `${n.toString(16)}/${n.toString(16)}`) },
  money: {
    oid: oids.money,
    values: integers(-(10n ** 12n), 10n ** 12n),
    always: ['0.05', '-0.05'],
    printed: '$::numeric',
  },
  float4: {
    oid: oids.float4,
    values: fc.float().map(String),
    // The last lies in the middle between two of the shortest texts for it.
    always: ['-0', 'NaN', 'Infinity', '-Infinity', '1e6', '123456', '0.0001', '0.00001', '2052015.25'],
    isFloat: true,
  },
  float8: {
    oid: oids.float8,
    values: fc.double().map(String),
    always: ['-0', 'NaN', 'Infinity', '-Infinity', '1e15', '123456789012345', '0.0001', '0.00001', '1e300'],
    isFloat: true,
  },
  numeric: {
    oid: oids.numeric,
    arrayOid: 1231,
    values: fc.tuple(fc.constantFrom('', '-'), digits(30), digits(20)).map(([sign, a, b]) => `${sign}0${a}.${b}`),
    always: ['NaN', 'Infinity', '-Infinity', '1e-20', '1e30', '10000', '99999999.9999', '0.00'],
  },
  text: { oid: oids.text, arrayOid: 1009, values: text, always: ['', 'NULL', 'a"b\\c', ' ', '{}', 'a,b'] },
  varchar: { oid: oids.varchar, arrayOid: 1015, values: text },
  'char(12)': { oid: oids.bpchar, arrayOid: 1014, values: text.map((s) => s.slice(0, 5).toWellFormed()) },
  name: { oid: oids.name, arrayOid: 1003, values: text },
  '"char"': { oid: oids.char, arrayOid: 1002, values: fc.stringMatching(/^[ -~]$/), always: [''] },
  bytea: {
    oid: oids.bytea,
    arrayOid: 1001,
    values: fc.uint8Array({ maxLength: 12 }).map((bytes) => `\\x${Buffer.from(bytes).toString('hex')}`),
  },
  bit: { oid: oids.bit, values: fc.constantFrom('0', '1') },
  varbit: { oid: oids.varbit, arrayOid: 1563, values: fc.stringMatching(/^[01]{0,20}$/) },
  date: {
    oid: oids.date,
    arrayOid: 1182,
    values: day([-4700, 5_870_000]).map(({ date, era }) => date + era),
    always: ['2000-01-01', '1970-01-01', '2024-02-29', '0001-01-01', '0001-12-31 BC', 'infinity', '-infinity'],
  },
  time: { oid: oids.time, arrayOid: 1183, values: clock, always: ['24:00:00', '00:00:00'] },
  timetz: {
    oid: oids.timetz,
    arrayOid: 1270,
    values: fc
      .tuple(clock, fc.constantFrom('+00', '+05:30', '-08', '-00:00:17', '+13:45:01', '-11:59'))
      .map(([time, zone]) => time + zone),
  },
  timestamp: { oid: oids.timestamp, arrayOid: 1115, values: moments, always: ['infinity', '-infinity'] },
  timestamptz: { oid: oids.timestamptz, arrayOid: 1185, values: moments, always: ['infinity', '-infinity'] },
  interval: {
    oid: oids.interval,
    arrayOid: 1187,
    values: fc
      .tuple(signed, signed, fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }))
      .map(([months, days, micros]) => `${months} months ${days} days ${micros} microseconds`),
    always: [
      '0',
      '1 month',
      '-1 month 1 day',
      '1 year -1 day 1 second',
      '-0.5 seconds',
      '1 day',
      'infinity',
      '-infinity',
    ],
  },
  uuid: { oid: oids.uuid, arrayOid: 2951, values: fc.uuid() },
  json: { oid: oids.json, arrayOid: 199, values: json },
  jsonb: { oid: oids.jsonb, arrayOid: 3807, values: json },
  jsonpath: { oid: oids.jsonpath, values: fc.constantFrom('$.a[*] ? (@ > 1)', 'strict $') },
  xml: { oid: oids.xml, values: fc.constantFrom('<a>ü</a>', '<a/>') },
  inet: { oid: oids.inet, arrayOid: 1041, values: address, always: ['::1', '::', '::ffff:1.2.3.4', '::1.2.3.4'] },
  cidr: { oid: oids.cidr, arrayOid: 651, values: address, cast: 'network(v::inet)::cidr' },
  macaddr: { oid: oids.macaddr, values: fc.stringMatching(/^[0-9a-f]{12}$/) },
  macaddr8: { oid: oids.macaddr8, values: fc.stringMatching(/^[0-9a-f]{16}$/) },
  point: { oid: oids.point, arrayOid: 1017, values: point },
  line: { oid: oids.line, values: fc.tuple(quarters, quarters).map(([b, c]) => `{1,${b},${c}}`) },
  lseg: { oid: oids.lseg, values: fc.tuple(point, point).map(([a, b]) => `[${a},${b}]`) },
  box: { oid: oids.box, arrayOid: 1020, values: fc.tuple(point, point).map(([a, b]) => `${a},${b}`) },
  path: {
    oid: oids.path,
    values: fc.array(point, { minLength: 1, maxLength: 4 }).map((points) => `[${points.join()}]`),
    always: ['((1,2),(3,4))'],
  },
  polygon: {
    oid: oids.polygon,
    values: fc.array(point, { minLength: 1, maxLength: 4 }).map((points) => `(${points.join()})`),
  },
  circle: { oid: oids.circle, values: fc.tuple(point, fc.nat(100)).map(([at, r]) => `<${at},${r}>`) },
};

async function connected(t: Parameters<typeof emptyDatabase>[0]): Promise<pg.Client> {
  const { address } = await emptyDatabase(t);
  const client = new pg.Client(typeof address === 'string' ? { connectionString: address } : { ...address });
  client.on('error', () => {});
  await client.connect();
  t.after(() => client.end());
  await client.query(`set timezone to 'UTC'; set datestyle to 'ISO'; set intervalstyle to 'postgres'`);
  return client;
}

/** An expression in binary format, as its type's send function makes it: out of a record, which holds type and length. */
const sentOf = (record: Buffer): { oid: number; sent: Buffer } => ({
  oid: record.readUInt32BE(4),
  sent: record.subarray(12),
});

test('INVARIANT 6: a binary value of any type reads as PostgreSQL prints it', async (t) => {
  const client = await connected(t);
  for (const [
    type,
    { oid, arrayOid, values, always = [], cast = `v::${type}`, printed = '$', isFloat },
  ] of Object.entries(types)) {
    const check = async (of: string, as: number, samples: readonly string[]) => {
      const shown = of === cast ? printed.replace('$', () => cast) : of;
      const { rows } = await client.query(
        `select record_send(row(${of})) as record, format('%s', ${shown}) as printed from unnest($1::text[]) as v`,
        [samples],
      );
      for (const [i, { record, printed: expected }] of (rows as { record: Buffer; printed: string }[]).entries()) {
        const { oid: given, sent } = sentOf(record);
        assert.equal(given, as, type);
        const read = parameterText(sent, 1, as);
        const what = `${type} ${samples[i]}: ${sent.toString('hex')}`;
        assert.ok('text' in read, what);
        // PostgreSQL may print one more digit where two texts are as near.
        if (isFloat && read.text !== expected)
          assert.ok(Number(read.text) === Number(expected), `${what} ${read.text}`);
        else assert.equal(read.text, expected, what);
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 30 }), async (some) => {
        await check(cast, oid, [...some, ...always]);
        if (arrayOid === undefined) return;
        await check(`array[${cast}, null, ${cast}]`, arrayOid, [...some, ...always]);
        await check(`array[[${cast}], [${cast}]]`, arrayOid, some.slice(0, 3));
      }),
      { numRuns: 5 },
    );
  }
  for (const [text, oid] of [
    ['[0:1][-2:-1]={{1,2},{3,NULL}}', 1007],
    ['{}', 1007],
  ] as const) {
    const { rows } = await client.query('select record_send(row($1::int4[])) as record', [text]);
    const [{ record }] = rows as [{ record: Buffer }];
    assert.deepEqual(parameterText(sentOf(record).sent, 1, oid), { text });
  }
});

test('INVARIANT 6: ranges and types that somebody defined read as PostgreSQL prints them', async (t) => {
  const client = await connected(t);
  await client.query(`create type mood as enum ('so so', 'ok', 'ü'); create domain positive as int check (value > 0);
    create type times as range (subtype = time)`);
  const base = (oid: number) => ({ kind: 'base', oid }) as const;
  const mood = { kind: 'enum' } as const;
  const times = { kind: 'range', of: base(oids.time) } as const;
  const oidOf = async (type: string) => {
    const { rows } = await client.query(`select '${type}'::regtype::oid::int4 as oid`);
    return (rows[0] as { oid: number }).oid;
  };
  const cases: readonly (readonly [expression: string, oid: number, shape?: TypeShape])[] = [
    [`int4range(1, 5)`, 3904],
    [`int4range(5, 5)`, 3904],
    [`int8range(null, 5, '(]')`, 3926],
    [`numrange(1.50, null, '()')`, 3906],
    [`numrange('-Infinity', 'Infinity', '[]')`, 3906],
    [`daterange('0044-03-15 BC', '2024-02-29')`, 3912],
    [`tsrange('2024-01-01', '2024-01-02 00:00:00.5', '[]')`, 3908],
    [`tstzrange('2024-01-01', 'infinity')`, 3910],
    [`int4multirange(int4range(1, 2), int4range(5, null))`, 4451],
    [`'{}'::nummultirange`, 4532],
    [`array[int4range(1, 2), 'empty', null]`, 3905],
    [`array[tsrange('2024-01-01', null)]`, 3909],
    [`array[int4multirange(int4range(1, 2))]`, 6150],
    [`'so so'::mood`, 0, mood],
    [`array['ok', null, 'so so', 'ü']::mood[]`, 0, { kind: 'array', elementOid: await oidOf('mood'), element: mood }],
    [`7::positive`, 0, base(oids.int4)],
    [`times('10:00', '11:00')`, 0, times],
    [`array[times('10:00', '11:00')]`, 0, { kind: 'array', elementOid: await oidOf('times'), element: times }],
    [`multirange(times('10:00', '11:00'))`, 0, { kind: 'multirange', of: times }],
  ];
  for (const [expression, oid, shape] of cases) {
    const { rows } = await client.query(
      `select record_send(row(${expression})) as record, format('%s', ${expression}) as printed`,
    );
    const [{ record, printed }] = rows as [{ record: Buffer; printed: string }];
    const { oid: given, sent } = sentOf(record);
    if (oid !== 0) assert.equal(given, oid, expression);
    assert.deepEqual(parameterText(sent, 1, given, shape), { text: printed }, expression);
  }
});

test('INVARIANT 6: whatever is bound, in whatever format and type, is in the record as text or byte for byte', () => {
  const types = fc.constantFrom(...Object.values(oids), 0, 1007, 1009, 3904, 3911, 4451, 6150, 99_999);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(0, 1), types, (bytes, format, type) => {
      const value = Buffer.from(bytes);
      const shown = parameterText(value, format, type);
      if ('hex' in shown) assert.equal(shown.hex, value.toString('hex'));
      else if (format === 0) assert.deepEqual(Buffer.from(shown.text), value);
    }),
    { numRuns: 2000 },
  );
});
