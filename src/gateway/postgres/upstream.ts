/**
 * The gateway as the client of a target: SCRAM-SHA-256 in both directions on a dialled connection, which is then handed
 * over to the proxy. Any other way to authenticate is refused: a server that asks for a cleartext or an MD5 password is
 * not the one that was registered (INVARIANT 10).
 */
import { frameLengthAt, headerLength, MessageReader, ProtocolViolation } from '#wire/postgres/bytes.ts';
import { encodeSaslInitialResponse, encodeSaslResponse } from '#wire/postgres/frontend.ts';
import {
  backend,
  decodeAuthentication,
  decodeBackendKeyData,
  decodeErrorFields,
  decodeParameterStatus,
} from '#wire/postgres/backend.ts';
import { createScramClient, type ScramClient, type ScramClientKeys } from '#wire/postgres/scram.ts';
import { encodeCancelRequest, encodeStartup } from '#wire/postgres/startup.ts';
import type { Random } from '#core/ids.ts';
import type { TargetAccess } from '../control-plane.ts';
import type { Reached } from '../fault-points.ts';
import { dial } from './dial.ts';
import type { Endpoint } from './endpoint.ts';
import { dialOptions, TargetFault, type Dialled } from './target-address.ts';

/** Enough to cancel what runs on one connection of a target. */
export type CancelKey = { readonly dialled: Dialled; readonly processId: number; readonly secretKey: Buffer };

