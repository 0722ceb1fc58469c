/**
 * Takes connections and brings each to the point where somebody has proven who they are. Nothing here waits on the accept
 * path; each handshake has a deadline and small limits, and one address can have only so many of them at once, so a silent
 * client costs one socket and no more (INVARIANT 14).
 *
 * TLS comes in both ways: by an SSLRequest, or directly (the client's first byte starts a TLS record; ALPN `postgresql`,
 * PostgreSQL 17). A peer that isn't on this machine must use it.
 */
import { constants } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket, type SecureContext, type SecureContextOptions } from 'node:tls';
import { ProtocolViolation } from '#wire/postgres/bytes.ts';
import { encodeErrorResponse, encodeNegotiateProtocolVersion } from '#wire/postgres/backend.ts';
import { serverEndPointBinding } from '#wire/postgres/scram.ts';
import { decodeStartupPacket } from '#wire/postgres/startup.ts';
import { openDoor } from '../door.ts';
import type { RefusedWhy } from '../events.ts';
import { HandshakeReader } from './handshake-reader.ts';
import { openSession, type OpenContext } from './open-session.ts';
import { readStartup } from './startup-parameters.ts';
import { isLoopback } from './target-address.ts';
import { createWaiting, networkOf } from './waiting.ts';

export type ListenOptions = {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Read again for each handshake, so that a renewed certificate is used without a restart. Undefined: no TLS here. */
  readonly tls?: () => SecureContextOptions | undefined;
  /** From the first byte of a connection to the last of its sign-in, TLS and SCRAM included. */
  readonly handshakeMs?: number;
  /** At the door at once; an address is one of IPv4, or a /64 of IPv6. Who comes then takes the place of the longest waiting. */
  readonly maxHandshakesPerAddress?: number;
  readonly maxHandshakes?: number;
  /** Wrong passwords from one address within a minute, after which each of them waits for its refusal. */
  readonly maxFailuresPerMinute?: number;
  /** How long. Right passwords don't wait: others may share the address of who guesses. */
  readonly refuseAfterMs?: number;
  /** Others listen on the same port: the kernel shares connections out among them. */
  readonly reusePort?: boolean;
};

export type Listener = AsyncDisposable & {
  /** A wrong password came from there, to this listener or to another of the same gateway. */
  readonly noteFailure: (address: string) => void;
  readonly port: number;
  readonly host: string;
};

/** The newest minor version of protocol 3 that we speak. */
const newestMinor = 2;
const tlsRecord = 0x16;
/** A peer may not start over in mid-session: that costs us much and it little. PostgreSQL forbids it as well. */
const tlsLimits: SecureContextOptions = {
  minVersion: 'TLSv1.2',
  // Each connection is a handshake of its own, as with PostgreSQL: nobody comes back with what another one left.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
};

