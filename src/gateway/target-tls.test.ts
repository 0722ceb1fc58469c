import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { connect as tlsConnect, TLSSocket } from 'node:tls';
import { Secret } from '#core/secret.ts';
import { testAuthority } from '#test/support/authority.ts';
import { testTarget } from '#test/support/postgres.ts';
import { encodeErrorResponse } from '#wire/postgres/backend.ts';
import { encodeSslRequest } from '#wire/postgres/startup.ts';
import { startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';
import type { TargetAccess } from './control-plane.ts';

const target = await testTarget({ after }, { major: 18 });
const authority = await testAuthority();
const ours = await authority.client('sallyport');
const stranger = await (await testAuthority()).client('sallyport');

const [files] = (await target.query(
  `select current_setting('hba_file') as hba, current_setting('ident_file') as ident`,
)) as {
  hba: string;
  ident: string;
}[];
assert.ok(files !== undefined);
const ownHba = readFileSync(files.hba, 'utf8');
const caFile = join(dirname(files.hba), 'clients.pem');
writeFileSync(caFile, authority.ca, { mode: 0o644 });
await target.query(`alter system set ssl_ca_file = '${caFile}'`);

/** The lines for TCP in place of the server's own. */
async function demand(t: TestContext, lines: readonly string[], ident: readonly string[] = []): Promise<void> {
  const reload = async (hba: string, idents: string) => {
    writeFileSync(files?.hba ?? '', hba);
    writeFileSync(files?.ident ?? '', idents);
    await target.query('select pg_reload_conf()');
    // The postmaster has read it when its own view of the file says so.
    for (const wanted = createHash('md5').update(hba).digest('hex'); ;) {
      const [row] = (await target.query(`select md5(pg_read_file(current_setting('hba_file'))) as hash`)) as {
        hash: string;
      }[];
      if (row?.hash === wanted) return;
    }
  };
  const local = ownHba.split('\n').filter((line) => line.startsWith('local'));
  await reload([...local, ...lines, ''].join('\n'), [...ident, ''].join('\n'));
  t.after(() => reload(ownHba, ''));
}

type Opened = { readonly g: TestingGateway; readonly faults: () => string };

async function gatewayFor(t: TestContext, access: Partial<TargetAccess>): Promise<Opened> {
  const faults: string[] = [];
  const tell = (error: unknown): void => {
    for (let at = error; at instanceof Error; at = at.cause) faults.push(at.message);
  };
  const g = await startTestingGateway(
    target,
    tmpdir(),
    { events: { targetFailed: (_resource, error) => tell(error), fault: (_what, error) => tell(error) } },
    access,
  );
  t.after(() => g.stop());
  return { g, faults: () => faults.join('\n') };
}

const tls = (more: object = {}) => ({ mode: 'verify-full', ca: target.ca, ...more }) as const;
const certificate = ({ chain, key }: { chain: string; key: string }) => ({ chain, key: new Secret(key) });

async function works({ g }: Opened): Promise<void> {
  const client = await g.connect(g.give(supportRead));
  assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
  await client.end();
}

async function isRefused({ g, faults }: Opened, because: RegExp): Promise<void> {
  await assert.rejects(g.connect(g.give(supportRead)), (error: Error & { code?: string; hint?: string }) => {
    assert.equal(error.code, '08006');
    assert.match(error.message, /^sallyport: [^.]*`orders`/);
    return true;
  });
  assert.match(faults(), because);
  assert.ok(!faults().includes(target.adminPassword) && !faults().includes('PRIVATE KEY'));
}

test('a target that demands a certificate of its clients besides the password gets that of its resource', async (t) => {
  await demand(t, ['hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca']);
  await works(await gatewayFor(t, { tls: tls({ certificate: certificate(ours) }) }));
});

for (const [name, shown] of [
  ['without a certificate', undefined],
  ['with a certificate of somebody else', stranger],
] as const)
  test(`a target that demands a certificate refuses a gateway ${name}, which says so to its operator`, async (t) => {
    await demand(t, ['hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca']);
    const opened = await gatewayFor(t, { tls: tls(shown === undefined ? {} : { certificate: certificate(shown) }) });
    await isRefused(opened, /certificate|alert unknown ca/i);
  });

test('a target that knows us by our certificate alone, where the resource says so; otherwise that is too little', async (t) => {
  await demand(
    t,
    ['hostssl all all 127.0.0.1/32 cert map=sally'],
    ['sally sallyport sallyport_admin', 'sally sallyport /^sally_l_'],
  );
  const shown = tls({ certificate: certificate(ours) });
  const admin = { user: target.adminUser, password: new Secret('') };
  await works(await gatewayFor(t, { tls: shown, authentication: 'cert', admin }));
  await isRefused(await gatewayFor(t, { tls: shown }), /target asks for no password, not for scram-sha-256/);
});

test('tls from the first byte, and a certificate in it', async (t) => {
  await demand(t, ['hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca']);
  await works(await gatewayFor(t, { tls: tls({ direct: true, certificate: certificate(ours) }) }));
});

for (const [method, authentication, asked] of [
  ['trust', 'trust', 'no password'],
  ['password', 'password', 'a cleartext password'],
] as const)
  test(`INVARIANT 10: a target with ${method} in its pg_hba.conf is refused, and taken when the resource names it`, async (t) => {
    await demand(t, [`hostssl all all 127.0.0.1/32 ${method}`]);
    await isRefused(await gatewayFor(t, {}), new RegExp(`target asks for ${asked}, not for scram-sha-256`));
    await works(await gatewayFor(t, { authentication }));
  });

test('INVARIANT 10: an administrator with an md5 password: refused, and taken when the resource names it', async (t) => {
  await demand(t, [`hostssl all ${target.adminUser} 127.0.0.1/32 md5`, 'hostssl all all 127.0.0.1/32 scram-sha-256']);
  const stored = createHash('md5').update(`${target.adminPassword}${target.adminUser}`).digest('hex');
  const [{ verifier } = { verifier: '' }] = (await target.query(
    'select rolpassword as verifier from pg_authid where rolname = $1',
    [target.adminUser],
  )) as { verifier: string }[];
  await target.query(`alter role ${target.adminUser} password 'md5${stored}'`);
  t.after(() => target.query(`alter role ${target.adminUser} password '${verifier}'`));
  await isRefused(await gatewayFor(t, {}), /target asks for an MD5 password, not for scram-sha-256/);
  await works(await gatewayFor(t, { authentication: 'md5' }));
});

test('a pooler in front of the target that knows protocol 3.0 alone is spoken to in that', async (t) => {
  await demand(t, ['host all all 127.0.0.1/32 scram-sha-256']);
  let refused = 0;
  const pooler = createServer((client) => {
    client.on('error', () => {});
    client.once('data', (hello) => {
      if (hello.readUInt32BE(4) !== 3 << 16) {
        refused += 1;
        client.end(encodeErrorResponse({ severity: 'FATAL', sqlState: '08P01', message: 'bad packet header' }));
        return;
      }
      const onward = connect(target.port, target.host);
      onward.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.on('close', () => onward.destroy());
      onward.write(hello);
      client.pipe(onward).pipe(client);
    });
  });
  await new Promise<void>((resolve) => pooler.listen(0, '127.0.0.1', resolve));
  t.after(() => pooler.close());
  const address = { host: '127.0.0.1', port: (pooler.address() as AddressInfo).port };
  await works(await gatewayFor(t, { address, tls: { mode: 'disable' } }));
  assert.equal(refused, 1);
});

test("the administrator's password may be any text", async (t) => {
  const [{ verifier } = { verifier: '' }] = (await target.query(
    'select rolpassword as verifier from pg_authid where rolname = $1',
    [target.adminUser],
  )) as { verifier: string }[];
  const password = 'pä\u00a0ss ½ \ufb01 ’';
  await target.query(`alter role ${target.adminUser} password '${password}'`);
  t.after(() => target.query(`alter role ${target.adminUser} password '${verifier}'`));
  await works(await gatewayFor(t, { admin: { user: target.adminUser, password: new Secret(password) } }));
});

test('channel binding is used, and where the resource asks for it nothing else is taken', async (t) => {
  await works(await gatewayFor(t, { authentication: 'scram-sha-256-plus' }));
  // On a cleartext socket there is nothing to bind to.
  await demand(t, ['host all all 127.0.0.1/32 scram-sha-256']);
  await works(await gatewayFor(t, { tls: { mode: 'disable' } }));
  const bound = await gatewayFor(t, { tls: { mode: 'disable' }, authentication: 'scram-sha-256-plus' });
  await isRefused(bound, /offers no channel binding/);
});

/** Somebody in between who has the server's own certificate and key, and takes the offer of channel binding away. */
async function inBetween(t: TestContext): Promise<number> {
  const folder = join(dirname(dirname(files?.hba ?? '')), 'tls');
  const context = {
    cert: readFileSync(join(folder, 'server.crt')),
    key: readFileSync(join(folder, 'server.key')),
  };
  const server = createServer((raw: Socket) => {
    raw.on('error', () => {});
    raw.once('data', () => {
      raw.write('S');
      const client = new TLSSocket(raw, { isServer: true, ...context });
      const onward = connect(target.port, target.host, () => onward.write(encodeSslRequest()));
      onward.on('error', () => client.destroy());
      client.on('error', () => onward.destroy());
      onward.once('data', () => {
        const secure = tlsConnect({ socket: onward, rejectUnauthorized: false }, () => {
          client.on('data', (bytes) => secure.write(bytes));
          secure.on('data', (bytes: Buffer) => {
            const text = bytes.toString('latin1');
            if (!text.includes('SCRAM-SHA-256-PLUS\0')) return void client.write(bytes);
            const stripped = Buffer.from(text.replace('SCRAM-SHA-256-PLUS\0', ''), 'latin1');
            stripped.writeUInt32BE(stripped.length - 1, 1);
            client.write(stripped);
          });
        });
        secure.on('error', () => client.destroy()).on('close', () => client.destroy());
        client.on('close', () => secure.destroy());
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('INVARIANT 10: channel binding that somebody in between takes away from the offer is missed, by both sides', async (t) => {
  const address = { host: '127.0.0.1', port: await inBetween(t) };
  await isRefused(await gatewayFor(t, { address }), /SCRAM channel binding negotiation error/);
  await isRefused(await gatewayFor(t, { address, authentication: 'scram-sha-256-plus' }), /offers no channel binding/);
});

for (const [name, made, because] of [
  ['has expired', { ageDays: 200, dns: 'localhost', ip: '127.0.0.1' }, /certificate has expired/],
  ['is for another name', { ageDays: 0, dns: 'elsewhere.example', ip: '192.0.2.1' }, /does not match certificate/],
] as const)
  test(`a target whose certificate ${name} is refused with a word about it for the operator`, async (t) => {
    const theirs = await testAuthority(made.ageDays);
    const server = await theirs.server({ dns: made.dns, ip: made.ip });
    const raw = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => {
        socket.write('S');
        const secured = new TLSSocket(socket, {
          isServer: true,
          cert: server.chain,
          key: server.key,
        });
        secured.on('error', () => {});
        secured.on('data', () => assert.fail('nothing is said to it'));
      });
    });
    await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
    t.after(() => raw.close());
    const address = { host: '127.0.0.1', port: (raw.address() as AddressInfo).port };
    await isRefused(await gatewayFor(t, { address, tls: tls({ ca: theirs.ca }) }), because);
  });

test("a server's own certificate in `ca` is a pin: it is trusted, and another of the same authority is not", async (t) => {
  const folder = join(dirname(dirname(files.hba)), 'tls');
  const own = readFileSync(join(folder, 'server.crt'), 'utf8');
  await works(await gatewayFor(t, { tls: tls({ ca: own }) }));
  await isRefused(await gatewayFor(t, { tls: tls({ ca: ours.chain }) }), /unable to (?:verify|get)/);
});
