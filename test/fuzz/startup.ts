/**
 * A stranger: start-up packets, requests for encryption, TLS, SCRAM, all of it spoiled, broken off or left hanging. Every
 * connection is closed by the deadline, nobody gets in without the password, and nothing stays behind.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, connect as connectPlain, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { MessageReader } from '#wire/postgres/bytes.ts';
import { decodeAuthentication } from '#wire/postgres/backend.ts';
import { encodeSaslInitialResponse, encodeSaslResponse } from '#wire/postgres/frontend.ts';
import { createScramClient, deriveScramKeys } from '#wire/postgres/scram.ts';
import { encodeCancelRequest, encodeGssEncRequest, encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import { shorter, type Area } from './_area.ts';
import { handshakeMs, late, within, type Bench } from './_bench.ts';
import { Client, framesOf } from './_client.ts';
import { mutations } from './client.ts';
import { mutate, pieces, type Mutation } from './_messages.ts';

type Prelude = 'none' | 'ssl' | 'gss' | 'gss_ssl' | 'direct' | 'ssl_twice' | 'cancel';
export type StartupCase = {
  readonly prelude: Prelude;
  readonly minor: number;
  readonly major: number;
  readonly parameters: readonly (readonly [string, string])[];
  readonly knowsPassword: boolean;
  readonly user: 'known' | 'unknown';
  /** Which of the client's packets is spoiled: start-up, SASLInitialResponse, SASLResponse, or what comes behind. */
  readonly step: number;
  readonly mutations: readonly Mutation[];
  /** Sent instead of the packet at `step`. */
  readonly instead: string | undefined;
  readonly cuts: readonly number[];
  readonly end: 'half' | 'destroy' | 'reset' | 'silent';
};

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const length = fc.constantFrom(0, 1, 4, 7, 8, 9, 10_000, 10_001, 70_000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff);
const instead = fc.oneof(
  fc.uint8Array({ maxLength: 64 }).map(hex),
  fc.tuple(length, fc.uint8Array({ maxLength: 30 })).map(([size, body]) => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(size);
    return hex(Buffer.concat([header, body]));
  }),
  fc
    .tuple(fc.constantFrom(0x70, 0x51, 0x58, 0x70), length, fc.uint8Array({ maxLength: 40 }))
    .map(([type, size, body]) => {
      const header = Buffer.alloc(5);
      header[0] = type;
      header.writeUInt32BE(size, 1);
      return hex(Buffer.concat([header, body]));
    }),
  fc.constantFrom(
    hex(encodeSslRequest()),
    hex(encodeGssEncRequest()),
    hex(encodeSaslInitialResponse('SCRAM-SHA-256-PLUS', Buffer.from('p=tls-server-end-point,,n=,r=abc'))),
    hex(encodeSaslInitialResponse('SCRAM-SHA-256', Buffer.from('y,,n=,r=abc'))),
    hex(encodeSaslInitialResponse('PLAIN', Buffer.from('\0a\0b'))),
    hex(encodeSaslResponse(Buffer.from('c=biws,r=abc,p=AAAA'))),
    hex(Buffer.alloc(20_000, 0x41)),
    hex(Buffer.from('GET / HTTP/1.1\r\n\r\n')),
  ),
);
const parameter = fc.tuple(
  fc.constantFrom('user', 'database', 'options', 'replication', 'client_encoding', '_pq_.x', 'DateStyle', 'role', 'x'),
  fc.oneof(fc.constantFrom('', 'on', 'UTF8', 'ISO, MDY', '-c role=postgres'), fc.string({ maxLength: 30 })),
);
const cases: fc.Arbitrary<StartupCase> = fc.record({
  prelude: fc.constantFrom<Prelude>(
    'none',
    'none',
    'none',
    'ssl',
    'ssl',
    'gss',
    'gss_ssl',
    'direct',
    'ssl_twice',
    'cancel',
  ),
  minor: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constantFrom(0, 2, 65_535)),
  major: fc.constantFrom(3, 3, 3, 3, 3, 2, 4, 0, 65_535),
  parameters: fc.array(
    parameter.map(([name, value]) => [name, value.replaceAll('\0', '')] as const),
    { maxLength: 3 },
  ),
  knowsPassword: fc.boolean(),
  user: fc.constantFrom('known' as const, 'unknown' as const),
  step: fc.nat(4),
  mutations: fc.oneof(fc.constant([]), mutations),
  instead: fc.option(instead, { nil: undefined }),
  cuts: fc.oneof(fc.constant([]), fc.array(fc.nat(999_999), { maxLength: 8 })),
  end: fc.constantFrom('half' as const, 'destroy' as const, 'destroy' as const, 'reset' as const, 'silent' as const),
});

