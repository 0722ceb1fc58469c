/**
 * A database that takes thousands of connections: temporary logins are signed in with the verifiers that the real server has
 * for them, and then idle; all that they hear is what names mean, when they ask. Everybody else, which is the gateway's administrator, is passed on
 * to the real one. For what depends on the number of sessions and not on what they do.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import pg from 'pg';
import {
  encodeAuthenticationOk,
  encodeAuthenticationSasl,
  encodeAuthenticationSaslContinue,
  encodeAuthenticationSaslFinal,
  encodeBackendKeyData,
  encodeCommandComplete,
  encodeDataRow,
  encodeParameterStatus,
  encodeReadyForQuery,
  encodeRowDescription,
} from '#wire/postgres/backend.ts';
import { frameLengthAt, headerLength, MessageReader } from '#wire/postgres/bytes.ts';
import { decodeSaslInitialResponse } from '#wire/postgres/frontend.ts';
import { createScramServer, parseScramVerifier, scramSha256, type ScramServer } from '#wire/postgres/scram.ts';
import { decodeStartupPacket, startupLengthAt } from '#wire/postgres/startup.ts';
import { serve } from './child.ts';

export type FakeTargetCalls = {
  readonly start: (ask: {
    readonly realPort: number;
    /** The superuser's way to the real server, who alone sees verifiers. */
    readonly superuser: {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly database: string;
    };
    readonly certFile: string;
    readonly keyFile: string;
  }) => Promise<{ readonly port: number }>;
};

const sockets = new Set<Socket>();

serve({
  start: async ({ realPort, superuser, certFile, keyFile }) => {
    const admin = new pg.Pool({ ...superuser, max: 4 });
    admin.on('error', () => undefined);
    const context = createSecureContext({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
      socket.setNoDelay(true);
      greet(socket);
    });

    const greet = (socket: Socket, early: Buffer = Buffer.alloc(0)): void => {
      let pending = early;
      const take = (chunk: Buffer): void => {
        pending = Buffer.concat([pending, chunk]);
        const length = startupLengthAt(pending, 0, pending.length);
        if (length === undefined || pending.length < length) return;
        socket.removeListener('data', take);
        const first = pending.subarray(0, length);
        const packet = decodeStartupPacket(first);
        if (packet.kind === 'ssl_request') {
          socket.write('S');
          const secure = new TLSSocket(socket, { isServer: true, secureContext: context });
          secure.on('error', () => secure.destroy());
          return greet(secure);
        }
        if (packet.kind !== 'startup') return void socket.destroy();
        const user = packet.parameters.get('user') ?? '';
        if (user.startsWith('sally_l_')) signIn(socket, user).catch(() => socket.destroy());
        else passOn(socket, pending);
      };
      socket.on('data', take);
    };

    const passOn = (socket: Socket, first: Buffer): void => {
      const real = connect({ host: '127.0.0.1', port: realPort, noDelay: true });
      real.on('error', () => socket.destroy());
      real.write(first);
      socket.pipe(real).pipe(socket);
    };

    const signIn = async (socket: Socket, user: string): Promise<void> => {
      const messages = reader(socket);
      socket.write(encodeAuthenticationSasl([scramSha256]));
      const { rows } = await admin.query<{ rolpassword: string; rolname: string }>(
        `select a.rolpassword, r.rolname from pg_authid a
          join pg_auth_members m on m.member = a.oid join pg_roles r on r.oid = m.roleid where a.rolname = $1`,
        [user],
      );
      const verifier = parseScramVerifier(rows[0]?.rolpassword ?? '');
      if (verifier === undefined) throw new Error('no such login');
      const nonce = randomBytes(18).toString('base64');
      const scram: ScramServer = createScramServer({ verifier, mechanism: scramSha256, binding: undefined, nonce });
      const initial = decodeSaslInitialResponse(new MessageReader(await messages.next()));
      socket.write(encodeAuthenticationSaslContinue(scram.first(initial.response ?? Buffer.alloc(0))));
      const final = scram.final(await messages.next());
      if (final === undefined) throw new Error('wrong password');
      const hello = [encodeAuthenticationSaslFinal(final), encodeAuthenticationOk()];
      for (const [name, value] of [
        ['server_version', '15.0'],
        ['server_encoding', 'UTF8'],
        ['client_encoding', 'UTF8'],
        ['is_superuser', 'off'],
        ['session_authorization', user],
        ['DateStyle', 'ISO, MDY'],
        ['IntervalStyle', 'postgres'],
        ['TimeZone', 'UTC'],
        ['integer_datetimes', 'on'],
        ['standard_conforming_strings', 'on'],
        ['default_transaction_read_only', 'off'],
        ['in_hot_standby', 'off'],
      ] as const)
        hello.push(encodeParameterStatus(name, value));
      hello.push(encodeBackendKeyData(1, randomBytes(4)), encodeReadyForQuery('I'));
      socket.write(Buffer.concat(hello));
      messages.forget();
      // A session that waited for the answer would be one with a statement, to be cancelled when it is cut.
      const names = namesAnswer(rows[0]?.rolname ?? '');
      socket.on('data', (chunk: Buffer) => chunk[0] === query && socket.write(names));
    };

    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, resolve));
    return { port: (server.address() as AddressInfo).port };
  },
} satisfies FakeTargetCalls);

const query = 'Q'.charCodeAt(0);

/** To `namesQuery`, the one query that a gateway asks by itself. */
const namesAnswer = (user: string): Buffer =>
  Buffer.concat([
    encodeRowDescription([
      { name: 'array_to_json', type: 25 },
      { name: 'current_user', type: 25 },
    ]),
    encodeDataRow(['["pg_catalog","public"]', user]),
    encodeCommandComplete('SELECT 1'),
    encodeReadyForQuery('I'),
  ]);

/** Bodies of messages, one after the other. */
function reader(socket: Socket): { readonly next: () => Promise<Buffer>; readonly forget: () => void } {
  let pending: Buffer = Buffer.alloc(0);
  let wake = (): void => undefined;
  const take = (chunk: Buffer): void => {
    pending = Buffer.concat([pending, chunk]);
    wake();
  };
  socket.on('data', take);
  return {
    next: async () => {
      for (;;) {
        if (pending.length >= headerLength) {
          const length = frameLengthAt(pending, 0);
          if (pending.length >= length) {
            const body = Buffer.from(pending.subarray(headerLength, length));
            pending = pending.subarray(length);
            return body;
          }
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    forget: () => void socket.removeListener('data', take),
  };
}
