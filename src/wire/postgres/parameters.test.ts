import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import pg from 'pg';
import { emptyDatabase } from '#test/support/postgres.ts';
import { oids, parameterText } from './parameters.ts';

/** Each value as PostgreSQL prints it beside what its own send function makes of it. */
const samples: readonly (readonly [type: string, send: string, oid: number, values: readonly string[]])[] = [
  ['bool', 'boolsend', oids.bool, ['true', 'false']],
  ['int2', 'int2send', oids.int2, ['0', '-32768', '32767']],
  ['int4', 'int4send', oids.int4, ['0', '-2147483648', '2147483647']],
  ['int8', 'int8send', oids.int8, ['0', '-9223372036854775808', '9223372036854775807']],
  ['oid', 'oidsend', oids.oid, ['0', '4294967295']],
  ['float4', 'float4send', oids.float4, ['0', '-0', '1.5', '0.1', 'NaN', 'Infinity', '-Infinity']],
  ['float8', 'float8send', oids.float8, ['0', '-0', '1.5', '0.1', '12345.678', 'NaN', 'Infinity', '-Infinity']],
  ['text', 'textsend', oids.text, ['', 'grüße', 'a\nb']],
  ['varchar', 'varcharsend', oids.varchar, ['x']],
  ['bytea', 'byteasend', oids.bytea, ['\\x', '\\x00ff10']],
  ['uuid', 'uuid_send', oids.uuid, ['00112233-4455-6677-8899-aabbccddeeff']],
  [
    'date',
    'date_send',
    oids.date,
    ['2000-01-01', '1970-01-01', '2024-02-29', '0001-01-01', '9999-12-31', 'infinity', '-infinity'],
  ],
  ['time', 'time_send', oids.time, ['00:00:00', '23:59:59.999999', '24:00:00', '12:30:00.5']],
  [
    'timestamp',
    'timestamp_send',
    oids.timestamp,
    ['2000-01-01 00:00:00', '1999-12-31 23:59:59.999999', '2024-02-29 12:00:00.25', 'infinity', '-infinity'],
  ],
  ['timestamptz', 'timestamptz_send', oids.timestamptz, ['2024-02-29 12:00:00+00', 'infinity']],
  [
    'numeric',
    'numeric_send',
    oids.numeric,
    [
      '0',
      '0.00',
      '-1',
      '12345678901234567890.123456789',
      '0.0001',
      '10000',
      '1e-20',
      '1e30',
      '-0.5',
      'NaN',
      'Infinity',
      '99999999.9999',
    ],
  ],
  ['json', 'json_send', oids.json, ['{"a": [1, null]}']],
  ['jsonb', 'jsonb_send', oids.jsonb, ['{"a": [1, null]}']],
  ['int4[]', 'array_send', 1007, ['{}', '{1,2,NULL,-4}']],
  ['text[]', 'array_send', 1009, ['{a,"b c","",NULL,"NULL","x\\"y","\\\\"}']],
  ['numeric[]', 'array_send', 1231, ['{1.50,-2}']],
];

test('binary parameters read as PostgreSQL prints them', async (t) => {
  const { address } = await emptyDatabase(t);
  const client = new pg.Client(typeof address === 'string' ? { connectionString: address } : { ...address });
  await client.connect();
  try {
    await client.query(`set timezone to 'UTC'; set datestyle to 'ISO'`);
    for (const [type, send, oid, values] of samples) {
      for (const value of values) {
        const { rows } = await client.query(`select $1::${type}::text as printed, ${send}($1::${type}) as sent`, [
          value,
        ]);
        const [row] = rows as { printed: string; sent: Buffer }[];
        assert.ok(row !== undefined);
        const expected = type === 'bool' ? row.printed.slice(0, 1) : row.printed;
        assert.deepEqual(parameterText(row.sent, 1, oid), { text: expected }, `${type} ${value}`);
      }
    }
  } finally {
    await client.end();
  }
});

test('INVARIANT 6: whatever is bound, in whatever format and type, is in the record as text or byte for byte', () => {
  const types = fc.constantFrom(...Object.values(oids), 0, 1007, 1009, 600, 99_999);
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
