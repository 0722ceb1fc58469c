/**
 * One endpoint of the contract behind one route: everything that stands between the bytes of a request and its handler,
 * in the order in which it costs least to refuse. Nothing of a body is read for somebody who may not ask.
 */
import type { Context } from 'hono';
import type { HttpBindings } from '@hono/node-server';
import type { AppContext, Caller, Refused } from '#app/context.ts';
import type { Endpoint } from '#contract/endpoint.ts';
import type { EndpointName } from '#contract/endpoints.ts';
import type { ErrorCode } from '#contract/errors.ts';
import type { Limited } from '#identity/rate-limit.ts';
import { addressKey } from '#identity/rate-limit.ts';
import { authenticate, refuseForeignBrowsers } from './authenticate.ts';
import type { ClientAddress } from './client-address.ts';
import { ClientGone, errorAnswer, isUnavailable, refuse, RefusedRequest, type ApiRefusal } from './errors.ts';
import type { Answered, Calling } from './handler.ts';
import { limits, mostBytesFor } from './limits.ts';
import { parseJson, parseWith, queryOf } from './parse-input.ts';
import { readBody } from './read-body.ts';
import type { Waiters } from './waiters.ts';

export type RequestContext = Context<{ Bindings: HttpBindings }>;

/** Events of this folder: a log line and its metric come from one place. Nothing in them was sent by a client. */
export type ApiEvents = {
  readonly answered: (event: {
    /** The endpoint's name, or `oauth`, `console`, `operations`. */
    readonly route: string;
    readonly method: string;
    readonly status: number;
    readonly milliseconds: number;
    readonly principal: string | undefined;
  }) => void;
  /** `id` is what the client was told. */
  readonly fault: (event: { readonly id: string; readonly route: string; readonly fault: unknown }) => void;
};

/** What the endpoints share. */
export type Api = {
  readonly app: AppContext;
  readonly version: string;
  readonly clientAddress: ClientAddress;
  readonly waiters: Waiters;
  readonly exports: Waiters;
  readonly events: ApiEvents;
  /** Aborted when the server wants to stop. */
  readonly stopping: AbortSignal;
  /** Milliseconds that a use case may take, long polls and streams aside. */
  readonly deadlineMs: number;
  /** Hold every answer against the contract. Costs time; for tests and development. */
  readonly checkAnswers: boolean;
};

/** What `Handler<E>` is for some E that isn't known any more. */
type AnyHandler = (call: Calling & Readonly<Record<string, unknown>>) => Promise<Answered<unknown>>;

export function implement(
  api: Api,
  name: EndpointName,
  endpoint: Endpoint,
  handler: (call: never) => Promise<Answered<unknown>>,
): (c: RequestContext) => Promise<Response> {
  return async (c) => {
    const seen: { principal?: string } = {};
    return await answerTo(api, c, name, seen, async () => {
      const request = c.req.raw;
      const { app } = api;
      // The router would run a GET for a HEAD and throw its answer away: an export would never end.
      if (request.method !== endpoint.method) throw refuse('not_found', 'there is nothing at this address');
      const address = addressOf(api, c);
      const limit = limits[name];
      if (limit?.by === 'address') takeOne(app, limit.what, addressKey(address));
      if (endpoint.for === 'stranger' && request.method === 'POST') refuseForeignBrowsers(request, app.site.publicUrl);
      const url = new URL(request.url);
      let caller: Caller | undefined;
      if (endpoint.for === 'principal') {
        caller = await authenticate(app, {
          method: request.method,
          path: url.pathname,
          headers: request.headers,
          address,
        });
        seen.principal = caller.principal.id;
        if (limit?.by === 'principal') takeOne(app, limit.what, caller.principal.id);
      }
      const input: Record<string, unknown> = {};
      if (endpoint.params !== undefined) input['params'] = parseWith(endpoint.params, c.req.param(), 'path');
      if (endpoint.query !== undefined) input['query'] = parseWith(endpoint.query, queryOf(url.searchParams), 'query');
      if (endpoint.body !== undefined) {
        requireJson(request);
        const bytes = await readBody(request, mostBytesFor(name));
        input['body'] = parseWith(endpoint.body, parseJson(bytes), 'body');
      }
      const cut = (fault?: unknown) => {
        if (fault !== undefined) report(api, name, fault);
        c.env.outgoing.destroy();
      };
      const call = {
        ...input,
        ...(caller === undefined ? {} : { caller }),
        app,
        version: api.version,
        address,
        signal: AbortSignal.any([request.signal, api.stopping]),
        waiters: api.waiters,
        exports: api.exports,
        cut,
      };
      // The table of handlers is typed by endpoint (handler.ts); here the two have just been put together by name.
      const work = (handler as AnyHandler)(call);
      const waitMs = 1000 * waitSecondsOf(input['query']);
      const answered = await withDeadline(work, api.deadlineMs + waitMs, (fault) => report(api, name, fault));
      return present(api, name, endpoint, answered, caller);
    });
  };
}

/** Runs what makes an answer, and turns whatever comes of it into one. Shared with the routes that aren't in the contract. */
export async function answerTo(
  api: Pick<Api, 'app' | 'events'>,
  c: RequestContext,
  route: string,
  seen: { readonly principal?: string },
  make: () => Promise<Response>,
): Promise<Response> {
  const begun = performance.now();
  let response: Response;
  try {
    response = await make();
  } catch (thrown) {
    response = answerToThrown(api, c, route, thrown);
  }
  api.events.answered({
    route,
    method: c.req.method,
    status: response.status,
    milliseconds: performance.now() - begun,
    principal: seen.principal,
  });
  return response;
}