export type Upstream = {
  /** Nothing is read from it until it gets its handler. */
  readonly endpoint: Endpoint;
  /** As the server reported them at the start. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly cancelKey: CancelKey;
};

export type UpstreamLogin = {
  readonly user: string;
  readonly keys: (salt: Buffer, iterations: number) => Promise<ScramClientKeys>;
  readonly startup: ReadonlyMap<string, string>;
};

const maxHandshakeBytes = 65_536;

/** Opens and authenticates a connection. Throws `TargetFault`; everything is closed then. */
export async function openUpstream(
  access: TargetAccess,
  login: UpstreamLogin,
  context: { readonly random: Random; readonly signal: AbortSignal; readonly reached?: Reached | undefined },
): Promise<Upstream> {
  const dialled = dialOptions(access);
  const { endpoint, binding } = await dial(dialled, context.signal);
  context.reached?.('target_dialled');
  const { promise, resolve, reject } = Promise.withResolvers<Upstream>();
  const onAbort = () => reject(new TargetFault('target_unreachable', 'target did not answer in time'));
  context.signal.addEventListener('abort', onAbort, { once: true });
  const handshake = createHandshake({
    send: (bytes) => endpoint.write(bytes),
    keys: login.keys,
    binding,
    nonce: Buffer.from(context.random(18)).toString('base64'),
    ready: ({ parameters, processId, secretKey }) => {
      endpoint.pause();
      resolve({ endpoint, parameters, cancelKey: { dialled, processId, secretKey } });
    },
    failed: reject,
  });
  endpoint.handle({
    chunk: (chunk, length) => handshake(Buffer.from(chunk.subarray(0, length))),
    closed: (cause) =>
      reject(new TargetFault('target_refused', 'target closed the connection', cause === undefined ? {} : { cause })),
    drained: () => {},
  });
  endpoint.write(encodeStartup(0, new Map([['user', login.user], ['database', access.database], ...login.startup])));
  try {
    return await promise;
  } catch (error) {
    endpoint.destroy();
    throw error instanceof TargetFault
      ? error
      : new TargetFault('target_refused', 'connection to the target could not be opened', { cause: error });
  } finally {
    context.signal.removeEventListener('abort', onAbort);
  }
}

type Ready = {
  readonly parameters: ReadonlyMap<string, string>;
  readonly processId: number;
  readonly secretKey: Buffer;
};

/** Chunks in, answers out, until ReadyForQuery. Returns whether to read on. */
function createHandshake(options: {
  readonly send: (bytes: Buffer) => void;
  readonly keys: UpstreamLogin['keys'];
  readonly binding: Buffer | undefined;
  readonly nonce: string;
  readonly ready: (ready: Ready) => void;
  readonly failed: (error: unknown) => void;
}): (chunk: Buffer) => boolean {
  const parameters = new Map<string, string>();
  let pending: Buffer = Buffer.alloc(0);
  let client: ScramClient | undefined;
  let isVerified = false;
  let isAuthenticated = false;
  let key: { readonly processId: number; readonly secretKey: Buffer } | undefined;
  let isOver = false;

  const authentication = (body: MessageReader) => {
    const request = decodeAuthentication(body);
    switch (request.kind) {
      case 'sasl':
        if (client !== undefined) throw new ProtocolViolation('authentication was asked for twice');
        client = createScramClient({ ...options, offered: request.mechanisms });
        options.send(encodeSaslInitialResponse(client.mechanism, client.first()));
        return;
      case 'sasl_continue':
        if (client === undefined) throw new ProtocolViolation('authentication out of turn');
        client.final(request.data).then((final) => options.send(encodeSaslResponse(final)), options.failed);
        return;
      case 'sasl_final':
        client?.verify(request.data);
        isVerified = client !== undefined;
        return;
      case 'ok':
        // Trust or peer would let anybody in who reaches the port: then the password protects nothing.
        if (!isVerified)
          throw new TargetFault('target_refused', 'target does not ask for a password with scram-sha-256');
        isAuthenticated = true;
        return;
      case 'other':
        throw new TargetFault(
          'target_refused',
          `target asks for authentication ${request.code}, not for scram-sha-256`,
        );
      default:
        request satisfies never;
    }
  };

  const message = (type: number, body: MessageReader) => {
    switch (type) {
      case backend.authentication:
        return authentication(body);
      case backend.parameterStatus: {
        const { name, value } = decodeParameterStatus(body);
        if (isAuthenticated) parameters.set(name, value);
        return;
      }
      case backend.backendKeyData:
        key = decodeBackendKeyData(body);
        return;
      case backend.noticeResponse:
        return;
      case backend.errorResponse: {
        const fields = decodeErrorFields(body);
        const sqlState = fields.get('C') ?? '';
        throw new TargetFault('target_refused', `target refused: ${fields.get('M') ?? ''} (${sqlState})`, { sqlState });
      }
      case backend.readyForQuery:
        if (!isAuthenticated || key === undefined) throw new ProtocolViolation('server is ready without a login');
        isOver = true;
        options.ready({ parameters, ...key });
        return;
      default:
        throw new ProtocolViolation(`unexpected message type ${type} during login`);
    }
  };

  return (chunk) => {
    if (isOver) return false;
    try {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      if (pending.length > maxHandshakeBytes) throw new ProtocolViolation('too much was sent during login');
      let at = 0;
      while (!isOver && pending.length - at >= headerLength) {
        const length = frameLengthAt(pending, at);
        if (pending.length - at < length) break;
        message(pending[at] ?? 0, new MessageReader(pending, at + headerLength, at + length));
        at += length;
      }
      pending = pending.subarray(at);
      if (isOver && pending.length > 0) throw new ProtocolViolation('server sent more than it was asked for');
    } catch (error) {
      isOver = true;
      options.failed(error);
    }
    return !isOver;
  };
}

/** Asks the server to cancel what runs on that connection; resolves when the server has taken the request. */
export async function sendCancel(key: CancelKey, signal: AbortSignal): Promise<void> {
  const { endpoint } = await dial(key.dialled, signal);
  const closed = new Promise<void>((resolve) => {
    endpoint.handle({ chunk: () => true, closed: () => resolve(), drained: () => {} });
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  endpoint.write(encodeCancelRequest(key.processId, key.secretKey));
  // The server closes without an answer.
  await closed;
  endpoint.destroy();
}
