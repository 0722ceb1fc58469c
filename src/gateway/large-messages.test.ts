import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { testTarget } from '#test/support/postgres.ts';
import { MessageWriter } from '#wire/postgres/bytes.ts';
import { encodeCopyDone, encodeExecute, encodeParse, encodeQuery, encodeSync } from '#wire/postgres/frontend.ts';
import { rawClient, type RawClient } from './_testing-raw-client.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
const g = await startTestingGateway(target, tmpdir());
after(() => g.stop());

const megabyte = 1 << 20;
/** What the gateway may hold of them, all buffers together. */
const mayHold = 32 * megabyte;

const open = () => rawClient({ to: { port: g.gateway.port }, ...g.give(fixOrders), database: target.database });

/** Reads and forgets, up to the last frame; which types came with how many bytes. */
async function skim(client: RawClient): Promise<Map<string, number>> {
  const { socket } = client;
  const came = new Map<string, number>();
  let header = Buffer.alloc(0);
  let left = 0;
  socket.removeAllListeners('data');
  return new Promise((resolve) => {
    socket.on('close', () => resolve(came));
    socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length;) {
        if (left > 0) {
          const count = Math.min(left, chunk.length - at);
          left -= count;
          at += count;
          continue;
        }
        const take = Math.min(5 - header.length, chunk.length - at);
        header = Buffer.concat([header, chunk.subarray(at, at + take)]);
        at += take;
        if (header.length < 5) break;
        const type = String.fromCharCode(header[0] ?? 0);
        left = header.readUInt32BE(1) - 4;
        came.set(type, (came.get(type) ?? 0) + left);
        header = Buffer.alloc(0);
        if (type === 'Z') resolve(came);
      }
    });
  });
}

// What a socket has read is garbage until it is collected; here only what is held counts.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** The most that buffers have taken beyond what they had at the start, looked at from time to time while `run` runs. */
async function peakOf(run: () => Promise<void>): Promise<number> {
  const held = async () => {
    collect();
    // What was collected is given back by another thread.
    await new Promise((resolve) => setTimeout(resolve, 10));
    return process.memoryUsage().arrayBuffers;
  };
  const before = await held();
  let peak = 0;
  let isOver = false;
  const look = async () => {
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      peak = Math.max(peak, (await held()) - before);
    }
  };
  const looking = look();
  try {
    await run();
  } finally {
    isOver = true;
    await looking;
  }
  return peak;
}

const piece = Buffer.alloc(65_536, 'x');

/** A message of this length with a beginning and an end, and as much as it takes of the same letter in between. */
async function sendLong(client: RawClient, type: string, length: number, first: Buffer, last: Buffer): Promise<void> {
  const { socket } = client;
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(length + 4, 1);
  socket.write(Buffer.concat([header, first]));
  for (let left = length - first.length - last.length; left > 0; left -= piece.length) {
    if (!socket.write(piece.subarray(0, Math.min(left, piece.length))))
      await new Promise<void>((resolve) => socket.once('drain', () => resolve()));
  }
  socket.write(last);
}

test('a row of 150 MB passes in pieces', async () => {
  const client = await open();
  const peak = await peakOf(async () => {
    client.send(encodeQuery(`select repeat('x', ${150 * megabyte})`));
    assert.equal((await skim(client)).get('D'), 150 * megabyte + 6);
  });
  assert.ok(peak < mayHold, `${peak} bytes were held`);
  client.socket.destroy();
});

test('a parameter of 100 MB passes in pieces, and the record is bound to all of it', async () => {
  const client = await open();
  const size = 100 * megabyte;
  client.send(encodeParse({ statement: '', text: 'select length($1::text) as n', parameterTypes: [] }));
  const first = new MessageWriter().cstring('').cstring('').uint16(0).uint16(1).int32(size).toBuffer();
  const last = new MessageWriter().uint16(0).toBuffer();
  const peak = await peakOf(async () => {
    await sendLong(client, 'B', first.length + size + last.length, first, last);
    client.send(encodeExecute({ portal: '', maxRows: 0 }), encodeSync());
    const frames = await client.until('Z');
    assert.equal(frames.find((frame) => frame.type === 'D')?.body.toString('utf8', 6), String(size));
  });
  assert.ok(peak < mayHold, `${peak} bytes were held`);
  const begun = await g.event('statement.begun', (e) => e.text.text.startsWith('select length'));
  const whole = begun.parameters?.at(-1);
  assert.ok(whole !== null && whole !== undefined && 'sha256' in whole && whole.bytes !== undefined);
  assert.ok(whole.bytes > size && whole.sha256?.length === 64);
  client.socket.destroy();
});

test('a piece of COPY of 50 MB passes in smaller pieces', async () => {
  const client = await open();
  client.send(encodeQuery('begin'));
  await client.until('Z');
  client.send(encodeQuery('copy orders (id, customer_id, total_cents, note) from stdin with csv'));
  await client.until('G');
  const peak = await peakOf(async () => {
    await sendLong(client, 'd', 50 * megabyte, Buffer.from('900001,1,5,'), Buffer.from('\n'));
    client.send(encodeCopyDone());
    assert.match(String((await client.until('Z')).find((frame) => frame.type === 'C')?.body), /^COPY 1\0/);
  });
  assert.ok(peak < mayHold, `${peak} bytes were held`);
  client.socket.destroy();
});

test('an error of 20 MB passes; the record has its beginning', async () => {
  const client = await open();
  client.send(encodeQuery(`select repeat('y', ${20 * megabyte})::int`));
  const came = await skim(client);
  assert.ok((came.get('E') ?? 0) > 20 * megabyte);
  const ended = await g.event('statement.ended', (e) => e.outcome.kind === 'failed');
  assert.ok(ended.outcome.kind === 'failed' && ended.outcome.sqlState === '22P02');
  client.socket.destroy();
});

test('a statement longer than what is judged whole is refused with a word about it, and the session goes on', async () => {
  const client = await open();
  const peak = await peakOf(async () => {
    await sendLong(client, 'Q', 17 * megabyte, Buffer.from(`select '`), Buffer.from(`'\0`));
    const frames = await client.until('Z');
    assert.match(String(frames[0]?.body), /C54000\0Msallyport: the statement is longer than 16 MiB\0HSend the data/);
  });
  assert.ok(peak < mayHold, `${peak} bytes were held`);
  client.send(encodeQuery('select 1'));
  assert.equal((await client.until('Z')).at(-1)?.type, 'Z');
  client.socket.destroy();
});
