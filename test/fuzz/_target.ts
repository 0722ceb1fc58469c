/**
 * The target as the gateway sees it. The administrator's connections are passed on to a real server, so that logins and
 * roles are really made; what logs in as one of these logins is answered by the model, and can be spoiled on the way.
 * Everything that a session sends here is taken apart and kept: nothing may arrive that was not judged.
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import type { TestTarget } from '#test/support/postgres.ts';
import {
  encodeAuthenticationOk,
  encodeAuthenticationSasl,
  encodeAuthenticationSaslContinue,
  encodeAuthenticationSaslFinal,
  encodeBackendKeyData,
  encodeErrorResponse,
  encodeParameterStatus,
  encodeReadyForQuery,
} from '#wire/postgres/backend.ts';
import { frameLengthAt, headerLength, MessageReader } from '#wire/postgres/bytes.ts';
import { decodeSaslInitialResponse } from '#wire/postgres/frontend.ts';
import { createScramServer, parseScramVerifier } from '#wire/postgres/scram.ts';
import { decodeStartupPacket, encodeSslRequest, startupLengthAt } from '#wire/postgres/startup.ts';
import { Model, type Executed } from './_model.ts';

/** What a session did to the target. */
export type Seen = {
  readonly executed: readonly Executed[];
  readonly told: readonly string[];
  /** A message that no server would have understood. */
  readonly broken: string | undefined;
  readonly closed: Promise<void>;
};

/** Spoils what the model answers. Called with each piece that would be sent, and the socket to do worse with. */
export type Spoiler = (answer: Buffer, phase: 'login' | 'session', socket: Socket) => Buffer;

export type FuzzTarget = AsyncDisposable & {
  readonly port: number;
  /** What the session with this application name has sent, from its login on. */
  readonly seen: (name: string) => Seen | undefined;
  readonly forget: (name: string) => void;
  readonly spoil: (name: string, spoiler: Spoiler) => void;
  /** The most connections that the administrator has had at once since the last call. */
  readonly mostOfAdmin: () => number;
};

