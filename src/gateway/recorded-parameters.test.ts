/** What is bound in binary format, as the record has it, with the types of a real target. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { testTarget } from '#test/support/postgres.ts';
import { MessageWriter } from '#wire/postgres/bytes.ts';
import { encodeExecute, encodeParse, encodeSync } from '#wire/postgres/frontend.ts';
import { rawClient } from './_testing-raw-client.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query(`create type mood as enum ('so so', 'ok'); create domain positive as int check (value > 0);
  create type times as range (subtype = time); create type pair as (a int, b int)`);
const t = await startTestingGateway(target, tmpdir());
after(() => t.stop());

test('INVARIANT 6: binary values of enums, domains, ranges and arrays of them are read by what the target says of the types', async () => {
  const login = t.give(supportRead);
  const client = await rawClient({ to: { port: t.gateway.port }, ...login, database: target.database });
  const values = [
    `'so so'::mood`,
    `array['ok', null]::mood[]`,
    '7::positive',
    `times('10:00', '11:00')`,
    'row(1, 2)::pair',
  ];
  const expected: unknown[] = [];
  for (const [i, expression] of values.entries()) {
    const [row] = (await target.query(
      `select record_send(row(${expression})) as record, format('%s', ${expression}) as printed`,
    )) as { record: Buffer; printed: string }[];
    assert.ok(row !== undefined);
    // In a record: number of fields, type, length, value.
    const [type, value] = [row.record.readUInt32BE(4), row.record.subarray(12)];
    const bind = new MessageWriter().begin('B').cstring('').cstring('').uint16(1).uint16(1);
    bind.uint16(1).int32(value.length).bytes(value).uint16(0).finish();
    client.send(
      encodeParse({ statement: '', text: 'select $1 is null', parameterTypes: [type] }),
      bind.toBuffer(),
      encodeExecute({ portal: '', maxRows: 0 }),
      encodeSync(),
    );
    const frames = await client.until('Z');
    assert.equal(frames.map((frame) => frame.type).join(''), '12DCZ');
    // A row type stays what it is.
    expected.push([i < 4 ? { text: row.printed } : { hex: value.toString('hex'), type }]);
  }
  client.socket.end();
  await t.event('session.ended', (e) => e.on.grant === login.grant);
  const recorded = t.controlPlane
    .events()
    .flatMap((e) => (e.kind === 'statement.begun' && e.on.grant === login.grant ? [e.parameters] : []));
  assert.deepEqual(recorded, expected);
});