function answerToThrown(api: Pick<Api, 'app' | 'events'>, c: RequestContext, route: string, thrown: unknown): Response {
  if (thrown instanceof RefusedRequest) return errorAnswer(thrown.refusal);
  // 499 is nobody's status: it is for our own log line, no one reads the answer.
  if (thrown instanceof ClientGone || c.req.raw.signal.aborted) return new Response(null, { status: 499 });
  const id = report(api, route, thrown);
  if (isUnavailable(thrown))
    return errorAnswer({
      code: 'unavailable',
      message: `the server can't reach its database just now (${id})`,
      hint: 'try again in a moment',
      headers: { 'retry-after': '5' },
    });
  return errorAnswer({
    code: 'fault',
    message: `something went wrong on the server (${id})`,
    hint: `the server's log says more under \`${id}\``,
  });
}

/** Tells the log, and gives the id under which it is found there. */
export function report(api: Pick<Api, 'app' | 'events'>, route: string, fault: unknown): string {
  let id = 'flt_';
  for (const byte of api.app.random(10)) id += '0123456789abcdefghjkmnpqrstvwxyz'.charAt(byte & 31);
  api.events.fault({ id, route, fault });
  return id;
}

export function addressOf(api: Pick<Api, 'clientAddress'>, c: RequestContext): string {
  return api.clientAddress(c.env.incoming.socket.remoteAddress, c.req.header('x-forwarded-for'));
}

/** @throws RefusedRequest `too_many_tries` */
export function takeOne(app: AppContext, what: Limited, key: string): void {
  const outcome = app.rates.take(what, key);
  if (outcome.kind === 'allowed') return;
  const seconds = Math.ceil(outcome.retryAfter / 1000);
  throw refuse('too_many_tries', 'too many tries', {
    hint: `try again in ${seconds} seconds`,
    headers: { 'retry-after': String(seconds) },
  });
}

export function requireJson(request: Request): void {
  if (!/^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(request.headers.get('content-type') ?? ''))
    throw refuse('invalid_input', 'the content type must be `application/json`', { field: 'content-type' });
}

function waitSecondsOf(query: unknown): number {
  const given = (query as { readonly waitSeconds?: unknown } | undefined)?.waitSeconds;
  return typeof given === 'number' ? given : 0;
}

export async function withDeadline<T>(work: Promise<T>, ms: number, onLateFault: (fault: unknown) => void): Promise<T> {
  const { promise: over, resolve } = Promise.withResolvers<'over'>();
  const timer = setTimeout(() => resolve('over'), ms);
  try {
    const first = await Promise.race([work, over]);
    if (first !== 'over') return first as T;
    // Nobody waits for it any more; what becomes of it is still somebody's business.
    work.catch(onLateFault);
    throw refuse('unavailable', 'the server took too long to answer', {
      hint: 'look whether it was done before you try again',
      headers: { 'retry-after': '5' },
    });
  } finally {
    clearTimeout(timer);
  }
}

function present(
  api: Api,
  name: EndpointName,
  endpoint: Endpoint,
  answered: Answered<unknown>,
  caller: Caller | undefined,
): Response {
  if (answered.kind === 'refused') {
    const refusal = refusalOf(answered, caller);
    if (api.checkAnswers && !endpoint.errors.includes(refusal.code) && !anyEndpointsErrors.has(refusal.code))
      throw new Error(`answer \`${name}\`: the contract doesn't name \`${refusal.code}\` among its errors`);
    return errorAnswer(refusal);
  }
  const headers = new Headers({ 'content-type': contentTypeOf(endpoint) });
  if (answered.kind === 'stream') return new Response(answered.body, { headers });
  if (api.checkAnswers) {
    const checked = endpoint.answer.safeParse(answered.value);
    if (!checked.success)
      throw new Error(`answer \`${name}\`: the answer is not as the contract says`, { cause: checked.error });
  }
  if (answered.setCookie !== undefined) headers.append('set-cookie', answered.setCookie);
  const { value } = answered;
  return new Response(endpoint.answerType === 'text/plain' ? String(value) : JSON.stringify(value), { headers });
}

/** What a use case may answer anywhere; the rest is named by endpoint. */
const anyEndpointsErrors: ReadonlySet<ErrorCode> = new Set([
  'invalid_input',
  'invalid_token',
  'not_signed_in',
  'too_many_tries',
]);

function contentTypeOf(endpoint: Endpoint): string {
  if (endpoint.answerType === undefined) return 'application/json; charset=utf-8';
  return endpoint.answerType === 'application/octet-stream'
    ? endpoint.answerType
    : `${endpoint.answerType}; charset=utf-8`;
}

function refusalOf(refused: Refused, caller: Caller | undefined): ApiRefusal {
  const { because, message, hint, hold } = refused;
  // A wait outlived the sign-in: a page is told what it would be told at the next request.
  if (because === 'invalid_token' && caller?.session.kind === 'web') return { code: 'not_signed_in', message, hint };
  return {
    code: because,
    message,
    hint,
    ...(hold === undefined ? {} : { hold }),
    ...(because === 'too_many_tries' ? { headers: { 'retry-after': '5' } } : {}),
  };
}
