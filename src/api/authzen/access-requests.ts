/**
 * AuthZEN's Access Request and Approval Profile, draft 1: a denial that can be asked about becomes a task, which can be
 * followed and cancelled. Names of sections in quotes are those of the draft. Bundles of several requests and callbacks
 * are not spoken (docs/authzen.md).
 */
import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import {
  cancelAccessTask,
  fileAccessTask,
  readAccessTask,
  type AccessTask,
  type TaskOutcome,
} from '#app/access-task.ts';
import { accessRequestSubmission, cancellation, problemTypes, submissionJsonSchema } from '#contract/authzen.ts';
import { formatInstant } from '#core/instant.ts';
import { takeOne, type Api, type RequestContext } from '../implement.ts';
import { parseWith } from '../parse-input.ts';
import { authzenRoute, jsonBody } from './route.ts';

const path = '/access/v1/requests';

export function addAccessRequests(hono: Hono<{ Bindings: HttpBindings }>, api: Api): void {
  const { app } = api;

  hono.post(path, (c) =>
    authzenRoute(
      api,
      c,
      async (caller) => {
        takeOne(app, 'request_filing', caller.principal.id);
        const body = await jsonBody(c);
        const { subject, action, resource, context, requested_access, denial, items, callback } = parseWith(
          accessRequestSubmission,
          body,
          'body',
        ) as ReturnType<typeof accessRequestSubmission.parse>;
        if (items !== undefined)
          return problemOf(400, 'several requests in one are not taken here; send them one by one');
        if (callback !== undefined) return problemOf(400, 'nobody is called back from here; ask for the task');
        if (action === undefined || resource === undefined)
          return problemOf(400, 'a request names the action and the resource that were denied');
        // "Access Request Submission": without material that ties it to a denial there is nothing to ask about.
        if (denial?.evaluation_id === undefined)
          return problemAs('invalid_denial_binding', 'a request names the evaluation that was denied');
        if (context?.business_justification === undefined)
          return problemOf(400, '`context.business_justification` is missing: say why access is needed');
        const key = c.req.header('idempotency-key');
        const outcome = await fileAccessTask(app, caller, {
          subject,
          action,
          resource,
          denial: { evaluation: denial.evaluation_id, template: denial.template },
          reason: context.business_justification,
          until: inUtc(requested_access?.requested_until),
          repetition: key === undefined ? undefined : { key, body },
        });
        return taskAnswer(api, outcome, 202);
      },
      problemOf,
    ),
  );

  hono.get(`${path}/:id`, (c) =>
    authzenRoute(
      api,
      c,
      async (caller) => taskAnswer(api, await readAccessTask(app, caller, c.req.param('id')), 200),
      problemOf,
    ),
  );

  hono.post(`${path}/:id/cancel`, (c) =>
    authzenRoute(
      api,
      c,
      async (caller) => {
        // "Cancellation": the body may be left out.
        if (hasBody(c)) parseWith(cancellation, await jsonBody(c), 'body');
        return taskAnswer(api, await cancelAccessTask(app, caller, c.req.param('id')), 200);
      },
      problemOf,
    ),
  );

  // For whoever may ask at all; there is nothing in it that the documentation doesn't say.
  hono.get('/access/v1/request-schema', (c) =>
    authzenRoute(
      api,
      c,
      () =>
        Promise.resolve(
          new Response(JSON.stringify(submissionJsonSchema), {
            headers: { 'content-type': 'application/schema+json' },
          }),
        ),
      problemOf,
    ),
  );
}

/** RFC 3339 allows any offset; ours are in UTC. */
function inUtc(time: string | undefined): string | undefined {
  const at = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(at) ? time : new Date(at).toISOString();
}

function hasBody(c: RequestContext): boolean {
  const { headers } = c.req.raw;
  return headers.get('transfer-encoding') !== null || (headers.get('content-length') ?? '0') !== '0';
}

function taskAnswer(api: Api, outcome: TaskOutcome, status: number): Response {
  if (outcome.kind === 'task') {
    const { task } = outcome;
    const isPending = task.status === 'pending';
    return new Response(JSON.stringify(bodyOf(api, task)), {
      status,
      headers: {
        'content-type': 'application/json',
        ...(status === 202 ? { location: statusEndpoint(api, task) } : {}),
        ...(isPending ? { 'retry-after': '5' } : {}),
      },
    });
  }
  const { because, message } = outcome;
  if (because === 'forbidden' || because === 'invalid_input' || because === 'conflict')
    return problemOf({ forbidden: 403, invalid_input: 400, conflict: 409 }[because], message);
  return problemAs(because, message);
}

const statusEndpoint = (api: Api, task: AccessTask): string => `${api.app.site.publicUrl}${path}/${task.id}`;

/** "Access Request Response" and "Completed Task Response". Who decides is not told here. */
function bodyOf(api: Api, task: AccessTask): object {
  const isPending = task.status === 'pending';
  const { given, needed } = task.approvals;
  const { publicUrl } = api.app.site;
  return {
    task: {
      id: task.id,
      status: task.status,
      status_endpoint: statusEndpoint(api, task),
      ...(isPending ? { expires_at: formatInstant(task.expiresAt) } : {}),
      ...(isPending ? { progress: { current_step: Math.min(given + 1, needed), total_steps: needed } } : {}),
      links: {
        ticket: `${publicUrl}/requests/${task.id}`,
        ...(isPending ? { cancel: `${statusEndpoint(api, task)}/cancel` } : {}),
      },
    },
    ...(task.approval === undefined
      ? {}
      : {
          result: {
            mode: 'reevaluate',
            approval: {
              id: task.approval.id,
              approved_at: formatInstant(task.approval.at),
              approved_until: formatInstant(task.approval.until),
            },
          },
        }),
  };
}

/** "Error Responses": RFC 9457. */
function problemAs(type: keyof typeof problemTypes, detail: string): Response {
  const status = problemTypes[type];
  return problemBody(status, {
    type: `urn:openid:authzen:access-request:error:${type}`,
    title: type.replaceAll('_', ' '),
    status,
    detail,
  });
}

/** One that the draft has no type for: RFC 9457 §4.2.1. */
function problemOf(status: number, detail: string, given?: Headers): Response {
  return problemBody(status, { status, detail }, given);
}

function problemBody(status: number, body: object, given?: Headers): Response {
  const headers = new Headers(given);
  headers.set('content-type', 'application/problem+json');
  return new Response(JSON.stringify(body), { status, headers });
}
