/**
 * The gateway as the client of a target: the login on a dialled connection, which is then handed over to the proxy. It
 * asks for protocol 3.2, for its longer cancel keys, and takes 3.0; the client's version is another matter, since the two
 * differ in nothing else.
 */
import { frameLengthAt, headerLength, MessageReader, ownCopy, ProtocolViolation } from '#wire/postgres/bytes.ts';
import {
  backend,
  decodeAuthentication,
  decodeBackendKeyData,
  decodeErrorFields,
  decodeNegotiateProtocolVersion,
  decodeParameterStatus,
} from '#wire/postgres/backend.ts';
import { encodeCancelRequest, encodeStartup } from '#wire/postgres/startup.ts';
import type { Random } from '#core/ids.ts';
import type { TargetRoute } from '../control-plane.ts';
import type { Reached } from '../fault-points.ts';
import { dial, type Connected } from './dial.ts';
import type { Endpoint } from './endpoint.ts';
import { dialOptions, TargetFault, type Dialled } from './target-address.ts';
import { authenticateToTarget, type Identity, type TargetAuthentication } from './target-authentication.ts';

/** Enough to cancel what runs on one connection of a target. */
export type CancelKey = { readonly dialled: Dialled; readonly processId: number; readonly secretKey: Buffer };

export type Upstream = {
  /** Nothing is read from it until it gets its handler. */
  readonly endpoint: Endpoint;
  /** As the server reported them at the start. */
  readonly parameters: ReadonlyMap<string, string>;
  /** NoticeResponse messages of the login, whole, for the client. */
  readonly notices: readonly Buffer[];
  /** What came behind the login, at any time: notices, changed parameters. */
  readonly early: Buffer;
  readonly cancelKey: CancelKey;
};

export type UpstreamLogin = Identity & { readonly startup: ReadonlyMap<string, string> };

const maxHandshakeBytes = 262_144;
/** Of protocol 3. */
const newestMinor = 2;

type UpstreamContext = {
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly reached?: Reached | undefined;
  /** A connection to there that was begun before. */
  readonly connected?: Promise<Connected> | undefined;
};

/** Opens and authenticates a connection. Throws `TargetFault`; everything is closed then. */
export async function openUpstream(
  access: TargetRoute,
  login: UpstreamLogin,
  context: UpstreamContext,
): Promise<Upstream> {
  const outcome = await open(access, login, context, newestMinor);
  // A server negotiates; poolers that know 3.0 alone (PgBouncer 1.18) call the packet broken, and close.
  return outcome === 'another version'
    ? ((await open(access, login, { ...context, connected: undefined }, 0)) as Upstream)
    : outcome;
}

async function open(
  access: TargetRoute,
  login: UpstreamLogin,
  context: UpstreamContext,
  minor: number,
): Promise<Upstream | 'another version'> {
  const dialled = dialOptions(access);
  const { endpoint, binding } = await (context.connected ?? dial(dialled, context.signal));
  context.reached?.('target_dialled');
  const { promise, resolve, reject } = Promise.withResolvers<Upstream>();
  const onAbort = () => reject(new TargetFault('target_unreachable', 'target did not answer in time'));
  context.signal.addEventListener('abort', onAbort, { once: true });
  const authentication = authenticateToTarget({
    weakest: access.authentication ?? 'scram-sha-256',
    identity: login,
    binding,
    isTls: dialled.tls !== undefined,
    hasCertificate: dialled.tls?.context.cert !== undefined,
    nonce: Buffer.from(context.random(18)).toString('base64'),
  });
  const handshake = createHandshake({
    send: (bytes) => endpoint.write(bytes),
    authentication,
    minor,
    ready: ({ processId, secretKey, ...ready }) => {
      endpoint.pause();
      resolve({ endpoint, ...ready, cancelKey: { dialled, processId, secretKey } });
    },
    failed: reject,
  });
  endpoint.handle({
    chunk: (chunk, length) => handshake(Buffer.from(chunk.subarray(0, length))),
    closed: (cause) =>
      reject(new TargetFault('target_refused', 'target closed the connection', cause === undefined ? {} : { cause })),
    drained: () => {},
  });
  endpoint.write(
    encodeStartup(minor, new Map([['user', login.user], ['database', access.database], ...login.startup])),
  );
  try {
    return await promise;
  } catch (error) {
    endpoint.destroy();
    const said = error instanceof TargetFault ? error.sqlState : undefined;
    if (minor > 0 && authentication.isUnasked() && (said === '08P01' || said === '0A000')) return 'another version';
    throw error instanceof TargetFault
      ? error
      : new TargetFault('target_refused', 'connection to the target could not be opened', { cause: error });
  } finally {
    context.signal.removeEventListener('abort', onAbort);
  }
}

