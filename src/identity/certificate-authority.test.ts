import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { isIP, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { inspect } from 'node:util';
import { after, days, hours, type Instant } from '#core/instant.ts';
import {
  covers,
  createAuthority,
  fingerprintOf,
  issueServerCertificate,
  needsRenewal,
  type Authority,
} from './certificate-authority.ts';

const random = (length: number) => new Uint8Array(randomBytes(length));
const at = (now: Instant) => ({ clock: { now: () => now }, random });
const today = Math.floor(Date.now() / 1000) * 1000;
const now = today as Instant;
const names = { dns: ['localhost', 'sally.example'], ips: ['127.0.0.1', '::1'] };

const authority = await createAuthority(at(now));
const server = await issueServerCertificate(authority, { names, ...at(now) });

/** What a TLS client that trusts the root gets of a server at 127.0.0.1 that it knows by the name. */
async function handshake(root: Authority, name: string): Promise<string> {
  const listener = createServer({ cert: server.certificatePem, key: server.privateKeyPem.reveal() }, (socket) => {
    socket.on('error', () => undefined);
    socket.end();
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  try {
    return await new Promise((resolve) => {
      const socket = connect(
        {
          host: '127.0.0.1',
          port: (listener.address() as AddressInfo).port,
          ca: root.certificatePem,
          // A server name (SNI) can't be an address; what is checked then is the address connected to.
          ...(isIP(name) === 0 ? { servername: name } : {}),
        },
        () => resolve(socket.getProtocol() ?? ''),
      );
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
      socket.resume();
    });
  } finally {
    await new Promise((resolve) => listener.close(resolve));
  }
}

for (const [name, expected] of [
  ['127.0.0.1', 'TLSv1.3'],
  ['localhost', 'TLSv1.3'],
  ['sally.example', 'TLSv1.3'],
  ['evil.test', 'ERR_TLS_CERT_ALTNAME_INVALID'],
] as const)
  test(`a TLS client that trusts the root and expects ${name}: ${expected}`, async () => {
    assert.equal(await handshake(authority, name), expected);
  });

test('a TLS client that trusts another root gets nowhere', async () => {
  const outcome = await handshake(await createAuthority(at(now)), 'localhost');
  assert.match(
    outcome,
    /^(?:UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|CERT_SIGNATURE_FAILURE)$/,
  );
});

test('a client finds each name in the certificate and no other', () => {
  const certificate = new X509Certificate(server.certificatePem);
  for (const name of names.dns) assert.equal(certificate.checkHost(name), name);
  for (const ip of names.ips) assert.ok(certificate.checkIP(ip));
  for (const other of ['evil.test', 'a.localhost', 'example']) assert.equal(certificate.checkHost(other), undefined);
  assert.equal(certificate.checkIP('127.0.0.2'), undefined);
});

test('the authority signs servers only, the server signs nothing', () => {
  const root = new X509Certificate(authority.certificatePem);
  const leaf = new X509Certificate(server.certificatePem);
  assert.ok(root.ca);
  // BasicConstraints in DER: CA true, path length 0.
  assert.ok(root.raw.includes(Buffer.from('30060101ff020100', 'hex')));
  assert.ok(!leaf.ca);
  assert.ok(root.verify(root.publicKey));
  assert.ok(leaf.verify(root.publicKey));
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'extended key usage: serverAuth');
  assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  assert.notEqual(leaf.serialNumber, root.serialNumber);
});

test('the authority holds for ten years, a server certificate for 90 days', () => {
  assert.equal(new X509Certificate(authority.certificatePem).validToDate.getTime(), after(now, days(3650)));
  const leaf = new X509Certificate(server.certificatePem);
  assert.equal(leaf.validToDate.getTime(), after(now, days(90)));
  assert.equal(leaf.validFromDate.getTime(), now - hours(1));
});

test('INVARIANT 9: a server certificate never outlives its authority', async () => {
  const late = after(now, days(3600));
  const { certificatePem } = await issueServerCertificate(authority, { names, ...at(late) });
  assert.equal(new X509Certificate(certificatePem).validToDate.getTime(), after(now, days(3650)));
});

test('a certificate is renewed in its last 30 days', () => {
  const due = after(now, days(60));
  assert.ok(!needsRenewal(server.certificatePem, (due - 1) as Instant));
  assert.ok(needsRenewal(server.certificatePem, due));
  assert.ok(needsRenewal(server.certificatePem, after(now, days(200))));
});

test('a certificate covers its names under its authority, and no others', async () => {
  assert.ok(covers(server.certificatePem, authority, names));
  assert.ok(covers(server.certificatePem, authority, { dns: ['localhost'], ips: [] }));
  assert.ok(!covers(server.certificatePem, authority, { dns: ['localhost', 'new.example'], ips: [] }));
  assert.ok(!covers(server.certificatePem, authority, { dns: [], ips: ['192.0.2.1'] }));
  assert.ok(!covers(server.certificatePem, await createAuthority(at(now)), names));
});

test('an authority that was read from its files goes on as before', async () => {
  const reread = { ...authority };
  const again = await issueServerCertificate(reread, { names: { dns: ['a.example'], ips: [] }, ...at(now) });
  assert.ok(covers(again.certificatePem, authority, { dns: ['a.example'], ips: [] }));
});

test('a certificate without a name is a mistake of ours', async () => {
  await assert.rejects(issueServerCertificate(authority, { names: { dns: [], ips: [] }, ...at(now) }), TypeError);
});

test('INVARIANT 10: keys print as placeholders', () => {
  for (const made of [authority, server]) {
    assert.ok(!inspect(made).includes('PRIVATE'));
    assert.ok(!JSON.stringify(made).includes('PRIVATE'));
    assert.match(made.privateKeyPem.reveal(), /^-----BEGIN PRIVATE KEY-----\n/);
  }
  assert.match(fingerprintOf(authority.certificatePem), /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
test(
  'openssl verifies the chain strictly, for each name',
  { skip: hasOpenssl ? false : 'openssl isn’t installed' },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'sally-ca-'));
    try {
      writeFileSync(join(folder, 'ca.pem'), authority.certificatePem);
      writeFileSync(join(folder, 'server.pem'), server.certificatePem);
      const verify = (...more: string[]) =>
        spawnSync(
          'openssl',
          ['verify', '-x509_strict', '-purpose', 'sslserver', ...more, '-CAfile', 'ca.pem', 'server.pem'],
          { cwd: folder, encoding: 'utf8' },
        );
      for (const good of [[], ['-verify_hostname', 'localhost'], ['-verify_ip', '127.0.0.1'], ['-verify_ip', '::1']]) {
        const { status, stdout, stderr } = verify(...good);
        assert.equal(status, 0, stdout + stderr);
      }
      assert.notEqual(verify('-verify_hostname', 'evil.test').status, 0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
