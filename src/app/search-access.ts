/**
 * Lists who may do something, what somebody may do something with, or what they may do with it (AuthZEN §8): whatever an
 * evaluation of the same question would allow at this moment. Who may not ask about others finds only themselves.
 */
import { encodeBase64Url, decodeBase64Url } from '#core/base64.ts';
import { canonicalJson } from '#core/jcs.ts';
import { textHash } from '#log/challenge.ts';
import { sql } from 'kysely';
import type { Principal } from '#core/principal.ts';
import { transaction } from '#store/database.ts';
import {
  actionsOn,
  judgeAccess,
  listResources,
  subjectTypes,
  type AskedAction,
  type AskedEntity,
  type Properties,
} from './_access-question.ts';
import { mayReadAll } from './_reading.ts';
import { principalOf } from './_rows.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { addressOf, bounded, subjectFor } from './evaluate-access.ts';
import { writeEntry } from './write-entry.ts';

type Typed = Pick<AskedEntity, 'type' | 'properties'>;
export type AccessSearch = {
  readonly context?: Properties | undefined;
  readonly page?: { readonly token?: string | undefined; readonly limit?: number | undefined } | undefined;
} & (
  | { readonly for: 'subject'; readonly subject: Typed; readonly action: AskedAction; readonly resource: AskedEntity }
  | { readonly for: 'resource'; readonly subject: AskedEntity; readonly action: AskedAction; readonly resource: Typed }
  | { readonly for: 'action'; readonly subject: AskedEntity; readonly resource: AskedEntity }
);

export type AccessFound = {
  /** Ids (of actions: names) that are allowed, in order. */
  readonly found: readonly string[];
  /** Empty: these were the last. */
  readonly next: string;
};

const usualPage = 50;
const largestPage = 100;
/** How many are judged for one answer at most; there may be few among them, and still more behind. */
const mostJudged = 500;

export async function searchAccess(
  ctx: AppContext,
  caller: Caller,
  search: AccessSearch,
): Promise<Outcome<AccessFound>> {
  const { page, ...question } = search;
  const asked = textHash(`${caller.principal.id} ${safely(question)}`).slice(0, 32);
  const begin = page?.token === undefined || page.token === '' ? '' : cursorIn(page.token, asked);
  // §8.2: a token belongs to its question.
  if (begin === undefined)
    return refused('invalid_input', 'search access: the page token does not belong to this question');
  const limit = Math.min(page?.limit ?? usualPage, largestPage);
  const readsAll = mayReadAll(ctx, caller.principal);

  const outcome = await candidatesOf(ctx, caller, search, readsAll);
  if (outcome.kind === 'refused') return outcome;
  const { list, allows } = outcome.value;
  const found: string[] = [];
  let after = begin;
  let judged = 0;
  let isMore = true;
  while (isMore && found.length < limit && judged < mostJudged) {
    const batch = await list(after, usualPage + 1);
    isMore = batch.length > usualPage;
    for (const candidate of batch.slice(0, usualPage)) {
      if (found.length === limit) {
        isMore = true;
        break;
      }
      judged += 1;
      after = candidate.id;
      if (await allows(candidate)) found.push(candidate.id);
    }
  }
  await transaction(ctx.db, async (trx) => {
    await writeEntry(ctx, trx, {
      kind: 'decision.searched',
      actor: caller.principal.id,
      public: { for: search.for, found: found.length, policyVersion: ctx.policy.version },
      content: { question: bounded(question), address: caller.address },
    });
  });
  return done({ found, next: isMore ? tokenFor(after, asked) : '' });
}

type Candidate = { readonly id: string; readonly principal?: Principal };
type Candidates = {
  readonly list: (after: string, count: number) => Promise<readonly Candidate[]>;
  readonly allows: (candidate: Candidate) => Promise<boolean>;
};

async function candidatesOf(
  ctx: AppContext,
  caller: Caller,
  search: AccessSearch,
  readsAll: boolean,
): Promise<Outcome<Candidates>> {
  const judge = async (subject: Principal, action: AskedAction, resource: AskedEntity): Promise<boolean> =>
    (await judgeAccess(ctx, { subject, action, resource, address: addressOf(caller, subject, search) })).kind ===
    'allow';

  if (search.for === 'subject') {
    const { action, resource } = search;
    return done({
      list: (after, count) => listSubjects(ctx, caller, search.subject.type, readsAll, after, count),
      allows: async ({ principal }) => principal !== undefined && (await judge(principal, action, resource)),
    });
  }
  const subject = await subjectFor(ctx, caller, search.subject, readsAll);
  if (subject === 'not_yours') return refused('forbidden', 'search access: you may ask about yourself only');
  const named = (ids: readonly string[]): readonly Candidate[] => ids.map((id) => ({ id }));
  const nobody = () => Promise.resolve([]);
  if (search.for === 'resource') {
    const { action, resource } = search;
    return done({
      list:
        subject === undefined || !actionsOn(resource.type).includes(action.name)
          ? nobody
          : async (after, count) => named(await listResources(ctx, resource.type, after, count)),
      allows: async ({ id }) => subject !== undefined && (await judge(subject, action, { ...resource, id })),
    });
  }
  const { resource } = search;
  return done({
    list:
      subject === undefined
        ? nobody
        : (after, count) =>
            Promise.resolve(
              named(
                actionsOn(resource.type)
                  .filter((name) => name > after)
                  .toSorted()
                  .slice(0, count),
              ),
            ),
    allows: async ({ id }) => subject !== undefined && (await judge(subject, { name: id }, resource)),
  });
}

async function listSubjects(
  ctx: AppContext,
  caller: Caller,
  type: string,
  readsAll: boolean,
  after: string,
  count: number,
): Promise<readonly Candidate[]> {
  const kind = subjectTypes.find((known) => known === type);
  if (kind === undefined) return [];
  const { principal } = caller;
  // INVARIANT 14: who may ask about nobody else is told of nobody else.
  if (!readsAll) return principal.kind === kind && after === '' ? [{ id: principal.handle, principal }] : [];
  const rows = await ctx.db
    .selectFrom('principal')
    .selectAll()
    .where('kind', '=', kind)
    .where('state', '=', 'active')
    .where(sql<boolean>`handle > ${after}`)
    .orderBy('handle')
    .limit(count)
    .execute();
  return rows.map((row) => ({ id: row.handle, principal: principalOf(row) }));
}

// A token says where to go on, and by whom and for which question it was asked. It is no secret and gives nothing: what
// lies behind it is judged like everything else.
function tokenFor(after: string, asked: string): string {
  return encodeBase64Url(new TextEncoder().encode(`${asked} ${after}`));
}

function cursorIn(token: string, asked: string): string | undefined {
  const bytes = decodeBase64Url(token);
  if (bytes === undefined) return undefined;
  const text = new TextDecoder().decode(bytes);
  // No id, handle or name of ours has a character of which a database would complain.
  return text.startsWith(`${asked} `) && !/\p{Cc}/u.test(text) ? text.slice(asked.length + 1) : undefined;
}

function safely(value: unknown): string {
  try {
    return canonicalJson(value);
  } catch {
    return JSON.stringify(value);
  }
}