export async function listen(options: ListenOptions, context: OpenContext): Promise<Listener> {
  const {
    handshakeMs = 15_000,
    maxHandshakesPerAddress = 200,
    maxHandshakes = 2000,
    maxFailuresPerMinute = 20,
    refuseAfterMs = 3000,
  } = options;
  const { events, clock } = context;
  const failures = new Map<string, { count: number; since: number }>();
  const door = openDoor(context.door, context.engine, { perAddress: maxHandshakesPerAddress, all: maxHandshakes });
  const waiting = createWaiting();
  const sockets = new Set<Socket>();
  let isStopping = false;

  const hasFailedTooOften = (address: string): boolean => {
    const known = failures.get(address);
    if (known === undefined) return false;
    if (clock.now() - known.since > 60_000) failures.delete(address);
    else if (known.count >= maxFailuresPerMinute) return true;
    return false;
  };
  const noteFailure = (address: string) => {
    const known = failures.get(address);
    if (known !== undefined && clock.now() - known.since <= 60_000) known.count += 1;
    else {
      if (failures.size > 10_000) failures.clear();
      failures.set(address, { count: 1, since: clock.now() });
    }
  };

  /** Made once for a certificate and not for each connection: reading key and chain is a good part of a handshake. */
  let made: { readonly from: SecureContextOptions; readonly context: SecureContext } | undefined;
  const contextFor = (tls: SecureContextOptions): SecureContext => {
    const names = Object.keys(tls) as (keyof SecureContextOptions)[];
    const isKnown =
      made !== undefined &&
      names.length === Object.keys(made.from).length &&
      names.every((name) => made?.from[name] === tls[name]);
    if (!isKnown || made === undefined) made = { from: tls, context: createSecureContext({ ...tlsLimits, ...tls }) };
    return made.context;
  };

  const accept = (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    socket.on('error', () => {});
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const network = networkOf(address);
    const enter = () => door.enter(network) ?? (waiting.evictFor(network) ? door.enter(network) : undefined);
    const leave = isStopping ? undefined : enter();
    if (leave === undefined) return turnAway(socket, isStopping ? 'stopping' : 'too_many_handshakes', address);
    context.reached?.('socket_accepted');
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), handshakeMs);
    let isEvicted = false;
    let isOver = false;
    const over = () => {
      clearTimeout(timer);
      proven();
      if (!isOver) leave();
      isOver = true;
    };
    const proven = waiting.add(network, () => {
      isEvicted = true;
      over();
      turnAway(socket, 'too_many_handshakes', address);
      deadline.abort();
    });
    greet(socket, address, { signal: deadline.signal, proven }).then(
      (outcome) => {
        over();
        // The supervisor has it now.
        if (outcome === 'opened') sockets.delete(socket);
        if (isEvicted || outcome === 'opened' || outcome === 'cancelled') return;
        events.connectionRefused(outcome, address);
        // Our last words are on their way; who doesn't take them loses the socket.
        setTimeout(() => socket.destroy(), 2000).unref();
      },
      (error: unknown) => {
        over();
        if (isEvicted) return;
        events.connectionRefused('handshake_failed', address);
        if (!(error instanceof ProtocolViolation) && !deadline.signal.aborted && !socket.destroyed)
          events.fault('connection could not be opened', error);
        socket.destroy();
      },
    );
  };

  /** Said in the clear, as far as anything can be said yet: to a client in the middle of TLS it is no more than an end. */
  const turnAway = (socket: Socket, because: RefusedWhy, address: string) => {
    events.connectionRefused(because, address);
    const message = 'sallyport: too many connections';
    socket.end(encodeErrorResponse({ severity: 'FATAL', sqlState: '53300', message, hint: 'Try again in a minute.' }));
    setTimeout(() => socket.destroy(), 1000).unref();
  };

  /** What a wrong password has to wait for. Whoever has gone meanwhile keeps their place at the door until then. */
  const refused = async (address: string): Promise<'wrong_password' | 'too_many_failures'> => {
    context.hub.signInFailed(address);
    if (!hasFailedTooOften(networkOf(address))) return 'wrong_password';
    await new Promise((resolve) => setTimeout(resolve, refuseAfterMs));
    return 'too_many_failures';
  };

  /** Start-up packets, until one asks for a session; TLS on the way. */
  const greet = async (
    plain: Socket,
    address: string,
    { signal, proven }: { readonly signal: AbortSignal; readonly proven: () => void },
  ): Promise<RefusedWhy | 'opened' | 'cancelled'> => {
    let socket = plain;
    let reader = new HandshakeReader(socket, signal);
    let isTls = false;
    let binding: Buffer | undefined;
    const seen = new Set<string>();
    const refuse = (sqlState: string, message: string, hint?: string) =>
      socket.end(
        encodeErrorResponse({ severity: 'FATAL', sqlState, message, ...(hint === undefined ? {} : { hint }) }),
      );

    const secure = async (isDirect: boolean): Promise<boolean> => {
      const tls = options.tls?.();
      if (tls === undefined) return false;
      const early = reader.detach();
      if (isDirect) socket.unshift(Buffer.from(early));
      else {
        // Bytes behind the request came in the clear, and would be taken for protected ones (CVE-2021-23214).
        if (early.length > 0) throw new ProtocolViolation('bytes behind the request for tls');
        socket.write('S');
      }
      const wrapped = new TLSSocket(socket, {
        isServer: true,
        secureContext: contextFor(tls),
        ALPNProtocols: ['postgresql'],
      });
      wrapped.on('error', () => {});
      sockets.add(wrapped);
      wrapped.once('close', () => sockets.delete(wrapped));
      await secured(wrapped, signal);
      if (isDirect && wrapped.alpnProtocol !== 'postgresql') throw new ProtocolViolation('direct tls without alpn');
      const certificate = wrapped.getX509Certificate()?.raw;
      binding = certificate === undefined ? undefined : serverEndPointBinding(certificate);
      socket = wrapped;
      reader = new HandshakeReader(wrapped, signal);
      isTls = true;
      return true;
    };

    if ((await reader.peek()) === tlsRecord && !(await secure(true))) return 'handshake_failed';
    for (;;) {
      const packet = decodeStartupPacket(await reader.startupPacket());
      switch (packet.kind) {
        case 'ssl_request':
        case 'gssenc_request':
          if (seen.has(packet.kind) || isTls) throw new ProtocolViolation('encryption was asked for twice');
          seen.add(packet.kind);
          if (packet.kind === 'gssenc_request' || !(await secure(false))) socket.write('N');
          continue;
        case 'cancel_request':
          await context.cancels.request(packet.processId, packet.secretKey);
          socket.end();
          setTimeout(() => socket.destroy(), 1000).unref();
          return 'cancelled';
        case 'startup':
          break;
        default:
          packet satisfies never;
      }
      if (packet.kind !== 'startup') continue;
      if (packet.major !== 3) {
        refuse(
          '0A000',
          `unsupported frontend protocol ${packet.major}.${packet.minor}: server supports 3.0 to 3.${newestMinor}`,
        );
        return 'handshake_failed';
      }
      if (!isTls && !isLoopback(address)) {
        refuse('28000', 'sallyport: connections to this gateway need tls', 'Use sslmode=verify-full.');
        return 'tls_required';
      }
      const startup = readStartup(packet.parameters);
      if (startup.kind === 'refused') {
        refuse(startup.sqlState, startup.message, startup.hint);
        return 'handshake_failed';
      }
      if (packet.minor > newestMinor || startup.ask.unknownOptions.length > 0)
        socket.write(encodeNegotiateProtocolVersion(Math.min(packet.minor, newestMinor), startup.ask.unknownOptions));
      return openSession(
        {
          socket,
          reader,
          startup: startup.ask,
          minorVersion: Math.min(packet.minor, newestMinor),
          isTls,
          binding,
          address,
          port: plain.remotePort ?? 0,
          proven,
          refused: () => refused(address),
        },
        context,
      );
    }
  };

  const server: Server = createServer({ allowHalfOpen: true }, accept);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const { host, port, reusePort = false } = options;
    server.listen({ host, port, reusePort, backlog: 511 }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => events.fault('listener failed', error));
  return {
    port: (server.address() as AddressInfo).port,
    host: options.host,
    noteFailure: (address) => noteFailure(networkOf(address)),
    async [Symbol.asyncDispose]() {
      isStopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function secured(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new ProtocolViolation('tls handshake failed'));
    socket.once('secure', resolve);
    socket.once('error', fail);
    socket.once('close', fail);
    signal.addEventListener('abort', fail, { once: true });
  });
}
