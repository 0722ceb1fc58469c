import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Secret } from '#core/secret.ts';
import { stranger, testApi, web, type TestApi } from '#test/support/api.ts';
import { testCertificates } from '#test/support/postgres.ts';

function builtConsole(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-console-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'dist/assets'), { recursive: true });
  writeFileSync(join(root, 'secret.txt'), 'beside the console');
  writeFileSync(join(root, 'dist/index.html'), '<!doctype html><title>Sallyport</title>');
  writeFileSync(join(root, 'dist/assets/index-1a2b.js'), `console.log('${'x'.repeat(5000)}')`);
  writeFileSync(join(root, 'dist/assets/index-1a2b.js.map'), '{}');
  return join(root, 'dist');
}

/** A socket on which a test writes what it likes. */
async function rawSocket(
  t: TestContext,
  api: TestApi,
): Promise<Socket & { received: () => string; cut: Promise<void> }> {
  const socket = connect(api.running.port, '127.0.0.1');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  const cut = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  return Object.assign(socket, { received: () => text, cut });
}

test('the console is one page for every path of its own, with its assets, and nothing beside them', async (t) => {
  const api = await testApi(t, { api: { webRoot: builtConsole(t) } });
  const get = (path: string, headers: Record<string, string> = { accept: 'text/html' }, method = 'GET') =>
    api.send({ method, path, headers });

  for (const path of ['/', '/requests/req_1?x=1', '/authorize?state=1', '/index.html', '/a/b/c']) {
    const page = await get(path);
    assert.equal(page.status, 200, path);
    assert.match(page.text, /<title>Sallyport/);
    assert.equal(page.headers['cache-control'], 'no-cache');
    assert.match(String(page.headers['content-security-policy']), /script-src 'self'.*trusted-types 'none'/);
    assert.match(String(page.headers['content-security-policy']), /frame-ancestors 'none'/);
  }
  const asset = await get('/assets/index-1a2b.js', { 'accept-encoding': 'gzip, br' });
  assert.equal(asset.headers['content-encoding'], 'br');
  assert.equal(asset.headers['cache-control'], 'public, max-age=31536000, immutable');
  assert.equal(asset.headers['content-type'], 'text/javascript; charset=utf-8');
  assert.equal(asset.headers['x-content-type-options'], 'nosniff');
  const plain = await get('/assets/index-1a2b.js', { 'accept-encoding': 'br;q=0' });
  assert.equal(plain.headers['content-encoding'], undefined);
  assert.match(plain.text, /^console\.log/);
  assert.equal((await get('/assets/index-1a2b.js', { 'if-none-match': String(plain.headers.etag) })).status, 304);
  assert.equal((await get('/', { accept: '*/*' })).status, 200);
  assert.equal((await get('/api/v1/about', {}, 'HEAD')).status, 404);
  const head = await get('/', { accept: 'text/html' }, 'HEAD');
  assert.deepEqual([head.status, head.text], [200, '']);

  // INVARIANT 14: what isn't the console's isn't there, however the path is written.
  for (const path of [
    '/../secret.txt',
    '/..%2fsecret.txt',
    '/%2e%2e/secret.txt',
    '/assets/../../secret.txt',
    '/assets/..%5c..%5csecret.txt',
    '/assets/index-1a2b.js.map',
    '/assets/gone.js',
    '/assets/%00',
    '//etc/passwd',
  ]) {
    const missing = await get(path, { accept: '*/*' });
    assert.deepEqual([missing.status, missing.code], [404, 'not_found'], path);
    assert.equal(missing.text.includes('beside'), false);
  }
  for (const [method, path] of [
    ['GET', '/api/v1/none'],
    ['POST', '/requests'],
    ['DELETE', '/api/v1/me'],
    ['OPTIONS', '/api/v1/me'],
    ['PUT', '/'],
    ['GET', '/oauth/token'],
  ] as const)
    assert.equal((await get(path, { accept: 'text/html' }, method)).code, 'not_found', `${method} ${path}`);
});

