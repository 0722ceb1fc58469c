import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { test } from 'node:test';
import { createConfig, publicOrigin, type Environment, type ServerConfig, type ServerOptions } from './config.ts';
import type { ServerSettings } from '#policy/configuration.ts';

type Given = { readonly env?: Environment; readonly options?: ServerOptions; readonly server?: ServerSettings };
const create = ({ env = {}, options = {}, server }: Given) =>
  createConfig({
    env,
    options,
    file: server === undefined ? undefined : { path: '/etc/sally/sallyport.yaml', server },
    workingDirectory: '/home/ada',
  });

function sound(given: Given): ServerConfig {
  const outcome = create(given);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  return outcome.config;
}

test('without anything said it is a server for this machine alone', () => {
  assert.deepEqual(sound({}), {
    dataDirectory: '/home/ada/.sally',
    publicUrl: { kind: 'from_listener', scheme: 'http' },
    console: { listen: { host: '127.0.0.1', port: 7700 }, tls: { kind: 'none' } },
    postgres: {
      listen: { host: '127.0.0.1', port: 7701 },
      publicHost: undefined,
      threads: undefined,
      tls: { kind: 'own_ca' },
    },
    databaseUrl: undefined,
    trustedProxies: [],
    logLevel: 'info',
    strictJournal: false,
    accessRequests: 'off',
    sample: true,
    readyFile: undefined,
    configurationFile: undefined,
  });
});

test('passkeys need a name: the derived URL is localhost, whatever the address', () => {
  const { publicUrl } = sound({ options: { consoleListen: '127.0.0.1:0' } });
  assert.deepEqual(publicOrigin(publicUrl, 40_123), { origin: 'http://localhost:40123', rpId: 'localhost' });
  const given = sound({ env: { SALLY_PUBLIC_URL: 'https://Sally.Example.com/' } });
  assert.deepEqual(publicOrigin(given.publicUrl, 1), {
    origin: 'https://sally.example.com',
    rpId: 'sally.example.com',
  });
});

test('the command line goes before the environment before the file', () => {
  const server = { logLevel: 'error', data: './x', console: { listen: { host: '::1', port: 1 } } } as const;
  const env = { SALLY_LOG_LEVEL: 'warn', SALLY_DATA_DIR: 'y', SALLY_CONSOLE_LISTEN: '127.0.0.1:2' };
  const options = { logLevel: 'debug', dataDirectory: 'z', consoleListen: 'localhost:3' };
  const seen = ({ logLevel, dataDirectory, console }: ServerConfig) => [logLevel, dataDirectory, console.listen.port];
  // Relative to where each was written.
  assert.deepEqual(seen(sound({ server })), ['error', '/etc/sally/x', 1]);
  assert.deepEqual(seen(sound({ server, env })), ['warn', '/home/ada/y', 2]);
  assert.deepEqual(seen(sound({ server, env, options })), ['debug', '/home/ada/z', 3]);
  assert.deepEqual(seen(sound({ server, env: { ...env, SALLY_LOG_LEVEL: '' } })), ['error', '/home/ada/y', 2]);
});

test('the sample runs when there is no configuration, and when it is asked for', () => {
  assert.equal(sound({ server: {} }).sample, false);
  assert.equal(sound({ server: {}, options: { sample: true } }).sample, true);
  assert.equal(sound({ options: { sample: false } }).sample, false);
});

for (const [name, given, tls] of [
  ['on loopback, for a browser here', {}, 'none'],
  [
    'on loopback, behind a trusted proxy',
    { env: { SALLY_PUBLIC_URL: 'https://a.example', SALLY_TRUSTED_PROXIES: '::1' } },
    'none',
  ],
  ['on loopback, as https', { env: { SALLY_PUBLIC_URL: 'https://localhost:7700' } }, 'own_ca'],
  ['beyond', { env: { SALLY_PUBLIC_URL: 'https://a.example', SALLY_CONSOLE_LISTEN: '0.0.0.0:443' } }, 'own_ca'],
  [
    'beyond, behind a trusted proxy',
    {
      env: {
        SALLY_PUBLIC_URL: 'https://a.example',
        SALLY_CONSOLE_LISTEN: '0.0.0.0:443',
        SALLY_TRUSTED_PROXIES: '10.0.0.1',
      },
    },
    'own_ca',
  ],
  ['with files', { env: { SALLY_CONSOLE_TLS_CERT: 'c.pem', SALLY_CONSOLE_TLS_KEY: 'k.pem' } }, 'files'],
] as const) {
  test(`the console speaks plain http on loopback only: ${name}`, () => {
    assert.equal(sound(given).console.tls.kind, tls);
  });
}

test('certificates of the file are found beside it', () => {
  const { console, postgres } = sound({ server: { console: { tls: { cert: 'c.pem', key: '/k.pem' } } } });
  assert.deepEqual(console.tls, { kind: 'files', cert: '/etc/sally/c.pem', key: '/k.pem' });
  assert.equal(postgres.tls.kind, 'own_ca');
});

