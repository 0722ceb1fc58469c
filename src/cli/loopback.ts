/** The other end of a sign-in: a server on the loopback interface that the browser is sent back to (RFC 8252 §7.3). */
import { createServer, type ServerResponse } from 'node:http';
import { CliError } from './exit.ts';

export type Loopback = {
  readonly redirectUri: string;
  /** The code, once the browser brings it with the right state and issuer. */
  readonly code: Promise<string>;
  readonly close: () => void;
};

/**
 * Listens on an ephemeral port of 127.0.0.1. An answer with another state is not for this sign-in: it is refused, and the
 * wait goes on, so that another program on this machine can't end it.
 */
export async function listenOnLoopback(expected: {
  readonly state: string;
  readonly issuer: string;
}): Promise<Loopback> {
  const code = Promise.withResolvers<string>();
  // Nobody may be waiting yet when it fails.
  code.promise.catch(() => {});
  let host = '';
  const server = createServer((request, response) => {
    // A page of another site can send a browser to this port; a name that isn't ours is how it would read the answer.
    if (request.headers.host !== host) return answer(response, 421, 'This is not the address of this program.');
    const url = new URL(request.url ?? '/', `http://${host}`);
    if (url.pathname !== '/callback' || request.method !== 'GET')
      return answer(response, 404, 'There is nothing here.');
    const { searchParams: query } = url;
    if (query.get('state') !== expected.state)
      return answer(
        response,
        400,
        'This sign-in was not started by the program that waits here. Nothing has been done.',
      );
    if (query.get('iss') !== expected.issuer) {
      answer(
        response,
        400,
        'The answer came from another server than the sign-in was started at. You are not signed in.',
      );
      return code.reject(
        new CliError(
          'refused',
          `sign in at ${expected.issuer}: the answer came from \`${query.get('iss') ?? 'nobody'}\``,
          {
            hint: 'use the server’s own public URL with --server',
          },
        ),
      );
    }
    const error = query.get('error');
    const given = query.get('code');
    if (error !== null || given === null || given === '') {
      answer(response, 200, 'The sign-in was refused. You can close this page.');
      return code.reject(
        new CliError('refused', `sign in at ${expected.issuer}: refused in the browser (${error ?? 'no code'})`),
      );
    }
    answer(response, 200, 'You are signed in. You can close this page and go back to your terminal.');
    return code.resolve(given);
  });
  // A connection that says nothing must not hold anything up.
  server.requestTimeout = 10_000;
  server.headersTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has an address and a port');
  host = `127.0.0.1:${address.port}`;
  return {
    redirectUri: `http://${host}/callback`,
    code: code.promise,
    close: () => {
      server.close();
      // The answer is out by now, or on its way: what is idle is closed, the rest ends with its answer.
      server.closeIdleConnections();
    },
  };
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    connection: 'close',
  });
  response.end(
    `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Sallyport</title><h1>Sallyport</h1><p>${text}</p></html>\n`,
  );
}
