/**
 * A hostile target: what the model answers, in the login and behind it, is spoiled on its way to the gateway. The client
 * does nothing wrong. Whatever the target says, the gateway stays up, the session ends, and nothing unjudged is sent.
 */
import fc from 'fast-check';
import type { Socket } from 'node:net';
import { shorter, type Area } from './_area.ts';
import { late, patienceMs, unjudged, within } from './_bench.ts';
import { Client, framesOf, signIn } from './_client.ts';
import { mutations } from './client.ts';
import { encode, mutate, type Message, type Mutation } from './_messages.ts';
import { forbidden, knownTexts } from './_model.ts';
import type { Spoiler } from './_target.ts';

type Spoil = { readonly phase: 'login' | 'session'; readonly nth: number } & (
  | { readonly do: 'mutate'; readonly mutations: readonly Mutation[] }
  | { readonly do: 'before' | 'behind' | 'instead'; readonly type: string; readonly hex: string }
  | { readonly do: 'drop' | 'twice' | 'hold' | 'close' | 'reset' | 'dribble' }
  /** A header that promises this much, and some of it. */
  | { readonly do: 'promise'; readonly type: string; readonly length: number; readonly sent: number }
  | { readonly do: 'flood'; readonly type: string; readonly bodyBytes: number; readonly count: number }
);

export type TargetCase = {
  readonly texts: readonly string[];
  readonly isExtended: boolean;
  readonly spoils: readonly Spoil[];
  readonly end: 'terminate' | 'destroy';
};

const types = fc.oneof(
  fc.constantFrom('R', 'K', '2', '3', 'C', 'W', 'd', 'c', 'G', 'H', 'D', 'I', 'E', 'V', 'v', 'n', 'N', 'A', 't', 'S'),
  fc.constantFrom('1', 's', 'Z', 'T', '!'),
);
const what = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('mutate' as const), mutations }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('before' as const, 'behind' as const, 'instead' as const),
      type: types,
      hex: fc.oneof(
        fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('hex')),
        fc.constantFrom('49', '54', '45', '00000000', Buffer.from('SELECT 1\0').toString('hex'), '', '000000000a'),
        fc.constantFrom(
          ...['client_encoding\0LATIN1\0', 'C42501\0Mno\0\0', 'SFATAL\0C57P01\0Mgone\0\0'].map((text) =>
            Buffer.from(text).toString('hex'),
          ),
        ),
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('drop' as const, 'twice' as const, 'close' as const, 'reset' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('hold' as const, 'dribble' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('promise' as const),
      type: types,
      length: fc.constantFrom(0, 3, 4, 1 << 20, 5 << 20, 0x3fff_ffff, 0x7fff_ffff, 0xffff_ffff),
      sent: fc.nat(100_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('flood' as const),
      type: types,
      bodyBytes: fc.constantFrom(0, 10, 1000, 70_000),
      count: fc.constantFrom(10, 1000, 5000),
    }),
  },
);
const spoil: fc.Arbitrary<Spoil> = fc
  .tuple(fc.constantFrom('login' as const, 'session' as const, 'session' as const, 'session' as const), fc.nat(8), what)
  .map(([phase, nth, one]) => ({ phase, nth, ...one }) as Spoil);

