/**
 * A small working mock of the API, for the console's tests: it serves web/dist with the headers that the real server has
 * and answers every endpoint of the contract from a world in memory. Inputs and answers are held against the contract, so
 * a console that works here and a server that keeps the contract fit each other.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import type { Endpoint } from '#contract/endpoint.ts';
import { type EndpointName, endpoints } from '#contract/endpoints.ts';
import { errorStatus } from '#contract/errors.ts';
import { accessHandlers } from './mock-access.ts';
import { evidenceHandlers } from './mock-evidence.ts';
import { type Call, type Handlers, Refusal } from './mock-handlers.ts';
import { peopleHandlers } from './mock-people.ts';
import { holdHandlers } from './mock-holds.ts';
import { proofHandlers } from './mock-proofs.ts';
import { at, type Person, personOf, random, type World } from './mock-world.ts';

/** What the console must live with; the real server sends the same. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

type AnyHandler = (input: unknown, call: Call) => unknown;

export type MockServer = { readonly url: string; readonly close: () => Promise<void> };

export async function startMockServer(world: World, dist: string): Promise<MockServer> {
  let origin = '';
  const handlers: Handlers = {
    ...peopleHandlers(world),
    ...proofHandlers(world, () => origin),
    ...accessHandlers(world),
    ...evidenceHandlers(world),
    ...holdHandlers(world),
  };
  const server = createServer((request, response) => {
    answer(world, handlers, dist, request, response).catch((cause: unknown) => {
      console.error('mock server:', cause);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A passkey's page is on `localhost`: an address has no valid RP ID.
  origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  return { url: origin, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve, reject) => server.close((error) => (error === undefined ? resolve() : reject(error))));
}

async function answer(
  world: World,
  handlers: Handlers,
  dist: string,
  request: IncomingMessage,
  response: ServerResponse,
) {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (!url.pathname.startsWith('/api/')) return serveFile(dist, url.pathname, response);
  const say = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(JSON.stringify(body));
  };
  try {
    const found = findEndpoint(request.method ?? 'GET', url.pathname);
    if (found === undefined) throw new Refusal('not_found', 'find an endpoint: there is none');
    const [name, params] = found;
    const endpoint: Endpoint = endpoints[name];
    if (endpoint.method === 'POST' && request.headers['content-type'] !== 'application/json')
      throw new Refusal('cross_site', 'take a request: it is not JSON');
    const call = callOf(world, request, response, endpoint.for === 'stranger');
    const failure = world.failures.findIndex((one) => one.endpoint === name);
    if (failure !== -1) {
      const [one] = world.failures.splice(failure, 1);
      throw new Refusal(one?.code ?? 'fault', 'do what was asked: told to fail');
    }
    const input = {
      params: endpoint.params?.parse(params),
      query: endpoint.query?.parse(Object.fromEntries(url.searchParams)),
      body: endpoint.body?.parse(JSON.parse((await readBody(request)) || 'null')),
    };
    const result = (handlers[name] as AnyHandler)(input, call);
    say(200, endpoint.answer.parse(result));
  } catch (error) {
    if (error instanceof Refusal) say(errorStatus[error.code], { error: { code: error.code, message: error.message } });
    else throw error;
  }
}

function findEndpoint(method: string, path: string): [EndpointName, Record<string, string>] | undefined {
  for (const [name, endpoint] of Object.entries(endpoints) as [EndpointName, Endpoint][]) {
    const pattern = new RegExp(`^${endpoint.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`);
    const match = endpoint.method === method ? pattern.exec(path) : null;
    if (match !== null) return [name, { ...match.groups }];
  }
  return undefined;
}

const cookieName = 'sally';

function callOf(world: World, request: IncomingMessage, response: ServerResponse, isForStrangers: boolean): Call {
  const token = new RegExp(`(?:^|; )${cookieName}=([^;]+)`).exec(request.headers.cookie ?? '')?.[1] ?? '';
  const session = world.cookies.get(token);
  if (session === undefined && !isForStrangers) throw new Refusal('not_signed_in', 'answer: nobody is signed in');
  const setCookie = (value: string, rest = '') =>
    response.setHeader('set-cookie', `${cookieName}=${value}; HttpOnly; SameSite=Strict; Path=/${rest}`);
  return {
    // A stranger's handlers look at neither.
    session: session ?? { person: '', provenAt: at(), expiresAt: at() },
    person: session === undefined ? (undefined as unknown as Person) : personOf(world, session.person),
    signIn: (principal) => {
      const fresh = { person: principal, provenAt: at(), expiresAt: at(43_200) };
      const value = Buffer.from(random(24)).toString('base64url');
      world.cookies.set(value, fresh);
      setCookie(value);
      return fresh;
    },
    signOut: () => {
      world.cookies.delete(token);
      setCookie('', '; Max-Age=0');
    },
    page: (items, { cursor, limit }) => {
      const from = Number(cursor ?? 0);
      return {
        items: items.slice(from, from + limit),
        next: items.length > from + limit ? String(from + limit) : null,
      };
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

async function serveFile(dist: string, path: string, response: ServerResponse): Promise<void> {
  const name = extname(path) === '' ? 'index.html' : normalize(path);
  let bytes: Buffer;
  try {
    bytes = await readFile(join(dist, name));
  } catch {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    'content-type': types[extname(name)] ?? 'application/octet-stream',
    'content-security-policy': contentSecurityPolicy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
  });
  response.end(bytes);
}
