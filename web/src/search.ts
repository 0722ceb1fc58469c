/** What may stand in the query of each page. Whatever else is there is dropped, never an error: people edit URLs. */
import { z } from 'zod';
import { grantId, grantState, principalId, requestId, requestState, roleName, sessionId } from '#contract/views.ts';

const text = z.string().max(500).optional().catch(undefined);
const cursor = { cursor: text };
const scope = z.enum(['mine', 'all']).optional().catch(undefined);
const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

export const signInSearch = z.object({ to: text });
export const requestsSearch = z.object({
  box: maybe(z.enum(['inbox', 'mine', 'all'])),
  state: maybe(requestState),
  ...cursor,
});
export const newRequestSearch = z.object({ role: maybe(roleName), search: text });
export const grantsSearch = z.object({ scope, state: maybe(z.enum([...grantState.options, 'live'])), ...cursor });
export const sessionsSearch = z.object({
  scope,
  state: maybe(z.enum(['open', 'ended'])),
  grant: maybe(grantId),
  ...cursor,
});
export const sessionSearch = z.object(cursor);
export const logSearch = z.object({
  scope,
  kind: text,
  grant: maybe(grantId),
  session: maybe(sessionId),
  request: maybe(requestId),
  principal: maybe(principalId),
  since: maybe(z.iso.date()),
  order: maybe(z.enum(['newest', 'oldest'])),
  entry: text,
  ...cursor,
});
export type LogSearch = z.infer<typeof logSearch>;
export const peopleSearch = z.object({ search: text, invite: maybe(z.literal('1')), ...cursor });
export const configurationSearch = z.object({ file: text });
/** RFC 8252 and RFC 7636, as the CLI sends it; the page says what is missing. */
export const authorizeSearch = z.object({
  redirect_uri: text,
  code_challenge: text,
  code_challenge_method: text,
  state: text,
  dpop_jkt: text,
  machine: text,
});

/** Plain `?name=value` both ways: a number-like value stays the text that it was. */
export function parseSearch(query: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(query));
}

export function stringifySearch(search: Record<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(search))
    if (typeof value === 'string' && value !== '') query.set(name, value);
  const written = query.toString();
  return written === '' ? '' : `?${written}`;
}
