/**
 * How we prove to a target who we are: SCRAM-SHA-256, bound to its certificate where it offers that. Anything weaker is an
 * answer only to a target whose resource names it (INVARIANT 10): a server that asks for a cleartext or an MD5 password, or
 * for nothing, may not be the one that was registered.
 */
import { createHash } from 'node:crypto';
import type { Authentication } from '#core/role.ts';
import type { Secret } from '#core/secret.ts';
import type { AuthenticationRequest } from '#wire/postgres/backend.ts';
import { ProtocolViolation } from '#wire/postgres/bytes.ts';
import { encodePassword, encodeSaslInitialResponse, encodeSaslResponse } from '#wire/postgres/frontend.ts';
import { createScramClient, scramSha256Plus, type ScramClient, type ScramClientKeys } from '#wire/postgres/scram.ts';
import { TargetFault } from './target-address.ts';

export type Identity = {
  readonly user: string;
  /** For the ways that are weaker than SCRAM. */
  readonly password: Secret<string>;
  /** For the server's salt, so that they can be kept. */
  readonly keys: (salt: Buffer, iterations: number) => Promise<ScramClientKeys>;
};

export type TargetAuthentication = {
  /** What to answer, if anything. Throws `TargetFault`, `ScramFailure` or `ProtocolViolation`, at once where it can. */
  readonly answer: (request: AuthenticationRequest) => Buffer | undefined | Promise<Buffer>;
  /** Nothing was asked for yet. */
  readonly isUnasked: () => boolean;
  readonly isDone: () => boolean;
};

const words = { cleartext: 'a cleartext password', md5: 'an MD5 password', ok: 'no password' } as const;

/** May a target that asks for this be answered, when the weakest way that its resource names is `weakest`? */
export function isTaken(
  weakest: Authentication,
  asked: keyof typeof words,
  channel: { readonly isTls: boolean; readonly hasCertificate: boolean },
): boolean {
  switch (asked) {
    case 'md5':
      return weakest === 'md5' || weakest === 'password';
    case 'cleartext':
      // Never a cleartext secret on a cleartext socket.
      return weakest === 'password' && channel.isTls;
    case 'ok':
      return weakest === 'trust' || (weakest === 'cert' && channel.hasCertificate);
    default:
      return asked satisfies never;
  }
}

export const refusal = (asked: keyof typeof words): TargetFault =>
  new TargetFault('target_refused', `target asks for ${words[asked]}, not for scram-sha-256`);

export const noBinding = (): TargetFault =>
  new TargetFault('target_refused', 'target offers no channel binding, which its resource asks for');

export function authenticateToTarget(options: {
  readonly weakest: Authentication;
  readonly identity: Identity;
  /** `tls-server-end-point` of the server's certificate; undefined without TLS. */
  readonly binding: Buffer | undefined;
  readonly isTls: boolean;
  readonly hasCertificate: boolean;
  readonly nonce: string;
}): TargetAuthentication {
  const { weakest, identity, binding } = options;
  let client: ScramClient | undefined;
  let step: 'nothing' | 'first' | 'final' | 'password' | 'proven' | 'done' = 'nothing';
  const weaker = (asked: keyof typeof words): string => {
    if (!isTaken(weakest, asked, options)) throw refusal(asked);
    return identity.password.reveal();
  };
  const inTurn = (expected: typeof step, next: typeof step) => {
    if (step !== expected) throw new ProtocolViolation('authentication out of turn');
    step = next;
  };
  return {
    isUnasked: () => step === 'nothing',
    isDone: () => step === 'done',
    answer(request) {
      switch (request.kind) {
        case 'sasl':
          inTurn('nothing', 'first');
          if (
            weakest === 'scram-sha-256-plus' &&
            (binding === undefined || !request.mechanisms.includes(scramSha256Plus))
          )
            throw noBinding();
          client = createScramClient({ ...options, keys: identity.keys, offered: request.mechanisms });
          return encodeSaslInitialResponse(client.mechanism, client.first());
        case 'sasl_continue':
          inTurn('first', 'final');
          return client?.final(request.data).then(encodeSaslResponse);
        case 'sasl_final':
          inTurn('final', 'proven');
          client?.verify(request.data);
          return undefined;
        case 'md5': {
          const password = weaker('md5');
          inTurn('nothing', 'password');
          const md5 = (...parts: (string | Buffer)[]) =>
            parts.reduce((hash, part) => hash.update(part), createHash('md5')).digest('hex');
          return encodePassword(`md5${md5(md5(password, identity.user), request.salt)}`);
        }
        case 'cleartext': {
          const password = weaker('cleartext');
          inTurn('nothing', 'password');
          return encodePassword(password);
        }
        case 'ok':
          if (step === 'nothing') weaker('ok');
          else if (step !== 'proven' && step !== 'password') throw new ProtocolViolation('authentication out of turn');
          step = 'done';
          return undefined;
        case 'other':
          throw new TargetFault(
            'target_refused',
            `target asks for authentication ${request.code}, not for scram-sha-256`,
          );
        default:
          return request satisfies never;
      }
    },
  };
}
