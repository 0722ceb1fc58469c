/**
 * A signed-in client: all messages in order and out of order, in pieces, spoiled, broken off. What is in order must be
 * answered exactly as the model answers it directly, with what is refused made to fail.
 */
import fc from 'fast-check';
import { encodeCancelRequest } from '#wire/postgres/startup.ts';
import { shorter, type Area } from './_area.ts';
import { late, patienceMs, unjudged, within } from './_bench.ts';
import { Client, framesOf, signIn, type Frame } from './_client.ts';
import { encode, mutate, pieces, type Message, type Mutation } from './_messages.ts';
import { forbidden, knownFunctions, knownTexts, Model } from './_model.ts';

export type ClientCase = {
  readonly messages: readonly Message[];
  readonly mutations: readonly Mutation[];
  readonly cuts: readonly number[];
  readonly end: 'terminate' | 'half' | 'destroy' | 'reset';
  /** Before which piece a cancel request is sent, and whether with the right key. */
  readonly cancels: readonly { readonly before: number; readonly right: boolean }[];
};

const statementNames = fc.constantFrom('', '', 'a', 'b', 'pp');
const portalNames = fc.constantFrom('', '', 'p', 'q');
const single = fc.constantFrom(...knownTexts, ...forbidden);
const several = fc.array(single, { minLength: 2, maxLength: 4 }).map((texts) => texts.join('; '));
const simple = fc.oneof({ weight: 3, arbitrary: single }, { weight: 1, arbitrary: several });
const value = fc.option(fc.string({ maxLength: 20 }));
const rows = fc.constantFrom(0, 0, 1, 2, 5, 10);

const query = fc.record({ send: fc.constant('query' as const), text: simple });
const parse = fc.record({ send: fc.constant('parse' as const), name: statementNames, text: single });
const bind = fc.record({
  send: fc.constant('bind' as const),
  portal: portalNames,
  name: statementNames,
  values: fc.array(value, { maxLength: 3 }),
});
const describe = fc.record({
  send: fc.constantFrom('describe' as const, 'close' as const),
  on: fc.constantFrom('statement' as const, 'portal' as const),
  name: fc.oneof(statementNames, portalNames),
});
const execute = fc.record({ send: fc.constant('execute' as const), portal: portalNames, rows });
const bare = fc.record({ send: fc.constantFrom('sync' as const, 'sync' as const, 'flush' as const) });
/** As most drivers do it. */
const whole = fc
  .tuple(single, statementNames, portalNames, rows, fc.boolean())
  .map(([text, name, portal, max, isSynced]): Message[] => [
    { send: 'parse', name, text },
    { send: 'bind', portal, name, values: text.includes('$1') ? ['7'] : [] },
    { send: 'describe', on: 'portal', name: portal },
    { send: 'execute', portal, rows: max },
    ...(isSynced ? [{ send: 'sync' } as const] : []),
  ]);
const copy = fc
  .tuple(fc.boolean(), fc.array(fc.string({ maxLength: 200 }), { maxLength: 4 }), fc.boolean())
  .map(([isSimple, data, isDone]): Message[] => {
    const text = 'copy public.orders (id) from stdin';
    const begin: Message[] = isSimple
      ? [{ send: 'query', text }]
      : [
          { send: 'parse', name: '', text },
          { send: 'bind', portal: '', name: '', values: [] },
          { send: 'execute', portal: '', rows: 0 },
        ];
    const content = data.map((one): Message => ({ send: 'copy_data', data: one }));
    const end: Message[] = isSimple ? [] : [{ send: 'sync' }];
    return [...begin, ...content, { send: isDone ? 'copy_done' : 'copy_fail' }, ...end];
  });
const call = fc.record({
  send: fc.constant('call' as const),
  oid: fc.constantFrom(...knownFunctions),
  values: value.map((one) => [one?.replaceAll('\0', '') ?? null]),
});
const leftover = fc.record({ send: fc.constantFrom('copy_done' as const, 'copy_fail' as const) });
const inOrder = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: whole },
      { weight: 2, arbitrary: copy },
      { weight: 3, arbitrary: query.map((one) => [one]) },
      { weight: 1, arbitrary: call.map((one) => [one]) },
      { weight: 6, arbitrary: fc.oneof(parse, bind, describe, execute, bare).map((one) => [one]) },
      { weight: 3, arbitrary: bare.map((one) => [one]) },
    ),
    { maxLength: 14 },
  )
  .map((groups) => groups.flat());

