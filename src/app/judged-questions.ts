/**
 * What was asked of policy about statements, so that it can be asked again: of a policy set that is to be (`sally policy
 * replay`), or to explain an answer. The gateway uses answers again, so there is an entry for each different question of a
 * grant, once a day, and not for each statement; those name the policies and the version that answered. Nothing waits for it.
 */
import { after, hours, type Instant } from '#core/instant.ts';
import { resourceOf } from '#core/ids.ts';
import { canonicalJson, type Json } from '#core/jcs.ts';
import { textHash } from '#log/challenge.ts';
import type { Decide, PolicyEngine, StatementAnswer } from '#policy/engine.ts';
import type { Question, StatementQuestion } from '#policy/question.ts';
import { recordQuestion } from '#policy/replay.ts';
import { transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';
import { writeEntries } from './write-entry.ts';

/** What waits to be written and what was written lately; a flood of questions is not worth the memory of all of them. */
const mostWaiting = 2_000;
const mostRemembered = 10_000;
const batch = 200;

export type JudgedQuestions = {
  /** Answers as the given engine does, and remembers what was asked about statements. */
  readonly policy: PolicyEngine;
  /** Writes what waits. Answers how many entries it was. */
  readonly flush: (ctx: Pick<AppContext, 'db' | 'clock' | 'random' | 'contentKeys'>) => Promise<number>;
};

type Waiting = { readonly question: StatementQuestion; readonly answer: StatementAnswer; readonly at: Instant };

export function createJudgedQuestions(engine: PolicyEngine): JudgedQuestions {
  const waiting = new Map<string, Waiting>();
  // Keys of what this process wrote, the oldest first: asked again, they needn't go to the store to be found there.
  const remembered = new Set<string>();

  const note = (question: StatementQuestion, answer: StatementAnswer) => {
    // Before there is a grant somebody only wonders what a role would give.
    if (question.grant === undefined || question.needs.length === 0 || waiting.size >= mostWaiting) return;
    const key = keyOf(question, answer);
    if (!remembered.has(key) && !waiting.has(key)) waiting.set(key, { question, answer, at: question.now });
  };
  const decide = ((question: Question) => {
    const answer = engine.decide(question);
    if (question.action === 'statement') note(question, answer as StatementAnswer);
    return answer;
  }) as Decide;
  // Version and configuration of the engine change: they are looked up in it, and not copied.
  const policy = Object.create(engine, { decide: { value: decide, enumerable: true } }) as PolicyEngine;

  return {
    policy,
    flush: async (ctx) => {
      let written = 0;
      while (waiting.size > 0) {
        const taken = [...waiting].slice(0, batch);
        // They are taken off when they are written: a store that is away gets them later.
        written += await write(ctx, taken);
        for (const [key] of taken) {
          waiting.delete(key);
          remembered.add(key);
        }
        for (const key of remembered) {
          if (remembered.size <= mostRemembered) break;
          remembered.delete(key);
        }
      }
      return written;
    },
  };
}

/** Without the moment: a question that was asked again is the same one, unless it is answered otherwise. */
function keyOf({ grant, principal, needs, context, cured }: StatementQuestion, answer: StatementAnswer): string {
  const { proofAge: _since, authenticatorAge: _old, ...obtained } = cured ?? {};
  const parts = [grant?.id, principal.groups, needs, context, obtained, answer.version, answer.kind, answer.policies];
  // Canonical: the same question is spelled alike wherever it comes from.
  return textHash(canonicalJson(JSON.parse(JSON.stringify(parts)) as Json));
}

async function write(
  ctx: Parameters<JudgedQuestions['flush']>[0],
  taken: readonly (readonly [string, Waiting])[],
): Promise<number> {
  return await transaction(ctx.db, async (trx) => {
    const expires = after(ctx.clock.now(), hours(24));
    // Another process may have been asked the same.
    const fresh = new Set(
      (
        await trx
          .insertInto('seen_once')
          .values(taken.map(([key]) => ({ what: `judged ${key}`, expires_at: expires })))
          .onConflict((conflict) => conflict.doNothing())
          .returning('what')
          .execute()
      ).map(({ what }) => what),
    );
    const drafts = taken
      .filter(([key]) => fresh.has(`judged ${key}`))
      .map(([, { question, answer, at }]) => ({
        kind: 'statement.judged' as const,
        actor: question.principal.id,
        subjects: {
          ...(question.grant === undefined ? {} : { grant: question.grant.id }),
          principal: question.principal.id,
          role: question.role,
          resource: resourceOf(question.role),
        },
        public: { decision: answer.kind, policies: [...answer.policies], policyVersion: answer.version },
        content: { question: recordQuestion(question) },
        at,
      }));
    await writeEntries(ctx, trx, drafts);
    return drafts.length;
  });
}
