/**
 * OpenID AuthZEN Authorization API 1.0 over HTTPS (§10.1): another system asks what is allowed, and is told. Bodies and
 * errors have that specification's form and not ours; who calls, how often and how much may be sent is judged as everywhere.
 * docs/authzen.md says which questions there are. The sections named here are those of the specification.
 */
import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import { evaluateAccess, type AccessAnswer, type AccessAsk } from '#app/evaluate-access.ts';
import { searchAccess, type AccessSearch } from '#app/search-access.ts';
import * as contract from '#contract/authzen.ts';
import type { EvaluationsRequest } from '#contract/authzen.ts';
import type { Cover, Cure } from '#core/decision.ts';
import { formatInstant } from '#core/instant.ts';
import { refuse } from '../errors.ts';
import { answerTo, takeOne, type Api } from '../implement.ts';
import { parseWith } from '../parse-input.ts';
import { addAccessRequests } from './access-requests.ts';
import { authzenRoute, jsonBody, withRequestId } from './route.ts';

/** A search judges many times. */
const searchCost = 10;

export function addAuthzen(hono: Hono<{ Bindings: HttpBindings }>, api: Api): void {
  const { app } = api;

  hono.post('/access/v1/evaluation', (c) =>
    authzenRoute(api, c, async (caller) => {
      const ask = parseWith(contract.evaluationRequest, await jsonBody(c), 'body') as AccessAsk;
      takeOne(app, 'evaluation', caller.principal.id);
      const [answer] = await evaluateAccess(app, caller, [ask]);
      return json(single(api, answer));
    }),
  );

  hono.post('/access/v1/evaluations', (c) =>
    authzenRoute(api, c, async (caller) => {
      const body = await jsonBody(c);
      const many = parseWith(contract.evaluationsRequest, body, 'body') as EvaluationsRequest;
      const { evaluations = [] } = many;
      // §7.1: without items it is the single one.
      if (evaluations.length === 0) {
        const ask = parseWith(contract.evaluationRequest, body, 'body') as AccessAsk;
        takeOne(app, 'evaluation', caller.principal.id);
        const [answer] = await evaluateAccess(app, caller, [ask]);
        return json(single(api, answer));
      }
      const asks = evaluations.map((item) => withDefaults(many, item));
      for (const _ of asks) takeOne(app, 'evaluation', caller.principal.id);
      const answers = await evaluateAccess(app, caller, asks, many.options?.evaluations_semantic);
      return json({ evaluations: answers.map((answer) => decisionOf(api, answer)) });
    }),
  );

  const search = (what: AccessSearch['for'], schema: Parameters<typeof parseWith>[0]) =>
    hono.post(`/access/v1/search/${what}`, (c) =>
      authzenRoute(api, c, async (caller) => {
        const asked = parseWith(schema, await jsonBody(c), 'body') as Omit<AccessSearch, 'for'>;
        for (let i = 0; i < searchCost; i += 1) takeOne(app, 'evaluation', caller.principal.id);
        const question = { ...asked, for: what } as AccessSearch;
        const outcome = await searchAccess(app, caller, question);
        if (outcome.kind === 'refused') throw refuse(outcome.because, outcome.message, { hint: outcome.hint });
        const { found, next } = outcome.value;
        return json({
          page: { next_token: next, count: found.length },
          results: found.map((id) =>
            question.for === 'action' ? { name: id } : { type: question[question.for].type, id },
          ),
        });
      }),
    );
  search('subject', contract.subjectSearch);
  search('resource', contract.resourceSearch);
  search('action', contract.actionSearch);

  // §9.
  const { publicUrl, accessRequestProfile } = app.site;
  const metadata = JSON.stringify({
    policy_decision_point: publicUrl,
    access_evaluation_endpoint: `${publicUrl}/access/v1/evaluation`,
    access_evaluations_endpoint: `${publicUrl}/access/v1/evaluations`,
    search_subject_endpoint: `${publicUrl}/access/v1/search/subject`,
    search_resource_endpoint: `${publicUrl}/access/v1/search/resource`,
    search_action_endpoint: `${publicUrl}/access/v1/search/action`,
    ...(accessRequestProfile === undefined
      ? {}
      : {
          access_request_endpoint: `${publicUrl}/access/v1/requests`,
          capabilities: ['urn:openid:authzen:capability:access-request'],
        }),
  });
  hono.get('/.well-known/authzen-configuration', (c) =>
    answerTo(api, c, 'authzen', {}, () =>
      Promise.resolve(
        withRequestId(
          c,
          new Response(metadata, { headers: { 'content-type': 'application/json', 'cache-control': 'max-age=300' } }),
        ),
      ),
    ),
  );
  if (accessRequestProfile !== undefined) addAccessRequests(hono, api);
}

function json(value: object): Response {
  return new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } });
}

