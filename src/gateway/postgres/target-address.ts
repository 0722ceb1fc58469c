/**
 * From a registered target to what may be dialled. INVARIANT 11: only the address of `TargetAccess` is ever dialled, and
 * without TLS only this very machine.
 */
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';
import { isIP } from 'node:net';
import type { TargetAccess } from '../control-plane.ts';

export class TargetFault extends Error {
  /** What the server said, when it said something. */
  readonly sqlState: string | undefined;
  readonly code: 'target_unreachable' | 'target_refused' | 'target_misconfigured';
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

export type Dialled = {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly tls: ConnectionOptions | undefined;
};

/** Throws `target_misconfigured` for a cleartext connection that leaves the machine. */
export function dialOptions(access: TargetAccess): Dialled {
  const { address, tls } = access;
  if (tls.mode === 'disable') {
    if ('socketPath' in address) return { address: { path: address.socketPath }, tls: undefined };
    if (!isLoopback(address.host))
      throw new TargetFault(
        'target_misconfigured',
        `resource \`${access.resource}\` is not on this machine, so it needs tls`,
      );
    return { address, tls: undefined };
  }
  if ('socketPath' in address) return { address: { path: address.socketPath }, tls: undefined };
  const name = tls.serverName ?? address.host;
  return {
    address,
    tls: {
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      // An IP address can't be sent as SNI; the certificate is checked against it all the same.
      ...(isIP(name) === 0 ? { servername: name } : {}),
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['postgresql'],
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    },
  };
}