for (const [name, given, variable] of [
  ['a console address that is none', { env: { SALLY_CONSOLE_LISTEN: '7700' } }, 'SALLY_CONSOLE_LISTEN'],
  ['a port beyond the last', { options: { postgresListen: 'localhost:70000' } }, '--postgres'],
  ['one address twice', { env: { SALLY_POSTGRES_LISTEN: '127.0.0.1:7700' } }, 'SALLY_POSTGRES_LISTEN'],
  ['a public URL with an address', { env: { SALLY_PUBLIC_URL: 'http://127.0.0.1:7700' } }, 'SALLY_PUBLIC_URL'],
  ['a public URL with an IPv6 address', { env: { SALLY_PUBLIC_URL: 'https://[::1]' } }, 'SALLY_PUBLIC_URL'],
  ['a public URL over http', { env: { SALLY_PUBLIC_URL: 'http://sally.example.com' } }, 'SALLY_PUBLIC_URL'],
  ['a public URL with a path', { options: { publicUrl: 'https://sally.example.com/x' } }, '--public-url'],
  ['a public URL with a password', { env: { SALLY_PUBLIC_URL: 'https://a:b@sally.example.com' } }, 'SALLY_PUBLIC_URL'],
  ['a public URL that is none', { server: { publicUrl: 'sally' } }, '`public-url` in /etc/sally/sallyport.yaml'],
  ['a console beyond loopback without a URL', { env: { SALLY_CONSOLE_LISTEN: '0.0.0.0:80' } }, 'SALLY_PUBLIC_URL'],
  [
    'a console beyond loopback as http',
    { env: { SALLY_CONSOLE_LISTEN: '0.0.0.0:80', SALLY_PUBLIC_URL: 'http://localhost' } },
    'SALLY_PUBLIC_URL',
  ],
  [
    'a certificate and an http URL',
    { env: { SALLY_CONSOLE_TLS_CERT: 'a', SALLY_CONSOLE_TLS_KEY: 'b', SALLY_PUBLIC_URL: 'http://localhost' } },
    'SALLY_PUBLIC_URL',
  ],
  ['a certificate without its key', { env: { SALLY_POSTGRES_TLS_CERT: 'a' } }, 'SALLY_POSTGRES_TLS_KEY'],
  ['a proxy that is no network', { env: { SALLY_TRUSTED_PROXIES: '10.0.0.0/8,proxy' } }, 'SALLY_TRUSTED_PROXIES'],
  ['an unknown level', { env: { SALLY_LOG_LEVEL: 'loud' } }, 'SALLY_LOG_LEVEL'],
  ['too many threads', { env: { SALLY_POSTGRES_THREADS: '16' } }, 'SALLY_POSTGRES_THREADS'],
  ['a version that is not one', { env: { SALLY_AUTHZEN_ACCESS_REQUESTS: 'draft-2' } }, 'SALLY_AUTHZEN_ACCESS_REQUESTS'],
  ['a journal that is maybe strict', { env: { SALLY_JOURNAL_STRICT: 'yes' } }, 'SALLY_JOURNAL_STRICT'],
  ['another database', { env: { SALLY_DATABASE_URL: 'mysql://u:hunter2@h/d' } }, 'SALLY_DATABASE_URL'],
  ['a database URL elsewhere that is not set', { server: { databaseUrl: { env: 'DB' } } }, 'DB'],
  [
    'a database URL in a file that is not there',
    { server: { databaseUrl: { file: 'nowhere' } } },
    '`database-url` in nowhere',
  ],
  ['a public host with a port', { env: { SALLY_POSTGRES_PUBLIC_HOST: 'db:5432' } }, 'SALLY_POSTGRES_PUBLIC_HOST'],
] as const) {
  test(`${name} is refused by name`, () => {
    const outcome = create(given);
    assert.ok(outcome.kind === 'refused');
    assert.deepEqual(
      outcome.faults.map((fault) => fault.variable),
      [variable],
    );
    assert.ok(!JSON.stringify(outcome).includes('hunter2'));
  });
}

test('every fault is found at once', () => {
  const outcome = create({ env: { SALLY_LOG_LEVEL: 'loud', SALLY_CONSOLE_LISTEN: 'x', SALLY_DATABASE_URL: 'x' } });
  assert.equal(outcome.kind === 'refused' && outcome.faults.length, 3);
});

test('INVARIANT 10: secrets stay inside: the database URL is not printed with the configuration', (t) => {
  const url = 'postgresql://sally:hunter2@db.example.com/sally';
  const folder = mkdtempSync(join(tmpdir(), 'sally-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'url'), `${url}\n`);
  const cases: readonly Given[] = [
    { env: { SALLY_DATABASE_URL: url } },
    { env: { DB: url }, server: { databaseUrl: { env: 'DB' } } },
    { server: { databaseUrl: { file: join(folder, 'url') } } },
  ];
  for (const given of cases) {
    const config = sound(given);
    assert.equal(config.databaseUrl?.reveal(), url);
    assert.ok(!JSON.stringify(config).includes('hunter2'));
    assert.ok(!inspect(config, { depth: 9 }).includes('hunter2'));
  }
});
