/**
 * An act of administration for which policy asks somebody else: it is held, others sign its exact content, and then its
 * requester is offered it for their own passkey. What others signed is input to the policy that judges the act itself.
 */
import type { CurableDenial } from '#core/decision.ts';
import { expireHold, isLiveHold, release } from '#core/hold.ts';
import { newId, type HoldId } from '#core/ids.ts';
import { after, formatInstant, hours } from '#core/instant.ts';
import { canonicalJson } from '#core/jcs.ts';
import { describeProof, type ProofContent, type ProofObject } from '#core/proof.ts';
import { textHash } from '#log/challenge.ts';
import { at, transaction, type Transaction } from '#store/database.ts';
import { judgeAct, type ActQuestion, type ActSupport } from './_administer.ts';
import {
  holdOf,
  lockHold,
  moveHold,
  neededWords,
  readObtained,
  signedInAt,
  tellHold,
  writeHoldEntry,
} from './_holds.ts';
import { lockPrincipal } from './_rows.ts';
import { done, refused, type AppContext, type Caller, type Outcome, type Refused } from './context.ts';
import { writeEntry } from './write-entry.ts';

/** As long as a plan waits. */
const actLifetime = hours(1);
const mostOfPrincipal = 20;

/** Whether it may be offered now, under which hold and with which content; otherwise it is held, and the answer says where. */
export async function offerHeldAct(
  ctx: AppContext,
  caller: Caller,
  act: { readonly question: ActQuestion; readonly ask: object; readonly content: ProofContent },
  asked: CurableDenial,
): Promise<Outcome<{ readonly hold: HoldId; readonly content: ProofContent }>> {
  const ask = canonicalJson(act.ask);
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    // One at a time for a person, or the same act would be held twice.
    await trx.selectFrom('principal').select('id').where('id', '=', caller.principal.id).forUpdate().execute();
    const rows = await trx
      .selectFrom('hold')
      .selectAll()
      .where('requester', '=', caller.principal.id)
      .where('subject', '=', 'act')
      .where('state', 'in', ['waiting', 'cured'])
      .where('expires_at', '>', now)
      .orderBy('id')
      .forUpdate()
      .execute();
    for (const row of rows) {
      if (row.held.kind !== 'act' || row.held.ask !== ask) continue;
      // What was made up for it (the id of a new account, of a link) was signed with it, so it stays.
      const content = withIdsOf(act.content, JSON.parse(row.held.canonical) as ProofContent);
      if (canonicalJson(content) !== row.held.canonical) {
        const word = 'what it is about was changed meanwhile';
        const entry = await writeHoldEntry(ctx, trx, row, 'hold.ended', { of: row.requester, content: { word } });
        await moveHold(trx, row, { state: 'ended', entry, settledAt: now, word });
        continue;
      }
      const so = await readObtained(trx, row, { signedInAt: await signedInAt(trx, row.requester) });
      if ((await judgeAct(ctx, trx, caller, act.question, { obtained: so.obtained })).kind === 'allow') {
        if (row.state === 'waiting') {
          const entry = await writeHoldEntry(ctx, trx, row, 'hold.cured', { public: { by: 'policy' } });
          await moveHold(trx, row, { state: 'cured', entry });
        }
        return done({ hold: row.id, content });
      }
      return waits(ctx, row.id, neededWords(asked.demands));
    }
    if (rows.length >= mostOfPrincipal)
      return refused(
        'conflict',
        `${rows.length} acts of yours wait for somebody else already`,
        'let go of one of them',
      );
    const canonical = canonicalJson(act.content);
    const digest = textHash(canonical);
    const id = newId('hold', { now, random: ctx.random });
    // Its lines without those that only a proof has.
    const words = describeProof(act.content as ProofObject).flatMap(({ label, value, technical }) =>
      technical ? [] : [`${label}: ${value}`],
    );
    const expiresAt = after(now, actLifetime);
    const entry = await writeEntry(ctx, trx, {
      kind: 'hold.opened',
      actor: caller.principal.id,
      subjects: { hold: id, principal: caller.principal.id },
      public: {
        subject: 'act',
        purpose: act.content.purpose,
        digest,
        wants: neededWords(asked.demands),
        policies: [...asked.policies],
        policyVersion: asked.version,
        expiresAt: formatInstant(expiresAt),
      },
      content: { words, address: caller.address },
    });
    await trx
      .insertInto('hold')
      .values({
        id,
        subject: 'act',
        state: 'waiting',
        requester: caller.principal.id,
        access_grant: null,
        session: null,
        role: null,
        client_address: null,
        digest,
        held: { kind: 'act', purpose: act.content.purpose, ask, canonical, words },
        demands: asked.demands,
        asked_by: [...new Set(asked.demands.map(({ policy }) => policy))],
        policy_version: asked.version,
        preview: null,
        reason: null,
        opened_at: at(now),
        expires_at: at(expiresAt),
        settled_at: null,
        settled_by: null,
        word: null,
        entry,
      })
      .execute();
    const row = await trx.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    await tellHold(trx, row, 'waiting');
    return waits(ctx, id, neededWords(asked.demands));
  });
}

/** No fault: what was written stays, so the transaction commits. */
function waits(ctx: Pick<AppContext, 'site'>, id: HoldId, words: string): Refused {
  const url = `${ctx.site.publicUrl}/h/${id}`;
  return {
    ...refused('approval_needed', `it needs ${words}; it waits for that`, `show them ${url}, and do it again then`),
    hold: { id, url },
  };
}

/** The same content with the ids that were made up for another. */
function withIdsOf(content: ProofContent, other: ProofContent): ProofContent {
  if (content.purpose === 'invite_principal' && other.purpose === 'invite_principal')
    return { ...content, subject: { ...content.subject, id: other.subject.id } };
  if (
    (content.purpose === 'enrol_authenticator' &&
      other.purpose === 'enrol_authenticator' &&
      other.link !== undefined) ||
    (content.purpose === 'add_authenticator' && other.purpose === 'add_authenticator')
  )
    return { ...content, ...(other.link === undefined ? {} : { link: other.link }) } as ProofContent;
  return content;
}

/** What a held act may count on when it is carried out; locked until that is over. */
export async function supportOf(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  id: HoldId,
  content: string,
): Promise<Outcome<ActSupport>> {
  await lockPrincipal(trx, caller.principal.id);
  const row = await lockHold(trx, id);
  const late = refused('conflict', `carry out what was held under \`${id}\`: it waits no more`, 'ask for it again');
  if (
    row === undefined ||
    row.requester !== caller.principal.id ||
    !isLiveHold(expireHold(holdOf(row), ctx.clock.now()))
  )
    return late;
  // INVARIANT 5: what is done is what the others signed.
  const outcome = release(holdOf(row), { kind: 'act', digest: textHash(content) }, ctx.clock.now());
  if (outcome.kind === 'refused') return late;
  return done(await readObtained(trx, row, { signedInAt: await signedInAt(trx, row.requester) }));
}

/** It has been done: nothing else is done under it. */
export async function releaseAct(ctx: AppContext, trx: Transaction, caller: Caller, id: HoldId): Promise<void> {
  const row = await lockHold(trx, id);
  if (row === undefined) throw new Error(`release hold \`${id}\`: it is gone`);
  const so = await readObtained(trx, row);
  const entry = await writeHoldEntry(ctx, trx, row, 'hold.released', {
    actor: caller.principal.id,
    public: { digest: row.digest, policyVersion: ctx.policy.version, signedBy: [...so.signedBy] },
  });
  await moveHold(trx, row, { state: 'released', entry, settledAt: ctx.clock.now() });
}