test('every answer carries the headers that keep browsers in line, errors included', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada');
  for (const reply of [
    await api.call(stranger, 'about'),
    await api.call(stranger, 'me'),
    await api.call(web(ada), 'me'),
    await api.call(web(ada), 'listPrincipals'),
    await api.send({ method: 'GET', path: '/nowhere' }),
    await api.send({ method: 'GET', path: '/nowhere', headers: { host: 'elsewhere.example' } }),
    await api.send({ method: 'GET', path: '/healthz' }),
    await api.send({ method: 'POST', path: '/oauth/token' }),
  ]) {
    assert.equal(reply.headers['x-content-type-options'], 'nosniff');
    assert.equal(reply.headers['referrer-policy'], 'no-referrer');
    assert.equal(reply.headers['cross-origin-opener-policy'], 'same-origin');
    assert.equal(reply.headers['cross-origin-resource-policy'], 'same-origin');
    assert.match(String(reply.headers['permissions-policy']), /publickey-credentials-get=\(self\)/);
    assert.match(String(reply.headers['content-security-policy']), /default-src 'none'.*frame-ancestors 'none'/);
    assert.equal(reply.headers['cache-control'], 'no-store');
    assert.equal(reply.headers['access-control-allow-origin'], undefined);
    assert.equal(reply.headers['x-powered-by'], undefined);
  }
});

test('a request under another name is told nothing: DNS rebinding ends here', async (t) => {
  const api = await testApi(t, {
    api: { webRoot: builtConsole(t), metrics: { text: () => Promise.resolve('m 1\n') } },
  });
  const { port } = api.running;
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    `localhost.evil.example:${port}`,
    'localhost',
    `127.0.0.1:${port}`,
  ])
    for (const path of ['/', '/api/v1/about', '/oauth/token', '/openapi.json']) {
      const reply = await api.send({ method: 'GET', path, headers: { host, accept: 'text/html' } });
      assert.deepEqual([reply.status, reply.code], [421, 'misdirected'], `${host} ${path}`);
      assert.equal(reply.text.includes('evil'), false);
    }
  const twice = await api.send({ method: 'GET', path: '/', headers: { host: `localhost:${port}, evil.example` } });
  assert.deepEqual([twice.status, twice.code], [400, 'invalid_input']);
  const absolute = await api.send({ method: 'GET', path: `http://evil.example/api/v1/about` });
  assert.equal(absolute.status, 421);
  assert.equal(
    (await api.send({ method: 'GET', path: '/api/v1/about', headers: { host: `LOCALHOST:${port}` } })).status,
    200,
  );
  // Probes and collectors may come by address, which no page has for a name.
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    assert.equal((await api.send({ method: 'GET', path, headers: { host: `127.0.0.1:${port}` } })).status, 200, path);
    assert.equal((await api.send({ method: 'GET', path, headers: { host: 'evil.example' } })).status, 421, path);
  }
});

test('health, readiness and metrics say what they know, and metrics only to this machine or with the token', async (t) => {
  let why: string | undefined = 'the database is away';
  const api = await testApi(t, {
    api: {
      ready: () => Promise.resolve(why),
      metrics: { text: () => Promise.resolve('sally_up 1\n'), token: new Secret('let me read') },
      trustedProxies: ['127.0.0.1'],
    },
  });
  const get = (path: string, headers: Record<string, string> = {}) => api.send({ method: 'GET', path, headers });
  assert.equal((await get('/healthz')).status, 200);
  assert.deepEqual(
    [(await get('/readyz')).status, (await get('/readyz')).text],
    [503, 'not ready: the database is away\n'],
  );
  why = undefined;
  assert.equal((await get('/readyz')).status, 200);
  assert.equal((await get('/metrics')).text, 'sally_up 1\n');
  assert.equal((await get('/metrics', { 'x-forwarded-for': '203.0.113.9' })).code, 'not_found');
  assert.equal((await get('/metrics', { 'x-forwarded-for': '127.0.0.1' })).code, 'not_found');
  assert.equal((await get('/metrics', { forwarded: 'for=203.0.113.9' })).code, 'not_found');
  assert.equal(
    (await get('/metrics', { 'x-forwarded-for': '203.0.113.9', authorization: 'Bearer wrong' })).code,
    'not_found',
  );
  const remote = { 'x-forwarded-for': '203.0.113.9', authorization: 'Bearer let' };
  assert.equal((await get('/metrics', remote)).code, 'not_found');
});

