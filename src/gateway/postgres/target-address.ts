/**
 * From a registered target to what may be dialled. INVARIANT 11: only the address of `TargetRoute` is ever dialled, and
 * without TLS only this very machine.
 */
import { constants } from 'node:crypto';
import { checkServerIdentity, type ConnectionOptions, type SecureContextOptions } from 'node:tls';
import { isIP } from 'node:net';
import type { TargetRoute } from '../control-plane.ts';

export class TargetFault extends Error {
  /** What the server said, when it said something. */
  readonly sqlState: string | undefined;
  readonly code: 'target_unreachable' | 'target_refused' | 'target_misconfigured' | 'wrong_database' | 'role_refused';
  constructor(code: TargetFault['code'], message: string, options: ErrorOptions & { sqlState?: string } = {}) {
    super(message, options);
    this.sqlState = options.sqlState;
    this.code = code;
    this.name = 'TargetFault';
  }
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' ||
  host === '::1' ||
  host === '::ffff:127.0.0.1' ||
  (isIP(host) === 4 && host.startsWith('127.'));

export type DialledTls = {
  /** Of which one can be made for many connections: certificates and limits. */
  readonly context: SecureContextOptions;
  readonly connection: ConnectionOptions;
};

export type Dialled = {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly tls: DialledTls | undefined;
  /** TLS from the first byte, rather than after a request. */
  readonly isDirect: boolean;
};

/** Throws `target_misconfigured` for a cleartext connection that leaves the machine. */
export function dialOptions(access: TargetRoute): Dialled {
  const { address, tls } = access;
  if (tls.mode === 'disable') {
    if ('socketPath' in address) return { address: { path: address.socketPath }, tls: undefined, isDirect: false };
    if (!isLoopback(address.host))
      throw new TargetFault(
        'target_misconfigured',
        `resource \`${access.resource}\` is not on this machine, so it needs tls`,
      );
    return { address, tls: undefined, isDirect: false };
  }
  if ('socketPath' in address) return { address: { path: address.socketPath }, tls: undefined, isDirect: false };
  const name = tls.serverName ?? address.host;
  return {
    address,
    isDirect: tls.direct === true,
    tls: {
      context: {
        // Whatever is in the file is trusted by itself: an intermediate, or the server's own certificate as a pin.
        ...(tls.ca === undefined ? {} : { ca: tls.ca, allowPartialTrustChain: true }),
        ...(tls.certificate === undefined ? {} : { cert: tls.certificate.chain, key: tls.certificate.key.reveal() }),
        // TLS 1.2 could be negotiated anew in mid-session, with another certificate; no PostgreSQL does.
        secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
        minVersion: 'TLSv1.2',
      },
      connection: {
        // An IP address can't be sent as SNI; the certificate is checked against it all the same.
        ...(isIP(name) === 0 ? { servername: name } : {}),
        rejectUnauthorized: true,
        ALPNProtocols: ['postgresql'],
        checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
      },
    },
  };
}
