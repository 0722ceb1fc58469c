import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as backend from './backend.ts';
import { decodeUtf8, frameLengthAt, headerLength, MessageReader, ProtocolViolation } from './bytes.ts';
import * as frontend from './frontend.ts';
import {
  decodeStartupPacket,
  encodeCancelRequest,
  encodeGssEncRequest,
  encodeSslRequest,
  encodeStartup,
  startupLengthAt,
} from './startup.ts';

const text = fc.string({ unit: 'grapheme' }).filter((s) => !s.includes('\0'));
const body = (frame: Buffer) => {
  assert.equal(frameLengthAt(frame, 0), frame.length);
  return new MessageReader(frame, headerLength, frame.length);
};

test('what is encoded is decoded again', () => {
  fc.assert(
    fc.property(text, text, fc.array(fc.nat(0xffffffff)), (statement, sql, parameterTypes) => {
      assert.equal(frontend.decodeQuery(body(frontend.encodeQuery(sql))), sql);
      const parse = { statement, text: sql, parameterTypes };
      assert.deepEqual(frontend.decodeParse(body(frontend.encodeParse(parse))), parse);
      const execute = { portal: statement, maxRows: 7 };
      assert.deepEqual(frontend.decodeExecute(body(frontend.encodeExecute(execute))), execute);
      for (const on of ['statement', 'portal'] as const)
        assert.deepEqual(frontend.decodeTarget(body(frontend.encodeTarget('D', { on, name: statement }))), {
          on,
          name: statement,
        });
      assert.deepEqual(backend.decodeParameterStatus(body(backend.encodeParameterStatus(statement, sql))), {
        name: statement,
        value: sql,
      });
    }),
  );
});

test('bind: values, and as many of them as a prefix has', () => {
  const value = fc.option(text, { nil: null });
  fc.assert(
    fc.property(text, text, fc.array(value), fc.nat(200), (portal, statement, values, cut) => {
      const frame = frontend.encodeBind({ portal, statement, values });
      const whole = frontend.decodeBind(body(frame), { prefix: false });
      assert.deepEqual(
        whole.values.map((v) => v?.toString() ?? null),
        values,
      );
      const prefix = Math.min(frame.length, headerLength + portal.length * 4 + statement.length * 4 + 8 + cut);
      const part = frontend.decodeBind(new MessageReader(frame, headerLength, prefix), { prefix: true });
      assert.ok(part.values.length <= values.length);
      assert.deepEqual(
        part.values.slice(0, -1).map((v) => v?.toString() ?? null),
        values.slice(0, Math.max(0, part.values.length - 1)),
      );
    }),
  );
});

test('what somebody has written reaches a terminal as text: line breaks stay, and nothing that moves the cursor', () => {
  const message = 'sallyport: denied by bob: \u001b[2K\rUPDATE 1\u009b1A\u202e\n\tsee the runbook, naïve ☃';
  const shown = 'sallyport: denied by bob: \ufffd[2K\ufffdUPDATE 1\ufffd1A\ufffd\n\tsee the runbook, naïve ☃';
  for (const encode of [backend.encodeErrorResponse, backend.encodeNoticeResponse]) {
    const fields = backend.decodeErrorFields(
      body(encode({ severity: 'ERROR', sqlState: '42501', message, hint: message, detail: message })),
    );
    assert.deepEqual([fields.get('M'), fields.get('H'), fields.get('D')], [shown, shown, shown]);
  }
});

test('rows, tags, errors and row descriptions', () => {
  const values = ['a', null, 'ü'];
  assert.deepEqual(
    backend.decodeDataRow(body(backend.encodeDataRow(values))).map((v) => v?.toString() ?? null),
    values,
  );
  for (const [tag, rows] of [
    ['SELECT 5', 5],
    ['INSERT 0 3', 3],
    ['COPY 7', 7],
    ['BEGIN', 0],
    ['CREATE TABLE', 0],
  ] as const)
    assert.deepEqual(backend.decodeCommandComplete(body(backend.encodeCommandComplete(tag))), { tag, rows });
  const error = { severity: 'ERROR', sqlState: '42501', message: 'no', hint: 'ask', position: 3 } as const;
  const fields = backend.decodeErrorFields(body(backend.encodeErrorResponse(error)));
  assert.deepEqual(Object.fromEntries(fields), { S: 'ERROR', V: 'ERROR', C: '42501', M: 'no', H: 'ask', P: '3' });
  const notice = backend.decodeErrorFields(body(backend.encodeNoticeResponse({ ...error, severity: 'NOTICE' })));
  assert.equal(notice.get('S'), 'NOTICE');
  assert.equal(body(frontend.encodeCopyFail('enough')).cstring(), 'enough');
  const columns = [{ name: 'id', type: 23 }];
  assert.deepEqual(backend.decodeRowDescription(body(backend.encodeRowDescription(columns))), [
    { name: 'id', type: 23, format: 0 },
  ]);
});