test('a body that is too large is refused before it is read, or where it becomes so, and nothing of it is told', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const headers = {
    ...(await api.headersOf(web(ada), 'POST', '/api/v1/requests')),
    'content-type': 'application/json',
  };

  const announced = await api.send({
    method: 'POST',
    path: '/api/v1/requests',
    headers: { ...headers, 'content-length': '2000000' },
    body: JSON.stringify({ reason: 'x'.repeat(1_999_980) })
      .slice(0, 2_000_000)
      .padEnd(2_000_000),
  });
  assert.deepEqual([announced.status, announced.code], [413, 'too_large']);

  // Chunked: nobody said how much it would be.
  const socket = await rawSocket(t, api);
  const lines = Object.entries({ ...headers, host: new URL(api.publicUrl).host, 'transfer-encoding': 'chunked' });
  socket.write(
    `POST /api/v1/requests HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  );
  const chunk = `${(65_536).toString(16)}\r\n${'y'.repeat(65_536)}\r\n`;
  for (let sent = 0; sent < 32 && !socket.destroyed; sent += 1) socket.write(chunk);
  await socket.cut;
  assert.match(socket.received(), /^HTTP\/1\.1 413 /);
  assert.equal(socket.received().includes('yyyy'), false);

  const plan = await api.call(web(await api.person('root', ['administrators'])), 'makePlan', {
    body: {
      file: 'sallyport.yaml',
      text: `# ${'z'.repeat(900_000)}`,
      policies: [{ name: 'a.cedar', text: 'z'.repeat(900_000) }],
    },
  });
  assert.equal(plan.status, 200, 'a plan may be larger');
  const stranger413 = await api.send({
    method: 'POST',
    path: '/api/v1/requests',
    headers: { 'content-type': 'application/json', 'content-length': '2000000' },
    body: 'x'.repeat(2_000_000),
  });
  assert.equal(stranger413.code, 'not_signed_in', 'nothing is read for somebody who may not ask');
});

test('INVARIANT 14: slow headers, a slow body and a silent client each cost one socket, for a while', async (t) => {
  const api = await testApi(t, { api: { limits: { headersMs: 300, requestMs: 600, idleMs: 1500 } } });
  const ada = await api.person('ada', ['engineering']);
  const host = new URL(api.publicUrl).host;

  const slowHeaders = await rawSocket(t, api);
  slowHeaders.write(`GET /api/v1/about HTTP/1.1\r\nHost: ${host}\r\nX-Slow: `);
  const slowBody = await rawSocket(t, api);
  const headers = await api.headersOf(web(ada), 'POST', '/api/v1/requests');
  const lines = Object.entries({ ...headers, host, 'content-type': 'application/json', 'content-length': '500' });
  slowBody.write(
    `POST /api/v1/requests HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n{"reason":"`,
  );
  const silent = await rawSocket(t, api);

  await Promise.all([slowHeaders.cut, slowBody.cut, silent.cut]);
  assert.match(slowHeaders.received(), /^(?:HTTP\/1\.1 408 |$)/);
  assert.match(slowBody.received(), /^(?:HTTP\/1\.1 408 |$)/);
  assert.deepEqual(api.faults, [], 'a client that stops is no fault of ours');
  assert.equal((await api.call(web(ada), 'me')).status, 200);
});

test('one address takes no more than its share of connections', async (t) => {
  const api = await testApi(t, { api: { limits: { connectionsPerAddress: 3 } } });
  const held = [await rawSocket(t, api), await rawSocket(t, api), await rawSocket(t, api)];
  const fourth = await rawSocket(t, api);
  await fourth.cut;
  assert.equal(fourth.received(), '');
  held[0]?.destroy();
  await held[0]?.cut;
  // The server hears of the end a moment after us.
  for (;;) {
    const reply = await api.call(stranger, 'about').catch(() => undefined);
    if (reply?.status === 200) break;
  }
});

test('a fault is told by a number alone; what went wrong is in the log under it', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  await api.ctx.db.schema.alterTable('access_request').renameTo('moved_away').execute();
  const reply = await api.call(web(ada), 'listRequests', { query: { box: 'mine' } });
  assert.deepEqual([reply.status, reply.code], [500, 'fault']);
  const id = /flt_[0-9a-z]{10}/.exec(reply.text)?.[0];
  assert.equal(api.faults.length, 1);
  assert.equal(api.faults[0]?.id, id);
  assert.match(String(api.faults[0]?.fault), /access_request/);
  assert.equal(/access_request|select|relation|pg|node_modules/.test(reply.text), false);
});

