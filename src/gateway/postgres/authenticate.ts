/**
 * SCRAM-SHA-256(-PLUS) with the client. INVARIANT 14: for a user name that nobody has, the same messages go back and forth
 * as for one with a wrong password, with a salt that stays the same, and the answer is the same.
 */
import type { Random } from '#core/ids.ts';
import { ProtocolViolation } from '#wire/postgres/bytes.ts';
import { decodeSaslInitialResponse, frontend } from '#wire/postgres/frontend.ts';
import {
  encodeAuthenticationSasl,
  encodeAuthenticationSaslContinue,
  encodeAuthenticationSaslFinal,
} from '#wire/postgres/backend.ts';
import {
  createScramServer,
  mockScramVerifier,
  parseScramVerifier,
  scramSha256,
  scramSha256Plus,
  ScramFailure,
} from '#wire/postgres/scram.ts';
import type { Hub } from '../engine.ts';
import type { CredentialId } from '#core/ids.ts';
import type { HandshakeReader } from './handshake-reader.ts';

export type AuthenticateOutcome =
  | { readonly kind: 'authenticated'; readonly credential: CredentialId }
  | { readonly kind: 'refused' };

/** Throws `ProtocolViolation` for what is no SCRAM exchange at all. AuthenticationOk is not sent yet. */
export async function authenticate(
  ask: {
    readonly user: string;
    readonly reader: HandshakeReader;
    readonly send: (bytes: Buffer) => void;
    /** Of our certificate, on TLS. */
    readonly binding: Buffer | undefined;
  },
  context: {
    readonly hub: Pick<Hub, 'findCredential'>;
    readonly random: Random;
    readonly mockSecret: Uint8Array;
  },
): Promise<AuthenticateOutcome> {
  const { reader, send, binding } = ask;
  const found = await context.hub.findCredential(ask.user);
  const real = found === undefined ? undefined : parseScramVerifier(found.verifier);
  const mock = mockScramVerifier(ask.user, context.mockSecret);
  const offered = binding === undefined ? [scramSha256] : [scramSha256Plus, scramSha256];
  send(encodeAuthenticationSasl(offered));
  const initial = await saslMessage(reader);
  const { mechanism, response } = decodeSaslInitialResponse(initial);
  if (!offered.includes(mechanism) || response === undefined)
    throw new ProtocolViolation('client selected another mechanism than was offered');
  const server = createScramServer({
    verifier: real ?? mock,
    mechanism,
    binding,
    nonce: Buffer.from(context.random(18)).toString('base64'),
  });
  try {
    send(encodeAuthenticationSaslContinue(server.first(response)));
    const final = server.final((await saslMessage(reader)).rest());
    if (final === undefined || found === undefined || real === undefined) return { kind: 'refused' };
    send(encodeAuthenticationSaslFinal(final));
    return { kind: 'authenticated', credential: found.credential };
  } catch (error) {
    if (error instanceof ScramFailure) return { kind: 'refused' };
    throw error;
  }
}

async function saslMessage(reader: HandshakeReader) {
  const { type, body } = await reader.message();
  if (type !== frontend.authentication) throw new ProtocolViolation('expected a SASL response');
  return body;
}