test('start-up packets', () => {
  const parameters = new Map([
    ['user', 'ada'],
    ['database', 'orders'],
  ]);
  assert.deepEqual(decodeStartupPacket(encodeStartup(2, parameters)), {
    kind: 'startup',
    major: 3,
    minor: 2,
    parameters,
  });
  assert.deepEqual(decodeStartupPacket(encodeSslRequest()), { kind: 'ssl_request' });
  assert.deepEqual(decodeStartupPacket(encodeGssEncRequest()), { kind: 'gssenc_request' });
  const secretKey = Buffer.from('0123456789');
  assert.deepEqual(decodeStartupPacket(encodeCancelRequest(7, secretKey)), {
    kind: 'cancel_request',
    processId: 7,
    secretKey,
  });
  assert.equal(startupLengthAt(Buffer.alloc(3), 0, 3), undefined);
  for (const length of [0, 7, 10_001, 0xffffffff]) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length);
    assert.throws(() => startupLengthAt(bytes, 0, 4), ProtocolViolation);
  }
});

test('INVARIANT 14: random bytes are refused or read, within their bounds, and never anything else happens', () => {
  const decoders: readonly ((r: MessageReader) => unknown)[] = [
    frontend.decodeQuery,
    frontend.decodeParse,
    (r) => frontend.decodeBind(r, { prefix: false }),
    (r) => frontend.decodeBind(r, { prefix: true }),
    frontend.decodeExecute,
    frontend.decodeTarget,
    frontend.decodeSaslInitialResponse,
    backend.decodeAuthentication,
    backend.decodeParameterStatus,
    backend.decodeBackendKeyData,
    backend.decodeReadyForQuery,
    backend.decodeCommandComplete,
    backend.decodeErrorFields,
    backend.decodeRowDescription,
    backend.decodeDataRow,
    backend.decodeParameterDescription,
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      for (const decode of decoders) {
        try {
          decode(new MessageReader(buffer));
        } catch (error) {
          assert.ok(error instanceof ProtocolViolation, String(error));
        }
      }
      try {
        decodeStartupPacket(buffer);
      } catch (error) {
        assert.ok(error instanceof ProtocolViolation, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('bytes behind the last field are refused', () => {
  const frame = Buffer.concat([frontend.encodeQuery('select 1'), Buffer.from('; drop table t\0')]);
  frame.writeUInt32BE(frame.length - 1, 1);
  assert.throws(() => frontend.decodeQuery(new MessageReader(frame, headerLength)), ProtocolViolation);
});

test('a command tag tells its number of rows behind the last space, and nothing else is taken for one', () => {
  for (const [tag, rows] of [
    ['SELECT 5', 5],
    ['INSERT 0 12', 12],
    ['COPY 999999999999999', 999_999_999_999_999],
    ['COPY 1234567890123456', 0],
    ['BEGIN', 0],
    ['', 0],
    ['7', 7],
    ['X7', 0],
    ['SELECT ', 0],
    ['SELECT 5 ', 0],
  ] as const)
    assert.deepEqual(backend.decodeCommandComplete(body(backend.encodeCommandComplete(tag))), { tag, rows }, tag);
});

test('short texts are read as strictly as long ones', () => {
  for (const length of [1, 10, 255, 256, 257, 5000]) {
    for (const text of ['a'.repeat(length), 'é'.repeat(length), `${'a'.repeat(length)}é`]) {
      const reader = new MessageReader(Buffer.from(`${text}\0rest`));
      assert.equal(reader.cstring(), text);
      assert.equal(reader.remaining, 4);
      assert.equal(decodeUtf8(Buffer.from(text)), text);
    }
    const broken = Buffer.concat([Buffer.alloc(length, 0x61), Buffer.from([0xe9, 0])]);
    assert.throws(() => new MessageReader(broken).cstring(), ProtocolViolation);
    assert.throws(() => decodeUtf8(broken.subarray(0, -1)), ProtocolViolation);
    assert.throws(() => new MessageReader(Buffer.alloc(length, 0x61)).cstring(), ProtocolViolation);
    // A NUL behind the message's end is none of it.
    assert.throws(() =>
      new MessageReader(Buffer.concat([Buffer.alloc(length, 0x61), Buffer.alloc(1)]), 0, length).cstring(),
    );
  }
});
