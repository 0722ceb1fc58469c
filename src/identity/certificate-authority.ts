/**
 * A small certificate authority for an installation that has no certificates of its own: made once at the first start,
 * it signs the certificates of the gateway and the console, and clients are given its certificate as their one root. It
 * can sign server certificates and nothing below them (path length 0). It has no name constraints: names come from the
 * configuration and may change, while its root is pinned on people's machines for years.
 *
 * The caller keeps the files and reads them again; a key is a `Secret` from the moment it exists.
 */
// The X.509 library finds its ASN.1 schemas through decorators, whose metadata needs this polyfill, loaded first.
import 'reflect-metadata';
import { createPrivateKey, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as ParsedCertificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Random } from '#core/ids.ts';
import type { Clock, Duration, Instant } from '#core/instant.ts';
import { after, before, days, earliest, hours } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const authorityLifetime: Duration = days(3650);
const serverLifetime: Duration = days(90);
/** Renewed in the last third, so that a server that was off for weeks still starts with a certificate that holds. */
const renewalMargin: Duration = days(30);
/** Clients' clocks may be behind ours. */
const backdating: Duration = hours(1);

/** A certificate and its key, as they lie in files: PEM, the key in PKCS#8. */
export type CertifiedKey = { readonly certificatePem: string; readonly privateKeyPem: Secret<string> };
export type Authority = CertifiedKey;

/** What a server is called. At least one name in all. */
export type ServerNames = {
  readonly dns: readonly string[];
  /** IPv4 or IPv6 addresses, such as `127.0.0.1` and `::1`. */
  readonly ips: readonly string[];
};

/** A new authority: self-signed, ECDSA P-256, ten years. */
export async function createAuthority(from: { readonly clock: Clock; readonly random: Random }): Promise<Authority> {
  const now = from.clock.now();
  const keys = await newKeys();
  const serialNumber = newSerial(from.random);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      // The serial tells apart the authorities of two installations on one machine.
      name: [{ CN: [`Sallyport CA ${serialNumber.slice(0, 8)}`] }, { O: ['Sallyport'] }],
      keys,
      serialNumber,
      notBefore: dateOf(before(now, backdating)),
      notAfter: dateOf(after(now, authorityLifetime)),
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificatePem: pemOf(certificate), privateKeyPem: privatePemOf(keys) };
}

/**
 * A new key and a certificate for a TLS server: ECDSA P-256, 90 days, never longer than the authority itself. Names are
 * in the subject alternative name, IP addresses as such, which is where `sslmode=verify-full` and browsers look.
 * @throws TypeError when there is no name at all
 */
export async function issueServerCertificate(
  authority: Authority,
  from: { readonly names: ServerNames; readonly clock: Clock; readonly random: Random },
): Promise<CertifiedKey> {
  const { dns, ips } = from.names;
  const commonName = dns[0] ?? ips[0];
  if (commonName === undefined) throw new TypeError('issue a server certificate: there is no name to put into it');
  const now = from.clock.now();
  const issuer = new ParsedCertificate(authority.certificatePem);
  const signingKey = await importPrivateKey(authority.privateKeyPem);
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create(
    {
      // A common name has 64 characters at most; nobody reads it where alternative names are.
      subject: [{ CN: [commonName.slice(0, 64)] }],
      issuer: issuer.subjectName,
      publicKey: keys.publicKey,
      signingKey,
      serialNumber: newSerial(from.random),
      notBefore: dateOf(before(now, backdating)),
      notAfter: dateOf(earliest(after(now, serverLifetime), issuer.notAfter.getTime() as Instant)),
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension([
          ...dns.map((value) => ({ type: 'dns', value }) as const),
          ...ips.map((value) => ({ type: 'ip', value }) as const),
        ]),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificatePem: pemOf(certificate), privateKeyPem: privatePemOf(keys) };
}

/** Whether a certificate (PEM) ends within 30 days, or has ended. */
export function needsRenewal(certificatePem: string, now: Instant): boolean {
  const endsAt = new X509Certificate(certificatePem).validToDate.getTime() as Instant;
  return now >= before(endsAt, renewalMargin);
}

/** Whether a certificate was signed by the authority's present key and has every one of the names. */
export function covers(
  certificatePem: string,
  authority: { readonly certificatePem: string },
  names: ServerNames,
): boolean {
  const certificate = new X509Certificate(certificatePem);
  const issuer = new X509Certificate(authority.certificatePem);
  return (
    certificate.checkIssued(issuer) &&
    certificate.verify(issuer.publicKey) &&
    names.dns.every((name) => certificate.checkHost(name) !== undefined) &&
    names.ips.every((ip) => certificate.checkIP(ip) !== undefined)
  );
}

/** SHA-256 of the certificate in DER, as `AB:CD:…`: to compare by eye. */
export function fingerprintOf(certificatePem: string): string {
  return new X509Certificate(certificatePem).fingerprint256;
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function importPrivateKey(pem: Secret<string>): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem.reveal()).export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', new Uint8Array(der), algorithm, false, ['sign']);
}

function privatePemOf(keys: webcrypto.CryptoKeyPair): Secret<string> {
  return new Secret(KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString());
}

function pemOf(certificate: ParsedCertificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes. Here 16, the first never zero and its high bit never set. */
function newSerial(random: Random): string {
  const bytes = Uint8Array.from(random(16), (byte, at) => (at === 0 ? (byte & 0x3f) | 0x40 : byte));
  return Buffer.from(bytes).toString('hex');
}

function dateOf(instant: Instant): Date {
  // oxlint-disable-next-line no-restricted-globals -- the library takes a Date; the instant came from the clock
  return new Date(instant);
}
