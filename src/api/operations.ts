/** For whoever runs it: is it alive, is it ready, what does it count, and what can its API do. */
import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import { openApiDocument } from '#contract/openapi.ts';
import type { Secret } from '#core/secret.ts';
import { sameHash } from '#identity/tokens.ts';
import { isLoopbackAddress } from './client-address.ts';
import { errorAnswer } from './errors.ts';
import { addressOf, answerTo, type Api, type RequestContext } from './implement.ts';

export type Operations = {
  /** Undefined: ready. Otherwise why not, in words that anybody may read. */
  readonly ready: () => Promise<string | undefined>;
  readonly metrics?: {
    /** In the text format of Prometheus. */
    readonly text: () => Promise<string>;
    /** Lets somebody read them who isn't on this machine. */
    readonly token?: Secret<string>;
  };
};

export function addOperations(hono: Hono<{ Bindings: HttpBindings }>, api: Api, operations: Operations): void {
  hono.get('/healthz', (c) => answerTo(api, c, 'operations', {}, () => Promise.resolve(text(200, 'ok\n'))));

  hono.get('/readyz', (c) =>
    answerTo(api, c, 'operations', {}, async () => {
      const not = api.stopping.aborted ? 'stopping' : await operations.ready();
      return not === undefined ? text(200, 'ready\n') : text(503, `not ready: ${not}\n`);
    }),
  );

  const { metrics } = operations;
  if (metrics !== undefined)
    hono.get('/metrics', (c) =>
      answerTo(api, c, 'operations', {}, async () =>
        mayReadMetrics(api, c, metrics.token)
          ? text(200, await metrics.text(), 'text/plain; version=0.0.4; charset=utf-8')
          : errorAnswer({ code: 'not_found', message: 'there is nothing at this address' }),
      ),
    );

  // Made at the first question and kept: the contract doesn't change while it runs.
  let document: string | undefined;
  hono.get('/openapi.json', (c) =>
    answerTo(api, c, 'operations', {}, () => {
      document ??= JSON.stringify(openApiDocument({ publicUrl: api.app.site.publicUrl }));
      return Promise.resolve(
        new Response(document, { headers: { 'content-type': 'application/json', 'cache-control': 'no-cache' } }),
      );
    }),
  );
}

/**
 * From this machine, or with the token. A proxy on this machine that the configuration doesn't name makes the whole world
 * look local, so a request that came through one (they say so) isn't local.
 */
function mayReadMetrics(api: Api, c: RequestContext, token: Secret<string> | undefined): boolean {
  const given = /^bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];
  if (given !== undefined && token !== undefined) {
    const encoder = new TextEncoder();
    return sameHash(encoder.encode(given), encoder.encode(token.reveal()));
  }
  const isForwarded = ['x-forwarded-for', 'forwarded', 'via'].some((name) => c.req.header(name) !== undefined);
  return !isForwarded && isLoopbackAddress(addressOf(api, c));
}

function text(status: number, body: string, type = 'text/plain; charset=utf-8'): Response {
  return new Response(body, { status, headers: { 'content-type': type } });
}