const anyText = fc.oneof(simple, fc.string({ maxLength: 60 }), fc.constantFrom(`select '${'y'.repeat(3000)}'`));
const messageTypes = ['Q', 'P', 'B', 'E', 'D', 'C', 'S', 'H', 'F', 'X', 'd', 'c', 'f', 'p'];
const strange: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ send: fc.constant('bytes' as const), hex: fc.uint8Array({ maxLength: 40 }).map(hexOf) }),
  fc
    .tuple(fc.constantFrom(...messageTypes), fc.uint8Array({ maxLength: 60 }))
    .map(([type, body]) => ({ send: 'bytes' as const, hex: framed(type, body) })),
  fc.record({
    send: fc.constant('header' as const),
    type: fc.oneof(fc.constantFrom(...messageTypes.map((c) => c.charCodeAt(0))), fc.nat(255)),
    length: fc.oneof(
      fc.constantFrom(0, 3, 4, 5, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
      fc.nat(70_000),
    ),
  }),
  fc.record({ send: fc.constant('query' as const), text: anyText.map((text) => text.replaceAll('\0', '')) }),
  fc.record({
    send: fc.constant('bind' as const),
    portal: fc.constantFrom('', 'p', 'n'.repeat(63), 'n'.repeat(64)),
    name: statementNames,
    values: fc.array(fc.option(fc.constantFrom('z', 20_000)), { maxLength: 4 }),
  }),
  leftover,
  fc.record({ send: fc.constant('copy_data' as const), data: fc.string({ maxLength: 300 }) }),
  fc.record({ send: fc.constant('terminate' as const) }),
);
const outOfOrder = fc
  .tuple(inOrder, fc.array(fc.tuple(fc.nat(1_000_000), strange), { minLength: 1, maxLength: 4 }))
  .map(([messages, additions]) => {
    const out = [...messages];
    for (const [at, one] of additions) out.splice(Math.floor((at / 1_000_001) * (out.length + 1)), 0, one);
    return out;
  });

export const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('flip' as const), at: fc.nat(999_999), bits: fc.integer({ min: 1, max: 255 }) }),
    fc.record({
      do: fc.constant('insert' as const),
      at: fc.nat(999_999),
      hex: fc.uint8Array({ minLength: 1, maxLength: 12 }).map(hexOf),
    }),
    fc.record({
      do: fc.constantFrom('remove' as const, 'repeat' as const),
      at: fc.nat(999_999),
      count: fc.integer({ min: 1, max: 40 }),
    }),
    fc.record({ do: fc.constant('cut' as const), at: fc.nat(999_999) }),
  ),
  { minLength: 1, maxLength: 4 },
);

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function framed(type: string, body: Uint8Array): string {
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeUInt32BE(body.length + 4, 1);
  return hexOf(Buffer.concat([header, body]));
}

const cuts = fc.oneof(
  fc.constant([]),
  fc.array(fc.nat(999_999), { maxLength: 30 }),
  // Byte by byte, at least in small streams.
  fc.constant(Array.from({ length: 500 }, (_, i) => i * 2000)),
);
const cancels = fc.oneof(
  { weight: 5, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.array(fc.record({ before: fc.nat(20), right: fc.boolean() }), { maxLength: 3 }) },
);
const isWhole = { mutations: fc.constant([]), cuts, cancels };
const cases: fc.Arbitrary<ClientCase> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ messages: inOrder, end: fc.constantFrom('terminate', 'half'), ...isWhole }) },
  { weight: 1, arbitrary: fc.record({ messages: inOrder, end: fc.constantFrom('destroy', 'reset'), ...isWhole }) },
  { weight: 4, arbitrary: fc.record({ messages: outOfOrder, end: fc.constantFrom('half', 'destroy'), ...isWhole }) },
  {
    weight: 4,
    arbitrary: fc.record({ messages: inOrder, end: fc.constantFrom('half', 'destroy'), mutations, cuts, cancels }),
  },
);

/** Behind everything, so that a gateway that waits for something it was never sent is found out. */
const farewell: readonly Message[] = [
  { send: 'copy_fail' },
  { send: 'sync' },
  { send: 'query', text: 'rollback' },
  { send: 'query', text: 'select 1' },
];

const orderly = new Set(['query', 'call', 'parse', 'bind', 'describe', 'close', 'execute', 'sync', 'flush']);
const inCopy = new Set(['copy_data', 'copy_done', 'copy_fail']);

/** Plays the messages to the model alone. Undefined: they are not in order, so a server may close. */
export function expected(messages: readonly Message[]): readonly string[] | undefined {
  // One name, prepared in both ways: the gateway may not know yet, or not any more, what the server has under it.
  const usesName = (one: Message) => 'name' in one && one.name === 'pp';
  const namesClash =
    messages.some(usesName) &&
    messages.some(
      (one) => (one.send === 'parse' || one.send === 'query') && /(?:prepare|execute|deallocate) pp/.test(one.text),
    );
  if (namesClash) return undefined;
  const model = new Model({ isRefused: (text) => forbidden.includes(text) });
  const out: Buffer[] = [];
  let isSynced = true;
  for (const message of messages) {
    const isWhole = message.send === 'query' || message.send === 'call';
    // Skipped behind an error, a Query leaves the unnamed statement alone; the gateway has forgotten it by then.
    if (isWhole && !isSynced) return undefined;
    if (message.send === 'sync') isSynced = true;
    else if (!isWhole && orderly.has(message.send)) isSynced = false;
    const fits = model.isInCopy
      ? inCopy.has(message.send) || message.send === 'sync' || message.send === 'flush'
      : orderly.has(message.send) || inCopy.has(message.send);
    if (!fits) return undefined;
    // The server cuts such a name, and the gateway refuses it.
    if (message.send === 'bind' && message.portal.length > 63) return undefined;
    // What it stands for is judged when it is parsed, where the server looks for it when it is executed.
    if (message.send === 'parse' && message.text.startsWith('execute')) return undefined;
    // The whole string is refused for what is missing in one of its statements, where the server runs those before it.
    if (message.send === 'query' && /;.*(?:nowhere|execute)|(?:nowhere|execute).*;/.test(message.text))
      return undefined;
    const bytes = encode(message);
    out.push(model.receive(bytes[0] ?? 0, bytes));
  }
  return framesOf(Buffer.concat(out)).frames.map(described);
}