export async function startFuzzTarget(real: TestTarget): Promise<FuzzTarget> {
  type Kept = { executed: Executed[]; told: string[]; broken: string | undefined; closed: Promise<void> };
  const kept = new Map<string, Kept>();
  const spoilers = new Map<string, Spoiler>();
  const sockets = new Set<Socket>();
  let admins = 0;
  let mostAdmins = 0;

  /** The bytes so far go first. */
  const passOn = (from: Socket, first: Buffer) => {
    from.pause();
    const raw = connect(real.port, real.host);
    raw.on('error', () => from.destroy());
    raw.write(encodeSslRequest());
    raw.once('data', () => {
      const to = connectTls({ socket: raw, rejectUnauthorized: false });
      to.on('error', () => from.destroy());
      to.once('secureConnect', () => {
        to.write(first);
        from.pipe(to);
        to.pipe(from);
      });
    });
    from.once('close', () => raw.destroy());
  };

  const asking = new pg.Pool({ ...real.server.connection(real.database), max: 2 });
  asking.on('error', () => {});
  const ask = async (text: string, value: string): Promise<string> =>
    (await asking.query<{ answer: string }>(text, [value])).rows[0]?.answer ?? '';
  // Asked each time: a login that a target has refused is made anew.
  const verifierOf = (user: string) => ask('select rolpassword as answer from pg_authid where rolname = $1', user);
  const roleOf = (user: string) =>
    ask(
      `select g.rolname as answer from pg_auth_members m join pg_roles g on g.oid = m.roleid
       join pg_roles u on u.oid = m.member where u.rolname = $1`,
      user,
    );

  const serve = async (socket: Socket) => {
    let buffer: Buffer = Buffer.alloc(0);
    let wake: () => void = () => {};
    let isClosed = false;
    const closed = new Promise<void>((resolve) =>
      socket.once('close', () => {
        isClosed = true;
        wake();
        resolve();
      }),
    );
    const onData = (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      wake();
    };
    socket.on('data', onData);
    const until = async (wanted: () => number | undefined): Promise<Buffer | undefined> => {
      for (;;) {
        const length = wanted();
        if (length !== undefined && buffer.length >= length) {
          const taken = buffer.subarray(0, length);
          buffer = buffer.subarray(length);
          return taken;
        }
        if (isClosed) return undefined;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    };
    const packet = await until(() => startupLengthAt(buffer, 0, buffer.length));
    if (packet === undefined) return;
    const startup = decodeStartupPacket(packet);
    if (startup.kind === 'cancel_request') {
      socket.destroy();
      return;
    }
    if (startup.kind !== 'startup') return void socket.end('N');
    const user = startup.parameters.get('user') ?? '';
    if (user === real.adminUser) {
      admins += 1;
      mostAdmins = Math.max(mostAdmins, admins);
      void closed.then(() => (admins -= 1));
      socket.removeListener('data', onData);
      return passOn(socket, Buffer.concat([packet, buffer]));
    }
    const name = startup.parameters.get('application_name') ?? '';
    const spoiler = spoilers.get(name) ?? ((answer: Buffer) => answer);
    const send = (bytes: Buffer, phase: 'login' | 'session') => {
      const out = spoiler(bytes, phase, socket);
      if (out.length > 0 && socket.writable) socket.write(out);
    };
    const frame = () =>
      until(() => (buffer.length < headerLength ? undefined : frameLengthAt(buffer, 0))).catch((error: unknown) => {
        record.broken ??= (error as Error).message;
        socket.destroy();
        return undefined;
      });
    const record: Kept = { executed: [], told: [], broken: undefined, closed };
    if (name !== '') kept.set(name, record);

    const verifier = parseScramVerifier(await verifierOf(user));
    if (verifier === undefined) {
      socket.end(encodeErrorResponse({ severity: 'FATAL', sqlState: '28P01', message: 'no such login' }));
      return;
    }
    const mechanism = 'SCRAM-SHA-256';
    const nonce = randomBytes(18).toString('base64');
    const scram = createScramServer({ verifier, mechanism, binding: undefined, nonce });
    send(encodeAuthenticationSasl([mechanism]), 'login');
    const initial = await frame();
    if (initial === undefined) return;
    const { response } = decodeSaslInitialResponse(new MessageReader(initial, headerLength));
    send(encodeAuthenticationSaslContinue(scram.first(response ?? Buffer.alloc(0))), 'login');
    const answer = await frame();
    if (answer === undefined) return;
    const final = scram.final(answer.subarray(headerLength));
    if (final === undefined) {
      socket.end(encodeErrorResponse({ severity: 'FATAL', sqlState: '28P01', message: 'wrong password' }));
      return;
    }
    send(encodeAuthenticationSaslFinal(final), 'login');
    send(
      Buffer.concat([
        encodeAuthenticationOk(),
        encodeParameterStatus('server_version', '15.0'),
        encodeParameterStatus('client_encoding', 'UTF8'),
        encodeParameterStatus('standard_conforming_strings', 'on'),
        encodeBackendKeyData(4711, randomBytes(4)),
        encodeReadyForQuery('I'),
      ]),
      'login',
    );
    const model = new Model({ user: await roleOf(user) });
    for (let next = await frame(); next !== undefined; next = await frame()) {
      try {
        const out = model.receive(next[0] ?? 0, next);
        if (out.length > 0) send(out, 'session');
      } catch (error) {
        record.broken ??= (error as Error).message;
        socket.destroy();
      }
      record.executed.push(...model.executed.splice(0));
      record.told.push(...model.told.splice(0));
      if (model.hasLeft) socket.end();
    }
  };

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    serve(socket).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen: (name) => kept.get(name),
    forget(name) {
      kept.delete(name);
      spoilers.delete(name);
    },
    spoil: (name, spoiler) => void spoilers.set(name, spoiler),
    mostOfAdmin() {
      const most = mostAdmins;
      mostAdmins = admins;
      return most;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await asking.end();
    },
  };
}
