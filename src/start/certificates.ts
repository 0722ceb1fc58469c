/**
 * Certificates: a small authority of our own, made at the first start, and what it issues; or files of one's own, read again
 * when they change. Listeners ask for the present certificate at each connection, so nothing needs a restart.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Secret } from '#core/secret.ts';
import {
  covers,
  createAuthority,
  issueServerCertificate,
  needsRenewal,
  type Authority,
  type CertifiedKey,
  type ServerNames,
} from '#identity/certificate-authority.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';
import { StartError } from './start-error.ts';
import type { System } from './system.ts';

export type ServedCertificate = { readonly cert: string; readonly key: string };

/** The present certificate; `refresh` looks whether there is a newer one and answers whether there was. */
export type CertificateSource = {
  readonly current: () => ServedCertificate;
  readonly refresh: () => Promise<boolean>;
};

const paths = (folder: string, name: string) => ({
  cert: join(folder, `${name}.crt`),
  key: join(folder, `${name}.key`),
});

export async function openAuthority(
  folder: string,
  system: System,
): Promise<Authority & { readonly certFile: string }> {
  const { cert, key } = paths(folder, 'ca');
  const known = readPair(cert, key);
  if (known !== undefined) return { ...known, certFile: cert };
  const made = await createAuthority(system);
  writePair(cert, key, made);
  return { ...made, certFile: cert };
}

/** A certificate of our own authority for the names, renewed in time and when the names change. */
export async function ownCertificate(from: {
  readonly folder: string;
  readonly name: string;
  readonly authority: Authority;
  readonly names: ServerNames;
  readonly system: System;
}): Promise<CertificateSource & { readonly certFile: string; readonly keyFile: string }> {
  const { folder, name, authority, names, system } = from;
  const { cert, key } = paths(folder, name);
  let pair = readPair(cert, key);
  const refresh = async (): Promise<boolean> => {
    if (
      pair !== undefined &&
      !needsRenewal(pair.certificatePem, system.clock.now()) &&
      covers(pair.certificatePem, authority, names)
    )
      return false;
    pair = await issueServerCertificate(authority, { names, ...system });
    writePair(cert, key, pair);
    return true;
  };
  await refresh();
  return { current: () => served(pair), refresh, certFile: cert, keyFile: key };
}

/** Files of one's own. What can't be used is refused at the start, and later left aside for the last that could. */
export function certificateFiles(files: { readonly cert: string; readonly key: string }): CertificateSource {
  const stamp = (): string => [files.cert, files.key].map((path) => `${statSync(path).mtimeMs}`).join(' ');
  const read = (): ServedCertificate => {
    const pair = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
    createSecureContext({ ...pair, minVersion: 'TLSv1.2' });
    return pair;
  };
  let last: string;
  let current: ServedCertificate;
  try {
    last = stamp();
    current = read();
  } catch (cause) {
    throw new StartError(
      'certificate_unusable',
      `can't use the certificate \`${files.cert}\` with the key \`${files.key}\``,
      {
        hint: 'both must be readable PEM files that belong together',
        cause,
      },
    );
  }
  return {
    current: () => current,
    refresh: async () => {
      const now = stamp();
      if (now === last) return await Promise.resolve(false);
      current = read();
      last = now;
      return await Promise.resolve(true);
    },
  };
}

function served(pair: CertifiedKey | undefined): ServedCertificate {
  if (pair === undefined) throw new Error('serve a certificate: there is none yet');
  return { cert: pair.certificatePem, key: pair.privateKeyPem.reveal() };
}

function readPair(cert: string, key: string): CertifiedKey | undefined {
  const privateKeyPem = readPrivateFile(key);
  if (privateKeyPem === undefined) return undefined;
  return { certificatePem: readFileSync(cert, 'utf8'), privateKeyPem: new Secret(privateKeyPem) };
}

function writePair(cert: string, key: string, pair: CertifiedKey): void {
  // The certificate first: a key without one would be found and used at the next start.
  writePrivateFile(cert, pair.certificatePem, 0o644);
  writePrivateFile(key, pair.privateKeyPem.reveal());
}