function frameOf(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** No case sends more than this in a flood. */
const maxFlood = 16 << 20;

function spoilerOf(spoils: readonly Spoil[]): Spoiler {
  const seen = { login: 0, session: 0 };
  let isSilent = false;
  const dribble = (bytes: Buffer, socket: Socket, at = 0): void => {
    if (at >= bytes.length || socket.destroyed) return;
    socket.write(bytes.subarray(at, at + 1));
    setImmediate(() => dribble(bytes, socket, at + 1));
  };
  return (answer, phase, socket) => {
    const nth = seen[phase];
    seen[phase] += 1;
    let out = answer;
    for (const one of spoils) {
      if (isSilent) return Buffer.alloc(0);
      if (one.phase !== phase || one.nth !== nth) continue;
      switch (one.do) {
        case 'mutate':
          out = mutate(out, one.mutations);
          break;
        case 'before':
          out = Buffer.concat([frameOf(one.type, Buffer.from(one.hex, 'hex')), out]);
          break;
        case 'behind':
          out = Buffer.concat([out, frameOf(one.type, Buffer.from(one.hex, 'hex'))]);
          break;
        case 'instead':
          out = frameOf(one.type, Buffer.from(one.hex, 'hex'));
          break;
        case 'drop':
          out = Buffer.alloc(0);
          break;
        case 'twice':
          out = Buffer.concat([out, out]);
          break;
        case 'hold':
          isSilent = true;
          out = Buffer.alloc(0);
          break;
        case 'close':
          socket.end(out.subarray(0, out.length / 2));
          return Buffer.alloc(0);
        case 'reset':
          socket.resetAndDestroy();
          return Buffer.alloc(0);
        case 'dribble':
          dribble(out.subarray(0, 2000), socket);
          out = Buffer.alloc(0);
          break;
        case 'promise': {
          const header = Buffer.alloc(5);
          header.write(one.type);
          header.writeUInt32BE(one.length, 1);
          out = Buffer.concat([header, Buffer.alloc(one.sent), out]);
          break;
        }
        case 'flood': {
          const frame = frameOf(one.type, Buffer.alloc(one.bodyBytes));
          const count = Math.min(one.count, Math.ceil(maxFlood / frame.length));
          for (let i = 0; i < count && socket.writable; i += 1) socket.write(frame);
          break;
        }
        default:
          one satisfies never;
      }
    }
    return out;
  };
}

function messagesOf(text: string, isExtended: boolean): readonly Message[] {
  if (!isExtended) return [{ send: 'query', text }];
  return [
    { send: 'parse', name: 'a', text },
    { send: 'describe', on: 'statement', name: 'a' },
    { send: 'bind', portal: '', name: 'a', values: text.includes('$1') ? ['7'] : [] },
    { send: 'describe', on: 'portal', name: '' },
    { send: 'execute', portal: '', rows: 0 },
    { send: 'close', on: 'statement', name: 'a' },
    { send: 'sync' },
  ];
}

/** To dial, log in and give up: what the gateway allows a target, and a little more. */
const openingMs = 22_000;

export const target: Area<TargetCase> = {
  name: 'target',
  abreast: 48,
  cases: fc.record({
    texts: fc.array(fc.constantFrom(...knownTexts), { minLength: 1, maxLength: 4 }),
    isExtended: fc.boolean(),
    spoils: fc.array(spoil, { minLength: 1, maxLength: 3 }),
    end: fc.constantFrom('terminate' as const, 'destroy' as const),
  }),
  *smaller(one) {
    for (const spoils of shorter(one.spoils)) if (spoils.length > 0) yield { ...one, spoils };
    for (const texts of shorter(one.texts)) if (texts.length > 0) yield { ...one, texts };
  },
  async play(one, bench) {
    const name = bench.name();
    bench.target.spoil(name, spoilerOf(one.spoils));
    const peer = new Client(bench.gateway().port, { from: bench.address() });
    try {
      const signed = await within(1000, signIn(peer, bench.login(), { name, database: bench.database }));
      if (signed !== late && typeof signed !== 'string') {
        for (const text of one.texts) {
          for (const message of messagesOf(text, one.isExtended)) peer.write(encode(message));
          await within(100, answered(peer));
          if (text.includes('from stdin')) {
            peer.write(encode({ send: 'copy_data', data: '1\n' }));
            peer.write(encode({ send: 'copy_done' }));
            await within(100, answered(peer));
          }
        }
        if (one.end === 'terminate') peer.write(encode({ send: 'terminate' }));
      }
      // On a machine with much to do the password itself may take a second; who goes before it has no session to end.
      if (signed === late && (await within(patienceMs, bench.gateway().opened(name))) === late)
        return 'the client was not let in';
      // Who waits no longer goes; the gateway must get over it.
      await within(one.end === 'terminate' ? 200 : 0, peer.closed);
      peer.socket.destroy();
      const events = await within(openingMs, bench.gateway().session(name));
      if (events === late) return 'the session did not end';
      const seen = bench.target.seen(name);
      if (seen !== undefined && (await within(patienceMs, seen.closed)) === late)
        return 'the connection to the target was not closed';
      return unjudged(bench, name, events, forbidden);
    } finally {
      peer.socket.destroy();
      bench.target.forget(name);
    }
  },
};

/** Until a ReadyForQuery, a request for data, or the end. */
async function answered(peer: Client): Promise<void> {
  let buffer: Buffer = Buffer.alloc(0);
  for (;;) {
    buffer = Buffer.concat([buffer, peer.take()]);
    if (peer.isClosed) return;
    try {
      const { frames, left } = framesOf(buffer);
      if (frames.some(({ type }) => type === 'Z' || type === 'G')) return;
      buffer = left;
    } catch {
      return;
    }
    await peer.more();
  }
}
