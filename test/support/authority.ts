/** An authority for tests, with server certificates as the product makes them, and client certificates, which it makes none of. */
import 'reflect-metadata';
import { createPrivateKey, KeyObject, randomBytes, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Instant } from '#core/instant.ts';
import { createAuthority, issueServerCertificate, type Authority } from '#identity/certificate-authority.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** All of it PEM. */
export type TestAuthority = {
  readonly ca: string;
  readonly server: (names: { readonly dns: string; readonly ip: string }) => Promise<PemPair>;
  readonly client: (commonName: string) => Promise<PemPair>;
};
export type PemPair = { readonly chain: string; readonly key: string };

/** One that is, with all its certificates, so many days old. */
export async function testAuthority(ageDays = 0): Promise<TestAuthority> {
  const from = { clock: { now: () => (Date.now() - ageDays * 86_400_000) as Instant }, random: randomBytes };
  const authority = await createAuthority(from);
  return {
    ca: authority.certificatePem,
    async server({ dns, ip }) {
      const made = await issueServerCertificate(authority, { ...from, names: { dns: [dns], ips: [ip] } });
      return { chain: made.certificatePem, key: made.privateKeyPem.reveal() };
    },
    client: (commonName) => clientCertificate(authority, commonName),
  };
}

/** An hour long. */
async function clientCertificate(authority: Authority, commonName: string): Promise<PemPair> {
  const issuer = new X509Certificate(authority.certificatePem);
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const der = createPrivateKey(authority.privateKeyPem.reveal()).export({ type: 'pkcs8', format: 'der' });
  const certificate = await X509CertificateGenerator.create(
    {
      subject: [{ CN: [commonName] }],
      issuer: issuer.subjectName,
      publicKey: keys.publicKey,
      signingKey: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']),
      serialNumber: randomBytes(15).toString('hex').replace(/^./, '1'),
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 3_600_000),
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
      ],
    },
    webcrypto,
  );
  return {
    chain: `${certificate.toString('pem')}\n`,
    key: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