function single(api: Api, answer: AccessAnswer | undefined): object {
  if (answer === undefined) throw new Error('evaluate access: one question has no answer');
  if (answer.kind === 'not_yours') throw refuse('forbidden', 'evaluate access: you may ask about yourself only');
  return decisionOf(api, answer);
}

/** An item with what the message says for all of them (§7.1.1); undefined when it isn't a question even so. */
function withDefaults(many: EvaluationsRequest, item: unknown): AccessAsk | undefined {
  if (typeof item !== 'object' || item === null) return undefined;
  const own = item as Readonly<Record<string, unknown>>;
  const merged: Record<string, unknown> = {};
  for (const name of ['subject', 'action', 'resource'] as const) {
    const given = own[name];
    const otherwise = many[name];
    if (given === undefined) merged[name] = otherwise;
    else if (typeof given !== 'object' || given === null) return undefined;
    else {
      // An item's own entity replaces the whole default, except that what must be there and isn't is taken from it.
      const { properties: _, ...required } = otherwise ?? {};
      merged[name] = { ...required, ...given };
    }
  }
  merged['context'] = own['context'] ?? many.context;
  const parsed = contract.evaluationRequest.safeParse(merged);
  return parsed.success ? parsed.data : undefined;
}

/** A decision (§5.5). A permit says nothing else: a caller may refuse a permit whose context it doesn't understand. */
export function decisionOf(api: Api, answer: AccessAnswer | undefined): object {
  if (answer === undefined) return failed(400, 'the question is not complete');
  switch (answer.kind) {
    case 'not_yours':
      return failed(403, 'you may ask about yourself only');
    case 'allowed':
      return {
        decision: true,
        ...(answer.approval === undefined
          ? {}
          : {
              context: {
                approval: { id: answer.approval.id, approved_until: formatInstant(answer.approval.until) },
              },
            }),
      };
    case 'denied': {
      const { id, at, reason, cures, waiting, because, policies } = answer;
      return {
        decision: false,
        context: {
          reason,
          evaluation_id: id,
          evaluated_at: formatInstant(at),
          ...(cures.length === 0 ? {} : { cures: cures.map(cureOf) }),
          ...(waiting === undefined ? {} : { grant: waiting }),
          ...requestOf(api, answer),
          ...(because === undefined ? {} : { reason_admin: { en: because }, policies }),
        },
      };
    }
    default:
      return answer satisfies never;
  }
}

/** Durations as everywhere in JSON: in whole seconds, and named so. */
function cureOf(cure: Cure): object {
  switch (cure.kind) {
    case 'proof':
      return { kind: cure.kind, ...coverOf(cure.cover) };
    case 'approval':
      return { kind: cure.kind, by: cure.by, count: cure.count, ...coverOf(cure.cover) };
    case 'fresh_sign_in':
      return { kind: cure.kind, within_seconds: Math.floor(cure.within / 1000) };
    case 'preview':
      return { kind: cure.kind, ...cure.approvers };
    case 'reason':
    case 'activation':
      return { kind: cure.kind };
    default:
      return cure satisfies never;
  }
}

function coverOf(cover: Cover | undefined): object {
  return cover === undefined ? {} : { covers: { over: cover.over, seconds: Math.floor(cover.lasts / 1000) } };
}

/** §7.2.1: what is wrong with one item is said in its place. */
function failed(status: number, message: string): object {
  return { decision: false, context: { error: { status, message } } };
}

function requestOf(api: Api, { reason, requestable }: Extract<AccessAnswer, { kind: 'denied' }>): object {
  const { publicUrl, accessRequestProfile } = api.app.site;
  // Of the profile, "Approval and Re-evaluation": what to do next, so that nobody retries blindly.
  const next =
    accessRequestProfile === undefined
      ? {}
      : reason === 'grant_pending'
        ? { next_action: 'retry', retry_after: 15 }
        : reason === 'approval_expired' || reason === 'out_of_scope'
          ? { next_action: requestable === undefined ? 'none' : 'request' }
          : reason === 'approval_unverifiable'
            ? { next_action: 'none' }
            : {};
  if (requestable === undefined) return next;
  const { role, until } = requestable;
  const hint = { role, command: `sally request ${role}` };
  if (accessRequestProfile === undefined || ('next_action' in next && next.next_action !== 'request'))
    return { ...next, requestable: hint };
  return {
    ...next,
    requestable: hint,
    access_request: {
      endpoint: `${publicUrl}/access/v1/requests`,
      template: role,
      expires_at: formatInstant(until),
      form_url: `${publicUrl}/requests/new?role=${encodeURIComponent(role)}`,
      request_schema_url: `${publicUrl}/access/v1/request-schema`,
      display: { title: 'Request access', description: `The role ${role} would allow it.` },
    },
  };
}