/** Of an error only the code: the words are the gateway's. */
function described({ type, body }: Frame): string {
  if (type !== 'E') return `${type} ${body.toString('latin1').slice(0, 100)}`;
  return `E ${/\0C([0-9A-Z]{5})\0/.exec(body.toString('latin1'))?.[1] ?? '?'}`;
}

/** In a failed transaction the gateway may find another fault with a message before the server says that it has failed. */
function isSame(got: readonly string[], wanted: readonly string[]): boolean {
  const aborted = 'E 25P02';
  return (
    got.length === wanted.length &&
    got.every((one, i) => one === wanted[i] || (one.startsWith('E ') && (one === aborted || wanted[i] === aborted)))
  );
}

export const client: Area<ClientCase> = {
  name: 'client',
  cases,
  abreast: 8,
  *smaller(one) {
    if (one.cancels.length > 0) yield { ...one, cancels: [] };
    if (one.cuts.length > 0) yield { ...one, cuts: [] };
    for (const messages of shorter(one.messages)) yield { ...one, messages };
    for (const fewer of shorter(one.mutations)) yield { ...one, mutations: fewer };
    for (const fewer of shorter(one.cuts)) yield { ...one, cuts: fewer };
  },
  async play(one, bench) {
    const name = bench.name();
    const peer = new Client(bench.gateway().port);
    try {
      const signed = await within(patienceMs, signIn(peer, bench.login(), { name, database: bench.database }));
      if (signed === late) return 'the client waited in vain to be let in';
      if (typeof signed === 'string') return `${signed} (${(await bench.gateway().state()).lastFailure})`;
      const key = signed.greeting.find(({ type }) => type === 'K')?.body;
      const isStrict = one.mutations.length === 0 && (one.end === 'terminate' || one.end === 'half');
      const wanted = isStrict ? expected([...one.messages, ...farewell]) : undefined;
      const messages: Message[] = [...one.messages];
      if (wanted !== undefined) messages.push(...farewell);
      if (one.end === 'terminate') messages.push({ send: 'terminate' });
      const stream = mutate(Buffer.concat(messages.map(encode)), one.mutations);
      for (const [i, piece] of pieces(stream, one.cuts).entries()) {
        for (const { before, right } of one.cancels)
          if (before === i && key !== undefined) {
            const secret = Buffer.from(key.subarray(4));
            if (!right) secret[0] = (secret[0] ?? 0) ^ 1;
            const other = new Client(bench.gateway().port, { from: bench.address() });
            other.write(encodeCancelRequest(key.readInt32BE(0), secret));
            other.socket.end();
          }
        peer.write(piece);
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (one.end === 'half') peer.socket.end();
      else if (one.end !== 'terminate') {
        // What was sent is on its way; some of it has arrived.
        await new Promise((resolve) => setTimeout(resolve, stream.length % 7));
        if (one.end === 'reset') peer.socket.resetAndDestroy();
        else peer.socket.destroy();
      }
      if ((await within(patienceMs, peer.closed)) === late) {
        const got = framesOf(Buffer.concat([signed.behind, peer.take()])).frames.map(described);
        return `the connection was not closed\n  had: ${got.join(' | ')}\n  of:  ${wanted?.join(' | ')}`;
      }
      const events = await within(patienceMs, bench.gateway().session(name));
      if (events === late) return 'the session did not end';
      const seen = bench.target.seen(name);
      if (seen !== undefined && (await within(patienceMs, seen.closed)) === late)
        return 'the connection to the target was not closed';
      const got = framesOf(Buffer.concat([signed.behind, peer.take()]))
        .frames.map(described)
        // With it the gateway finds out whether somebody who has ended its side still reads.
        .filter((one) => !one.startsWith('S client_encoding'));
      // What waits for its verdict fails when the client cancels, and the rest of what it sent goes otherwise then.
      const mayBeGivenUp = one.cancels.some(({ right }) => right) && got.includes('E 57014');
      if (wanted !== undefined && !mayBeGivenUp && !isSame(got, wanted))
        return `answered otherwise than by the server itself\n  got:  ${got.join(' | ')}\n  want: ${wanted.join(' | ')}`;
      return unjudged(bench, name, events, forbidden);
    } finally {
      peer.socket.destroy();
      bench.target.forget(name);
    }
  },
};