type Ready = {
  readonly parameters: ReadonlyMap<string, string>;
  readonly notices: readonly Buffer[];
  readonly early: Buffer;
  readonly processId: number;
  readonly secretKey: Buffer;
};

/** Chunks in, answers out, until ReadyForQuery. Returns whether to read on. */
function createHandshake(options: {
  readonly send: (bytes: Buffer) => void;
  readonly authentication: TargetAuthentication;
  readonly minor: number;
  readonly ready: (ready: Ready) => void;
  readonly failed: (error: unknown) => void;
}): (chunk: Buffer) => boolean {
  const { authentication } = options;
  const parameters = new Map<string, string>();
  const notices: Buffer[] = [];
  let pending: Buffer = Buffer.alloc(0);
  let taken = 0;
  let hasNegotiated = false;
  let key: { readonly processId: number; readonly secretKey: Buffer } | undefined;
  let isOver = false;

  const authenticate = (body: MessageReader) => {
    const answer = authentication.answer(decodeAuthentication(body));
    if (answer instanceof Promise) answer.then(options.send, options.failed);
    else if (answer !== undefined) options.send(answer);
  };

  const negotiate = (body: MessageReader) => {
    const { major, minor, unknownOptions } = decodeNegotiateProtocolVersion(body);
    // It may only come down from what was asked for, once, and no options were.
    if (hasNegotiated || major !== 3 || minor >= options.minor || unknownOptions.length > 0)
      throw new ProtocolViolation('server negotiates what was not asked for');
    hasNegotiated = true;
  };

  const message = (type: number, body: MessageReader, frame: Buffer) => {
    switch (type) {
      case backend.authentication:
        return authenticate(body);
      case backend.negotiateProtocolVersion:
        return negotiate(body);
      case backend.parameterStatus: {
        const { name, value } = decodeParameterStatus(body);
        if (authentication.isDone()) parameters.set(name, value);
        return;
      }
      case backend.backendKeyData:
        key = decodeBackendKeyData(body);
        return;
      case backend.noticeResponse:
        // Nobody's words reach the client before it is known whose they are.
        if (authentication.isDone()) notices.push(Buffer.from(frame));
        return;
      case backend.errorResponse: {
        const fields = decodeErrorFields(body);
        const sqlState = fields.get('C') ?? '';
        throw new TargetFault('target_refused', `target refused: ${fields.get('M') ?? ''} (${sqlState})`, { sqlState });
      }
      case backend.readyForQuery:
        if (!authentication.isDone() || key === undefined)
          throw new ProtocolViolation('server is ready without a login');
        isOver = true;
        return;
      default:
        throw new ProtocolViolation(`unexpected message type ${type} during login`);
    }
  };

  return (chunk) => {
    if (isOver) return false;
    try {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      taken += chunk.length;
      if (taken > maxHandshakeBytes) throw new ProtocolViolation('too much was sent during login');
      let at = 0;
      while (!isOver && pending.length - at >= headerLength) {
        const length = frameLengthAt(pending, at);
        if (pending.length - at < length) break;
        message(
          pending[at] ?? 0,
          new MessageReader(pending, at + headerLength, at + length),
          pending.subarray(at, at + length),
        );
        at += length;
      }
      pending = pending.subarray(at);
      if (isOver && key !== undefined) options.ready({ parameters, notices, early: ownCopy(pending), ...key });
    } catch (error) {
      isOver = true;
      options.failed(error);
    }
    return !isOver;
  };
}

/**
 * Asks the server to cancel what runs on that connection; resolves when the server has taken the request. `isWanted` is
 * asked when the way to the server is open: the statement may have ended meanwhile, and another run.
 */
export async function sendCancel(key: CancelKey, isWanted: () => boolean, signal: AbortSignal): Promise<void> {
  const { endpoint } = await dial(key.dialled, signal);
  try {
    if (!isWanted()) return;
    const closed = new Promise<void>((resolve) => {
      endpoint.handle({ chunk: () => true, closed: () => resolve(), drained: () => {} });
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    endpoint.write(encodeCancelRequest(key.processId, key.secretKey));
    // The server closes without an answer, as soon as it has sent the signal.
    await closed;
  } finally {
    endpoint.destroy();
  }
}
