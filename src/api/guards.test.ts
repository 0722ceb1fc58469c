/** What stands before every use case: cookies, tokens, origins, limits, and silence about what was sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoints, type EndpointName } from '#contract/endpoints.ts';
import type { Endpoint } from '#contract/endpoint.ts';
import { urlOf } from '#contract/client.ts';
import { minutes, hours, seconds } from '#core/instant.ts';
import { rateRules } from '#identity/rate-limit.ts';
import { newMachine, stranger, testApi, tokenRequest, web, type Reply } from '#test/support/api.ts';
import { testCertificates } from '#test/support/postgres.ts';
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { limits } from './limits.ts';

const role = 'orders/support-read';

test('a request that another site makes a browser send changes nothing', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const body = JSON.stringify({ role, seconds: 600, reason: 'forged' });
  const cookie = `sally=${ada.cookie}`;
  const post = (headers: Record<string, string>) =>
    api.send({ method: 'POST', path: '/api/v1/requests', headers: { cookie, ...headers }, body });
  const json = { 'content-type': 'application/json' };
  const ours = { origin: api.publicUrl };
  for (const [why, headers] of Object.entries({
    'another origin': { ...json, origin: 'https://evil.example' },
    'another port of this host': { ...json, origin: 'http://localhost:1' },
    'an opaque origin': { ...json, origin: 'null' },
    'https instead of http': { ...json, origin: api.publicUrl.replace('http:', 'https:') },
    'no origin, cross-site': { ...json, 'sec-fetch-site': 'cross-site' },
    'no origin, same site': { ...json, 'sec-fetch-site': 'same-site' },
    'neither of the two': json,
    'ours, yet the browser says that it is not': { ...json, ...ours, 'sec-fetch-site': 'cross-site' },
    'a form': { 'content-type': 'application/x-www-form-urlencoded', ...ours },
    'a form that says it is text': { 'content-type': 'text/plain', ...ours },
    'a multipart form': { 'content-type': 'multipart/form-data; boundary=x', ...ours },
    'json with something behind it': { 'content-type': 'application/json, text/plain', ...ours },
  })) {
    const reply = await post(headers);
    assert.deepEqual([reply.status, reply.code], [403, 'cross_site'], why);
  }
  assert.deepEqual((await api.call(web(ada), 'listRequests', { query: {} })).json()['items'], []);
  assert.equal((await post({ ...json, ...ours })).status, 200);
  assert.equal((await post({ ...json, 'sec-fetch-site': 'same-origin' })).status, 200);

  // Reads are refused where the browser says who asks; an address typed in by hand says `none`.
  for (const [site, status] of [
    ['cross-site', 403],
    ['same-site', 403],
    ['same-origin', 200],
    ['none', 200],
  ] as const) {
    const reply = await api.send({ method: 'GET', path: '/api/v1/me', headers: { cookie, 'sec-fetch-site': site } });
    assert.equal(reply.status, status, site);
  }
});

test('another site can not sign somebody in, enrol for them, or talk to the token endpoint', async (t) => {
  const api = await testApi(t);
  for (const path of ['/api/v1/sign-in/options', '/api/v1/sign-in', '/api/v1/links/enrolment/finish', '/oauth/token'])
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      const reply = await api.send({
        method: 'POST',
        path,
        headers: { 'content-type': 'application/json', ...headers },
        body: '{}',
      });
      assert.equal(reply.status, 403, path);
      assert.equal(reply.headers['set-cookie'], undefined);
    }
});

test('the cookie of a sign-in is for this host alone, out of the reach of scripts, and gone after the sign-out', async (t) => {
  const certificates = await testCertificates(t);
  const tls = () => ({
    cert: readFileSync(certificates.certFile, 'utf8'),
    key: readFileSync(certificates.keyFile, 'utf8'),
  });
  for (const [api, expected] of [
    [await testApi(t), /^sally=sly_ws_[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/],
    [
      await testApi(t, { api: { tls } }),
      /^__Host-sally=sly_ws_[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200$/,
    ],
  ] as const) {
    const isTls = api.publicUrl.startsWith('https:');
    const send = (path: string, body: unknown, cookie = '') =>
      isTls
        ? post(api.running.port, certificates.ca, path, body, { origin: api.publicUrl, cookie })
        : api.send({
            method: 'POST',
            path,
            headers: { 'content-type': 'application/json', origin: api.publicUrl, cookie },
            body: JSON.stringify(body),
          });
    const ada = await api.person('ada');
    const ceremony = (await send('/api/v1/sign-in/options', {})).json() as { ceremony: string; options: object };
    const signedIn = await send('/api/v1/sign-in', {
      ceremony: ceremony.ceremony,
      response: ada.key.assert(ceremony.options),
    });
    assert.equal(signedIn.status, 200, signedIn.text);
    const [cookie, ...more] = signedIn.headers['set-cookie'] ?? [];
    assert.deepEqual(more, []);
    assert.match(String(cookie), expected);
    assert.equal(signedIn.text.includes('sly_ws_'), false, 'the token is in the cookie and nowhere else');
    assert.equal((signedIn.json() as { principal: { handle: string } }).principal.handle, 'ada');

    const pair = String(cookie).split(';')[0] ?? '';
    const out = await send('/api/v1/sign-out', {}, pair);
    assert.equal(out.status, 200);
    assert.match(String(out.headers['set-cookie']), /=; Path=\/; .*Max-Age=0$/);
    assert.equal((await send('/api/v1/sign-out', {}, pair)).code, 'not_signed_in');
    const again = await send('/api/v1/sign-in', {
      ceremony: ceremony.ceremony,
      response: ada.key.assert(ceremony.options),
    });
    assert.equal(again.code, 'sign_in_failed', 'a ceremony is for one use');
  }
});

test('a sign-in ends after an hour unused and after twelve in any case; two cookies are none', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada');
  const me = async (cookie: string) =>
    (await api.send({ method: 'GET', path: '/api/v1/me', headers: { cookie } })).status;
  assert.equal(await me(`sally=${ada.cookie}`), 200);
  assert.equal(await me(`sally=${ada.cookie}; sally=${ada.cookie}`), 401);
  assert.equal(await me(`sally=sly_ws_${'A'.repeat(43)}; sally=${ada.cookie}`), 401);
  assert.equal(await me(`__Host-sally=${ada.cookie}`), 401);
  for (let hour = 0; hour < 12; hour += 1) {
    api.clock.move(minutes(59));
    assert.equal(await me(`sally=${ada.cookie}`), 200);
  }
  api.clock.move(minutes(13));
  assert.equal(await me(`sally=${ada.cookie}`), 401, 'twelve hours are over');
  const idle = await api.signInWeb(ada);
  api.clock.move(hours(1));
  assert.equal(await me(`sally=${idle}`), 401, 'an hour unused');
});

test('a token without its key is worth nothing: DPoP proofs are for one request, once', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const cli = await api.signInCli(ada);
  const url = `${api.publicUrl}/api/v1/me`;
  const get = (headers: Record<string, string>, path = '/api/v1/me') => api.send({ method: 'GET', path, headers });
  const authorization = `DPoP ${cli.token}`;
  const proof = (more: object = {}) => cli.machine.proof({ method: 'GET', url, token: cli.token, ...more });

  const once = await proof();
  assert.equal((await get({ authorization, dpop: once })).status, 200);
  const other = await newMachine();
  for (const [why, headers, path] of [
    ['replayed', { authorization, dpop: once }],
    ['no proof', { authorization }],
    ['of another method', { authorization, dpop: await proof({ method: 'POST' }) }],
    ['of another path', { authorization, dpop: await proof() }, '/api/v1/roles'],
    ['of another host', { authorization, dpop: await proof({ url: 'http://evil.example/api/v1/me' }) }],
    ['by another key', { authorization, dpop: await other.proof({ method: 'GET', url, token: cli.token }) }],
    ['for another token', { authorization, dpop: await proof({ token: 'sly_at_other' }) }],
    ['two of them', { authorization, dpop: `${await proof()}, ${await proof()}` }],
    ['as a bearer token', { authorization: `Bearer ${cli.token}`, dpop: await proof() }],
    [
      'the refresh token',
      { authorization: `DPoP ${cli.refreshToken}`, dpop: await proof({ token: cli.refreshToken }) },
    ],
    ['no falling back to a cookie', { authorization: 'DPoP none', cookie: `sally=${ada.cookie}` }],
    ['no falling back from a strange scheme', { authorization: 'Basic YTpi', cookie: `sally=${ada.cookie}` }],
  ] as readonly (readonly [string, Record<string, string>, string?])[]) {
    const reply = await get(headers, path);
    assert.deepEqual([reply.status, reply.code], [401, 'invalid_token'], why);
    assert.match(String(reply.headers['www-authenticate']), /^DPoP error="invalid_token", algs="ES256 EdDSA"$/, why);
  }
  assert.equal((await get({})).headers['www-authenticate'], 'DPoP algs="ES256 EdDSA"');
  // With a query, which the proof doesn't cover (RFC 9449 §4.3).
  const requests = `${api.publicUrl}/api/v1/requests`;
  const dpop = await cli.machine.proof({ method: 'GET', url: requests, token: cli.token });
  assert.equal((await get({ authorization, dpop }, '/api/v1/requests?box=mine')).status, 200);
});

test('the CLI refreshes its tokens with its own key, once each; a token that was copied ends the sign-in', async (t) => {
  const api = await testApi(t);
  const ada = await api.person('ada', ['engineering']);
  const cli = await api.signInCli(ada);
  const refresh = (token: string, machine = cli.machine) =>
    tokenRequest(
      api,
      machine,
      new URLSearchParams({ grant_type: 'refresh_token', client_id: 'sally-cli', refresh_token: token }),
    );

  const stolen = await refresh(cli.refreshToken, await newMachine());
  assert.deepEqual([stolen.status, stolen.code], [400, 'invalid_grant'], 'by another key');
  const first = await refresh(cli.refreshToken);
  assert.equal(first.status, 200, first.text);
  assert.equal(first.headers['cache-control'], 'no-store');
  assert.equal(first.json()['token_type'], 'DPoP');
  assert.equal(first.json()['expires_in'], 900);
  assert.equal((await api.call(cli, 'me')).code, 'invalid_token', 'the old access token is over');
  const now = { ...cli, token: String(first.json()['access_token']) };
  assert.equal((await api.call(now, 'me')).status, 200);
  assert.equal((await refresh(cli.refreshToken)).code, 'invalid_grant', 'used twice');
  assert.equal((await api.call(now, 'me')).code, 'invalid_token', 'so somebody has a copy, and the sign-in is over');

  const next = await api.signInCli(ada);
  api.clock.move(minutes(15));
  assert.equal((await api.call(next, 'me')).code, 'invalid_token', 'access tokens last a quarter of an hour');
  const renewed = await refresh(next.refreshToken, next.machine);
  const fresh = { ...next, token: String(renewed.json()['access_token']) };
  assert.equal((await api.call(fresh, 'me')).status, 200);
  api.clock.move(hours(12));
  const late = await refresh(String(renewed.json()['refresh_token']), next.machine);
  assert.equal(late.code, 'invalid_grant', 'however often it is refreshed, a sign-in ends after twelve hours');
});

test('a sign-in of the CLI can be given up, and what is wrong with a token request is told as RFC 6749 does', async (t) => {
  const api = await testApi(t);
  const cli = await api.signInCli(await api.person('ada'));
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const revoke = (body: string) => api.send({ method: 'POST', path: '/oauth/revoke', headers: form, body });
  assert.equal((await revoke('token=sly_rt_none')).status, 200, 'RFC 7009: the same for any token');
  assert.equal((await revoke(`token=${cli.refreshToken}`)).status, 200);
  assert.equal((await api.call(cli, 'me')).code, 'invalid_token');
  for (const [body, code] of [
    ['', 'invalid_request'],
    ['grant_type=password&client_id=sally-cli', 'unsupported_grant_type'],
    ['grant_type=refresh_token&client_id=other&refresh_token=x', 'invalid_client'],
    [`grant_type=refresh_token&client_id=sally-cli&refresh_token=${'canary'.repeat(2000)}`, 'invalid_request'],
  ] as const) {
    const reply = await api.send({ method: 'POST', path: '/oauth/token', headers: form, body });
    assert.equal(reply.code, code);
    assert.equal(reply.headers['cache-control'], 'no-store');
    assert.equal(reply.text.includes('canary'), false);
  }
  const metadata = await api.send({ method: 'GET', path: '/.well-known/oauth-authorization-server' });
  const { issuer, token_endpoint, code_challenge_methods_supported } = metadata.json();
  assert.deepEqual([issuer, token_endpoint], [api.publicUrl, `${api.publicUrl}/oauth/token`]);
  assert.deepEqual(code_challenge_methods_supported, ['S256']);
});

test('whatever is wrong with what was sent, the answer names the field and never the value', async (t) => {
  const api = await testApi(t);
  const root = await api.person('root', ['administrators', 'engineering', 'dba']);
  const canary = 'hunter2-canary';
  const junk: readonly unknown[] = [
    canary,
    { [canary]: canary },
    [canary],
    null,
    { token: { canary }, ceremony: [canary], response: canary, assertion: canary, word: { canary }, role: canary },
    { purpose: canary, request: canary, grant: canary },
    { purpose: 'approve_request', request: canary },
    { purpose: 'invite_principal', handle: `${canary}!`, name: [canary], groups: canary },
    { role: `${canary}/`, seconds: canary, reason: { canary }, startsAt: canary, ticket: [canary] },
    { file: [canary], text: { canary }, policies: canary },
    { redirectUri: `http://${canary}/`, codeChallenge: canary, state: canary, dpopJkt: canary, machine: 1 },
    { token: canary.repeat(50) },
  ];
  const id = { id: `req_${'0'.repeat(26)}` };
  for (const [name, endpoint] of Object.entries(endpoints) as [EndpointName, Endpoint][]) {
    if (endpoint.body !== undefined)
      for (const body of junk) {
        const params = {
          id: endpoint.path.includes('/grants/')
            ? id.id.replace('req', 'grt')
            : endpoint.path.includes('/proofs/')
              ? id.id.replace('req', 'prf')
              : id.id,
        };
        const reply = await api.call(web(root), name, { params, body });
        assert.ok(reply.status >= 400 && reply.status < 500, `${name}: ${reply.status} ${reply.text}`);
        assert.equal(reply.text.includes('canary'), false, `${name}: ${reply.text}`);
      }
    if (endpoint.query !== undefined) {
      const path = urlOf(endpoint, { params: id });
      const headers = await api.headersOf(web(root), 'GET', path);
      for (const query of [
        `limit=${canary}`,
        `cursor=${canary.repeat(20)}`,
        `box=${canary}`,
        `scope=${canary}`,
        `waitSeconds=${canary}`,
        `limit=1&limit=${canary}`,
        `since=${canary}`,
      ]) {
        const reply = await api.send({ method: 'GET', path: `${path}?${query}`, headers });
        assert.equal(reply.text.includes('canary'), false, `${name}: ${reply.text}`);
      }
    }
  }
  const headers = { ...(await api.headersOf(web(root), 'POST', '/')), 'content-type': 'application/json' };
  for (const body of [
    `{"reason": "${canary}`,
    `${canary}`,
    '\u0000',
    '{"a":1}{"b":2}',
    Buffer.from([0x7b, 0xff, 0x7d]),
  ]) {
    const reply = await api.send({ method: 'POST', path: '/api/v1/requests', headers, body });
    assert.deepEqual([reply.status, reply.code], [400, 'invalid_input']);
    assert.equal(reply.text.includes('canary'), false);
  }
  const field = await api.call(web(root), 'fileRequest', { body: { role, seconds: 5, reason: 'why' } });
  assert.deepEqual(field.json()['error'], {
    code: 'invalid_input',
    message: '`seconds` must be at least 60',
    field: 'seconds',
  });
  assert.deepEqual(api.faults, []);
});

test('too many tries are refused by address or by principal, with a word when to come back', async (t) => {
  const rates = Object.fromEntries(Object.keys(rateRules).map((what) => [what, { burst: 2, every: seconds(30) }]));
  const api = await testApi(t, { rates: rates as typeof rateRules, api: { trustedProxies: ['127.0.0.1'] } });
  const from = (address: string) =>
    api.send({
      method: 'POST',
      path: '/api/v1/sign-in/options',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': address },
    });
  const statuses = async (address: string) => {
    const replies: Reply[] = [];
    for (let i = 0; i < 3; i += 1) replies.push(await from(address));
    return replies;
  };
  const [, , third] = await statuses('203.0.113.9');
  assert.deepEqual([third?.status, third?.code], [429, 'too_many_tries']);
  assert.ok(Number(third?.headers['retry-after']) > 0 && Number(third?.headers['retry-after']) <= 30);
  assert.equal((await from('203.0.113.10')).status, 200, 'another address');
  assert.equal((await from('2001:db8::1')).status, 200);
  await from('2001:db8::2');
  assert.equal((await from('2001:db8::3')).status, 429, 'one subscriber has many IPv6 addresses');

  const ada = await api.person('ada', ['engineering']);
  const eve = await api.person('eve', ['engineering']);
  const file = (by: typeof ada) => api.call(web(by), 'fileRequest', { body: { role, seconds: 600, reason: 'again' } });
  assert.deepEqual([(await file(ada)).status, (await file(ada)).status, (await file(ada)).status], [200, 200, 429]);
  assert.equal((await file(eve)).status, 200, 'another person');
  api.clock.move(seconds(30));
  assert.equal((await file(ada)).status, 200, 'and after a while again');
});

test('whatever a stranger can ask for, or that makes the server work, is limited', () => {
  for (const [name, endpoint] of Object.entries(endpoints) as [EndpointName, Endpoint][])
    if (endpoint.for === 'stranger' && endpoint.method === 'POST') assert.equal(limits[name]?.by, 'address', name);
  for (const name of ['offerProof', 'useProof', 'fileRequest', 'authorizeCli', 'makePlan'] as const)
    assert.equal(limits[name]?.by, 'principal', name);
});

test('a stranger is told whether something exists neither by an answer nor by a code', async (t) => {
  const api = await testApi(t);
  const reply = await api.call(stranger, 'getRequest', { params: { id: `req_${'0'.repeat(26)}` } });
  assert.equal(reply.code, 'not_signed_in');
});

function post(
  port: number,
  ca: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Pick<Reply, 'status' | 'headers' | 'text' | 'code' | 'json'>> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: 'localhost',
        port,
        path,
        method: 'POST',
        ca,
        agent: false,
        headers: { 'content-type': 'application/json', ...headers },
      },
      (incoming) => {
        let text = '';
        incoming.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
        incoming.on('end', () => {
          const json = () => JSON.parse(text) as Record<string, unknown>;
          const error = json()['error'] as { code?: string } | undefined;
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, code: error?.code, json });
        });
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}
