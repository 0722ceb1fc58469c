import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, createServer } from 'node:tls';
import { createKeyRing } from '#identity/sealing.ts';
import { testDatabase } from '#test/support/postgres.ts';
import { certificateFiles, openAuthority, ownCertificate } from './certificates.ts';
import { openLogSigner } from './log-signer.ts';
import { openMasterKey } from './master-key.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';
import { realSystem } from './system.ts';

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sally-keys-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('INVARIANT 10: key files are for their owner alone, and one that others may read is refused', (t) => {
  const file = join(folderFor(t), 'keys', 'secret');
  writePrivateFile(file, 'x');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(join(file, '..')).mode & 0o777, 0o700);
  assert.equal(readPrivateFile(file), 'x');
  chmodSync(file, 0o640);
  assert.throws(() => readPrivateFile(file), { code: 'key_file_open', hint: /chmod 600/ });
});

test('the master key is made once and read again; a damaged one is refused, never replaced', (t) => {
  const file = join(folderFor(t), 'master.key');
  const key = openMasterKey(file, realSystem.random).reveal();
  assert.deepEqual(openMasterKey(file, realSystem.random).reveal(), key);
  writeFileSync(file, 'not a key\n');
  assert.throws(() => openMasterKey(file, realSystem.random), { code: 'key_file_damaged' });
  assert.equal(readFileSync(file, 'utf8'), 'not a key\n');
});

test('INVARIANT 10: the key of the log lies in the store, sealed, and is the same for every process', async (t) => {
  const { db } = await testDatabase(t);
  const keyRing = createKeyRing(openMasterKey(join(folderFor(t), 'master.key'), realSystem.random), realSystem);
  const open = () => openLogSigner({ db, keyRing, random: realSystem.random, name: 'sally.example/log' });
  const [first, second] = await Promise.all([open(), open()]);
  assert.equal(first.vkey, second.vkey);
  assert.equal((await open()).vkey, first.vkey);
  const rows = await db.selectFrom('sealed_setting').selectAll().execute();
  assert.equal(rows.length, 1);
  assert.ok(!Buffer.from(rows[0]?.sealed ?? []).includes('PRIVATE+KEY'));
});

/** What a client sees of a certificate: whether it trusts it for the name. */
async function handshake(cert: { cert: string; key: string }, ca: string, name: string): Promise<string | undefined> {
  const server = createServer(cert, (socket) => {
    // A client that doesn't trust us hangs up in the middle.
    socket.on('error', () => undefined);
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    return await new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port, ca, servername: name }, () => {
        socket.end();
        resolve(undefined);
      });
      socket.once('error', (error: Error & { code?: string }) => resolve(error.code));
    });
  } finally {
    server.close();
  }
}

test('the authority stays, its certificates follow the names, and clients trust them for these names only', async (t) => {
  const folder = folderFor(t);
  const authority = await openAuthority(folder, realSystem);
  assert.equal((await openAuthority(folder, realSystem)).certificatePem, authority.certificatePem);
  const of = (dns: readonly string[]) =>
    ownCertificate({ folder, name: 'gateway', authority, names: { dns, ips: ['127.0.0.1'] }, system: realSystem });
  const first = await of(['localhost']);
  assert.equal(await handshake(first.current(), authority.certificatePem, 'localhost'), undefined);
  assert.equal(
    await handshake(first.current(), authority.certificatePem, 'db.example'),
    'ERR_TLS_CERT_ALTNAME_INVALID',
  );
  assert.equal((await of(['localhost'])).current().cert, first.current().cert);
  const second = await of(['localhost', 'db.example']);
  assert.notEqual(second.current().cert, first.current().cert);
  assert.equal(await handshake(second.current(), authority.certificatePem, 'db.example'), undefined);
});

test('files of one’s own are read again when they change; what can’t be used leaves the last in service', async (t) => {
  const folder = folderFor(t);
  const authority = await openAuthority(folder, realSystem);
  const issue = (name: string) =>
    ownCertificate({ folder, name, authority, names: { dns: ['localhost'], ips: [] }, system: realSystem });
  const [one, two] = [await issue('one'), await issue('two')];
  const files = { cert: join(folder, 'mine.crt'), key: join(folder, 'mine.key') };
  let age = 0;
  const put = (pair: { cert: string; key: string }) => {
    writeFileSync(files.cert, pair.cert);
    writeFileSync(files.key, pair.key);
    age += 1;
    for (const file of [files.cert, files.key]) utimesSync(file, age, age);
  };
  put(one.current());
  const source = certificateFiles(files);
  assert.equal(await source.refresh(), false);
  put(two.current());
  assert.equal(await source.refresh(), true);
  assert.deepEqual(source.current(), two.current());
  put({ cert: one.current().cert, key: two.current().key });
  await assert.rejects(async () => await source.refresh());
  assert.deepEqual(source.current(), two.current());
  assert.throws(() => certificateFiles(files), { code: 'certificate_unusable' });
});
