/** Connects to a target: a plain socket on this machine, or TLS with a verified name. Nothing of the login happens here. */
import { hash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import {
  connect as tlsConnect,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import { serverEndPointBinding } from '#wire/postgres/scram.ts';
import { encodeSslRequest } from '#wire/postgres/startup.ts';
import { Endpoint } from './endpoint.ts';
import { TargetFault, type Dialled, type DialledTls } from './target-address.ts';

/** A peer that vanishes without a word is noticed by the system, however long a session is idle. */
const keepAliveMs = 60_000;

export type Connected = {
  readonly endpoint: Endpoint;
  /** `tls-server-end-point` of the server's certificate, for SCRAM. */
  readonly binding: Buffer | undefined;
};

/** Throws `target_unreachable` or `target_refused`, and leaves nothing open then. */
export async function dial(dialled: Dialled, signal: AbortSignal): Promise<Connected> {
  if (dialled.tls !== undefined) return dialTls(dialled, dialled.tls, signal);
  const { promise, resolve } = Promise.withResolvers<void>();
  const endpoint = Endpoint.dial(dialled.address, resolve);
  await orFailure(endpoint.socket, signal, promise, 'target could not be reached');
  endpoint.socket.setKeepAlive(true, keepAliveMs);
  return { endpoint, binding: undefined };
}

async function dialTls(dialled: Dialled, options: DialledTls, signal: AbortSignal): Promise<Connected> {
  const raw = connect(dialled.address);
  raw.setNoDelay(true);
  const connected = new Promise<void>((resolve) => raw.once('connect', resolve));
  await orFailure(raw, signal, connected, 'target could not be reached');
  raw.setKeepAlive(true, keepAliveMs);
  if (!dialled.isDirect) await askForTls(raw, signal);
  const secure = wrap(raw, options);
  const secured = new Promise<void>((resolve) => secure.once('secureConnect', resolve));
  await orFailure(secure, signal, secured, 'tls with the target could not be set up');
  if (dialled.isDirect && secure.alpnProtocol !== 'postgresql') {
    // Another service on the same port might understand what is sent to a database in its own way (ALPACA).
    secure.destroy();
    throw new TargetFault('target_refused', 'target does not speak postgresql in direct tls');
  }
  const certificate = secure.getPeerX509Certificate()?.raw;
  return {
    endpoint: Endpoint.stream(secure),
    binding: certificate === undefined ? undefined : serverEndPointBinding(certificate),
  };
}

function wrap(raw: Socket, options: DialledTls): TLSSocket {
  try {
    return tlsConnect({ ...options.connection, secureContext: contextFor(options.context), socket: raw });
  } catch (cause) {
    raw.destroy();
    throw new TargetFault('target_misconfigured', 'the certificates for the target can not be used', { cause });
  }
}

/** With the certificates parsed, last used last. One for each connection would cost milliseconds, and be kept with it. */
const contexts = new Map<string, SecureContext>();
const maxContexts = 64;

function contextFor(from: SecureContextOptions): SecureContext {
  const name = hash('sha256', JSON.stringify(from), 'hex');
  const context = contexts.get(name) ?? createSecureContext(from);
  contexts.delete(name);
  contexts.set(name, context);
  const [oldest] = contexts.keys();
  if (contexts.size > maxContexts && oldest !== undefined) contexts.delete(oldest);
  return context;
}

async function askForTls(raw: Socket, signal: AbortSignal): Promise<void> {
  raw.write(encodeSslRequest());
  const answered = new Promise<Buffer>((resolve) => {
    raw.once('data', (bytes: Buffer) => {
      raw.pause();
      resolve(bytes);
    });
  });
  const answer = await orFailure(raw, signal, answered, 'target closed the connection');
  // Exactly one byte: anything behind it came before TLS and would be taken for protected bytes (CVE-2021-23222).
  if (answer.length !== 1 || answer[0] !== 0x53) {
    raw.destroy();
    throw new TargetFault('target_refused', 'target does not offer tls');
  }
}

/** Waits for the promise, the socket's failure or the signal; destroys the socket on the last two. */
async function orFailure<T>(socket: Socket, signal: AbortSignal, wanted: Promise<T>, message: string): Promise<T> {
  const { promise: failure, reject } = Promise.withResolvers<never>();
  const fail = (cause?: Error) =>
    reject(new TargetFault('target_unreachable', message, cause === undefined ? {} : { cause }));
  const onAbort = () => fail(signal.reason instanceof Error ? signal.reason : undefined);
  const onClose = () => fail();
  socket.once('error', fail);
  socket.once('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([wanted, failure]);
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    throw error;
  } finally {
    socket.removeListener('error', fail);
    socket.removeListener('close', onClose);
    signal.removeEventListener('abort', onAbort);
    failure.catch(() => {});
  }
}