/** Plays the client's part and returns when it has nothing more to say. */
async function attack(one: StartupCase, bench: Bench, name: string, plain: Client): Promise<void> {
  let client = plain;
  const heard = async (): Promise<Buffer> => {
    await within(150, client.more());
    return client.take();
  };
  const asks = { ssl: [encodeSslRequest()], gss: [encodeGssEncRequest()], none: [], direct: [] };
  const requests: Record<Prelude, readonly Buffer[]> = {
    ...asks,
    gss_ssl: [encodeGssEncRequest(), encodeSslRequest()],
    ssl_twice: [encodeSslRequest(), encodeSslRequest()],
    cancel: [encodeCancelRequest(4711, randomBytes(one.minor * 4))],
  };
  let isOffered = one.prelude === 'direct';
  for (const request of requests[one.prelude]) {
    client.write(request);
    if (one.prelude !== 'ssl_twice') isOffered = (await heard())[0] === 0x53;
  }
  if (isOffered) {
    const secure = connectTls({
      socket: plain.socket,
      rejectUnauthorized: false,
      ...(one.prelude === 'direct' && one.minor % 2 === 1 ? {} : { ALPNProtocols: ['postgresql'] }),
    });
    secure.on('error', () => {});
    if (
      (await within(
        1000,
        once(secure, 'secureConnect').catch(() => late),
      )) === late
    )
      return;
    client = Client.over(secure);
  }
  const login = one.knowsPassword ? bench.login() : { ...bench.login(), password: 'wrong' };
  const user = one.user === 'known' ? login.user : `nobody.${name}`;
  const send = async (step: number, bytes: Buffer): Promise<void> => {
    const replaced = step === one.step && one.instead !== undefined ? Buffer.from(one.instead, 'hex') : bytes;
    const spoiled = step === one.step ? mutate(replaced, one.mutations) : replaced;
    for (const piece of pieces(spoiled, one.cuts)) {
      client.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const parameters = new Map([
    ['user', user],
    ['database', bench.database],
    ['application_name', name],
    ...one.parameters,
  ]);
  const startup = Buffer.from(encodeStartup(one.minor, parameters));
  startup.writeUInt16BE(one.major, 4);
  await send(0, startup);
  const scram = createScramClient({
    offered: ['SCRAM-SHA-256'],
    binding: undefined,
    nonce: randomBytes(18).toString('base64'),
    keys: (salt, iterations) => deriveScramKeys(login.password, salt, Math.min(iterations, 4096)),
  });
  let buffer: Buffer = Buffer.alloc(0);
  for (let turns = 0; turns < 8 && !client.isClosed; turns += 1) {
    buffer = Buffer.concat([buffer, await heard()]);
    const { frames, left } = framesOf(buffer);
    buffer = left;
    for (const frame of frames) {
      if (frame.type === 'Z') return send(3, Buffer.from('510000000d73656c656374203100', 'hex'));
      if (frame.type !== 'R') continue;
      const request = decodeAuthentication(new MessageReader(frame.body));
      if (request.kind === 'sasl') await send(1, encodeSaslInitialResponse(scram.mechanism, scram.first()));
      else if (request.kind === 'sasl_continue') await send(2, encodeSaslResponse(await scram.final(request.data)));
    }
  }
}

export const startup: Area<StartupCase> = {
  name: 'startup',
  abreast: 24,
  cases,
  *smaller(one) {
    if (one.prelude !== 'none') yield { ...one, prelude: 'none' };
    if (one.cuts.length > 0) yield { ...one, cuts: [] };
    for (const parameters of shorter(one.parameters)) yield { ...one, parameters };
    for (const fewer of shorter(one.mutations)) yield { ...one, mutations: fewer };
  },
  async play(one, bench) {
    const name = bench.name();
    const peer = new Client(bench.gateway().port, { from: bench.address() });
    try {
      await attack(one, bench, name, peer).catch((error: unknown) => {
        // What the gateway answers to nonsense need not make sense to us.
        if (!(error instanceof Error)) throw error;
      });
      if (one.end === 'half') peer.socket.end();
      else if (one.end === 'destroy') peer.socket.destroy();
      else if (one.end === 'reset') peer.socket.resetAndDestroy();
      const isClosed = (await within(handshakeMs + 5000, peer.closed)) !== late;
      const seen = bench.target.seen(name);
      // Who has signed in may stay.
      if (!isClosed && seen === undefined) return 'the connection was not closed';
      peer.socket.destroy();
      if (seen === undefined) return undefined;
      if (!one.knowsPassword) return 'somebody got in without the password';
      return (await within(8000, seen.closed)) === late ? 'the connection to the target was not closed' : undefined;
    } finally {
      peer.socket.destroy();
      bench.target.forget(name);
    }
  },
};

export type TlsCase = {
  readonly isDirect: boolean;
  readonly hello: string;
  readonly mutations: readonly Mutation[];
  readonly cuts: readonly number[];
  readonly end: 'half' | 'destroy' | 'silent';
};

/** What a TLS client says first. */
async function realHello(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const plain = connectPlain((server.address() as AddressInfo).port, '127.0.0.1');
  const secure = connectTls({ socket: plain, ALPNProtocols: ['postgresql'], rejectUnauthorized: false });
  secure.on('error', () => {});
  const [socket] = await accepted;
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.on('error', () => {});
  socket.destroy();
  secure.destroy();
  server.close();
  return bytes.toString('hex');
}
const hello = await realHello();

export const tls: Area<TlsCase> = {
  name: 'tls',
  abreast: 24,
  cases: fc.record({
    isDirect: fc.boolean(),
    hello: fc.oneof(
      { weight: 4, arbitrary: fc.constant(hello) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }).map((bytes) => `1603${hex(bytes)}`) },
    ),
    mutations: fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 6, arbitrary: mutations }),
    cuts: fc.oneof(fc.constant([]), fc.array(fc.nat(999_999), { maxLength: 30 })),
    end: fc.constantFrom('half' as const, 'destroy' as const, 'destroy' as const, 'silent' as const),
  }),
  *smaller(one) {
    if (one.cuts.length > 0) yield { ...one, cuts: [] };
    for (const fewer of shorter(one.mutations)) yield { ...one, mutations: fewer };
  },
  async play(one, bench) {
    const peer = new Client(bench.gateway().port, { from: bench.address() });
    try {
      if (!one.isDirect) {
        peer.write(encodeSslRequest());
        await within(1000, peer.more());
      }
      for (const piece of pieces(mutate(Buffer.from(one.hello, 'hex'), one.mutations), one.cuts)) {
        peer.write(piece);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await within(20, peer.more());
      if (one.end === 'half') peer.socket.end();
      else if (one.end === 'destroy') peer.socket.destroy();
      return (await within(handshakeMs + 5000, peer.closed)) === late ? 'the connection was not closed' : undefined;
    } finally {
      peer.socket.destroy();
    }
  },
};
