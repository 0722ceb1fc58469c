/** What the routes of AuthZEN share: who calls, what came along, and errors in the form of the specification. */
import type { Caller } from '#app/context.ts';
import type { ErrorBody } from '#contract/errors.ts';
import { authenticate } from '../authenticate.ts';
import { addressOf, answerTo, report, requireJson, withDeadline, type Api, type RequestContext } from '../implement.ts';
import { parseJson } from '../parse-input.ts';
import { readBody } from '../read-body.ts';

const mostBytes = 262_144;

/** Everything that stands before an answer. An error is told in the form of the specification that is spoken. */
export async function authzenRoute(
  api: Api,
  c: RequestContext,
  run: (caller: Caller) => Promise<Response>,
  errorAs: (status: number, message: string, headers: Headers) => Response = plainError,
): Promise<Response> {
  const seen: { principal?: string } = {};
  const response = await answerTo(api, c, 'authzen', seen, async () => {
    const caller = await authenticate(api.app, {
      method: c.req.method,
      path: new URL(c.req.url).pathname,
      headers: c.req.raw.headers,
      address: addressOf(api, c),
    });
    seen.principal = caller.principal.id;
    return await withDeadline(run(caller), api.deadlineMs, (fault) => report(api, 'authzen', fault));
  });
  const isOurError =
    response.status >= 400 && response.headers.get('content-type')?.startsWith('application/json') === true;
  if (!isOurError) return withRequestId(c, response);
  const { error } = (await response.json()) as ErrorBody;
  return withRequestId(c, errorAs(response.status, error.message, response.headers));
}

/** §10.1.2: the body of an error is a message. */
function plainError(status: number, message: string, headers: Headers): Response {
  const kept = new Headers(headers);
  kept.set('content-type', 'text/plain; charset=utf-8');
  return new Response(`${message}\n`, { status, headers: kept });
}

/** §10.1.3: whoever names a request is answered under that name. Node has refused what can't be in a header. */
export function withRequestId(c: RequestContext, response: Response): Response {
  const id = c.req.raw.headers.get('x-request-id');
  if (id !== null) response.headers.set('x-request-id', id);
  return response;
}

export async function jsonBody(c: RequestContext): Promise<unknown> {
  requireJson(c.req.raw);
  return parseJson(await readBody(c.req.raw, mostBytes));
}
