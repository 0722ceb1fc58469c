import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Instant } from '#core/instant.ts';
import { createAuthority, issueServerCertificate } from '#identity/certificate-authority.ts';
import { startMockApi } from './support/mock-api.ts';

const root = resolve(import.meta.dirname, '..');

test('a server with a certificate of a private CA is trusted when its root is named, and later without naming it', async (t) => {
  const from = {
    clock: { now: () => Date.now() as Instant },
    random: (length: number) => new Uint8Array(randomBytes(length)),
  };
  const authority = await createAuthority(from);
  const { certificatePem, privateKeyPem } = await issueServerCertificate(authority, {
    names: { dns: ['localhost'], ips: [] },
    ...from,
  });
  const mock = await startMockApi({ tls: { key: privateKeyPem.reveal(), cert: certificatePem } });
  const home = mkdtempSync(join(tmpdir(), 'sally-trust-'));
  t.after(async () => {
    await mock.close();
    rmSync(home, { recursive: true, force: true });
  });
  writeFileSync(join(home, 'root.pem'), authority.certificatePem);
  writeFileSync(join(home, 'nothing.pem'), 'no certificate');
  const sally = async (args: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const child = spawn(join(root, 'bin/sally'), args, {
      cwd: home,
      env: {
        PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
        HOME: home,
        SALLY_SERVER: mock.url,
        // The stand-in for the browser trusts the root by Node's own variable.
        SALLY_BROWSER: `env NODE_EXTRA_CA_CERTS=${join(home, 'root.pem')} ${process.execPath} ${join(root, 'test/support/fake-browser.ts')}`,
        ...more,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, err };
  };

  const untrusted = await sally(['login']);
  assert.equal(untrusted.status, 5);
  assert.match(untrusted.err, /certificate is not trusted[^]*SALLY_CA_FILE/);
  const wrong = await sally(['login'], { SALLY_CA_FILE: 'nothing.pem' });
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /there is no certificate in it/);
  const signedIn = await sally(['login', '--timeout', '30s'], { SALLY_CA_FILE: 'root.pem' });
  assert.equal(signedIn.status, 0, signedIn.err);
  // The file was remembered at the sign-in.
  assert.equal((await sally(['whoami'])).status, 0);
});