test('a use case that takes too long is given up on, and what becomes of it is not lost', async (t) => {
  const api = await testApi(t, { api: { limits: { deadlineMs: 300 } } });
  const ada = await api.person('ada', ['engineering']);
  const held = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const blocking = api.ctx.db.transaction().execute(async (trx) => {
    await trx.selectFrom('principal').select('id').where('id', '=', ada.principal.id).forUpdate().execute();
    locked.resolve();
    await held.promise;
  });
  await locked.promise;
  const reply = await api.call(web(ada), 'fileRequest', {
    body: { role: 'orders/support-read', seconds: 600, reason: 'slow' },
  });
  assert.deepEqual([reply.status, reply.code], [503, 'unavailable']);
  held.resolve();
  await blocking;
  for (;;) {
    const mine = await api.call(web(ada), 'listRequests', { query: {} });
    if (mine.status === 200 && (mine.json()['items'] as unknown[]).length === 1) break;
  }
  assert.deepEqual(api.faults, []);
});

test('without its database the server says that it is unavailable, and when to try again', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const refused = Object.assign(new Error('connect ECONNREFUSED /socket'), { code: 'ECONNREFUSED' });
  Object.defineProperty(api.ctx, 'db', {
    get: () => {
      throw new Error('read a sign-in', { cause: refused });
    },
  });
  const reply = await api.call(web(ada), 'me');
  assert.deepEqual([reply.status, reply.code, reply.headers['retry-after']], [503, 'unavailable', '5']);
});

test('a stop refuses new connections, ends long polls at once, and lets what is running finish', async (t) => {
  const api = await testApi(t, { api: { limits: { stopMs: 60_000 } } });
  const ada = await api.person('ada', ['engineering']);
  const filed = await api.call(web(ada), 'fileRequest', {
    body: { role: 'orders/support-read', seconds: 600, reason: 'to wait for' },
  });
  const idle = await rawSocket(t, api);
  const listening = nextSubscription(api);
  const waiting = api.call(web(ada), 'getRequest', { params: { id: filed.json()['id'] }, query: { waitSeconds: 25 } });
  await listening;
  const begun = performance.now();
  await api.running.stop();
  const reply = await waiting;
  assert.equal(reply.status, 200);
  assert.equal(reply.json()['state'], 'pending');
  assert.equal(reply.headers.connection, 'close');
  await idle.cut;
  assert.ok(performance.now() - begun < 20_000, 'nothing had to be cut by force');
  await assert.rejects(api.call(stranger, 'about'), /ECONNREFUSED/);
});

test('over TLS the console is strict about it, and takes a new certificate without a restart', async (t) => {
  const first = await testCertificates(t);
  const second = await testCertificates(t);
  const read = (of: typeof first) => ({
    cert: readFileSync(of.certFile, 'utf8'),
    key: readFileSync(of.keyFile, 'utf8'),
  });
  let current = first;
  const api = await testApi(t, { api: { tls: () => read(current), webRoot: builtConsole(t) } });
  const get = (ca: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; headers: Record<string, unknown> }>((resolve, reject) => {
      const request = httpsRequest(
        {
          host: 'localhost',
          port: api.running.port,
          path: '/',
          ca,
          agent: false,
          headers: { accept: 'text/html', ...headers },
        },
        (reply) => {
          reply.resume();
          resolve({ status: reply.statusCode ?? 0, headers: reply.headers });
        },
      );
      request.on('error', reject);
      request.end();
    });
  const reply = await get(first.ca);
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['strict-transport-security'], 'max-age=31536000');
  current = second;
  await assert.rejects(get(second.ca));
  api.running.reloadTls();
  assert.equal((await get(second.ca)).status, 200);
  await assert.rejects(get(first.ca));
});

/** Resolves when a long poll listens for changes. */
function nextSubscription(api: TestApi): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { subscribe } = api.ctx.changes;
  Object.assign(api.ctx.changes, {
    subscribe: (on: Parameters<typeof subscribe>[0]) => {
      resolve();
      return subscribe(on);
    },
  });
  return promise;
}
