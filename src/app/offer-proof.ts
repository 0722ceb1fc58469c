/**
 * Offers the content of an act to be signed. The server chooses the purpose and writes the object from what it knows;
 * the caller names only what to act on. Everything is judged again when the proof is used.
 */
import type { AuthenticatorId, GrantId, HoldId, PlanId, PrincipalId, ProofId, RequestId } from '#core/ids.ts';
import { newId } from '#core/ids.ts';
import { formatInstant, parseInstant } from '#core/instant.ts';
import { activate } from '#core/grant.ts';
import { offerProof as offer, type ProofContent, type ProofObject } from '#core/proof.ts';
import { resourceOf } from '#core/ids.ts';
import { proofChallenge, textHash } from '#log/challenge.ts';
import { at, json } from '#store/database.ts';
import { mayDecide, refusalOf } from './_decide-request.ts';
import { activationRefusal } from './activate-grant.ts';
import { administratorsLeft, mayAdminister, prepareAct, type ActQuestion } from './_administer.ts';
import { findPrincipal, grantOf, readRequest } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { keysOf, removeContent, resetContent } from './change-authenticators.ts';
import { statementOf } from './denials.ts';
import { offerHeldAct } from './hold-act.ts';
import { taken } from './invite-principal.ts';
import { permissionsInWords } from './permissions.ts';
import { readPlan } from './read-plan.ts';
import { changeOf } from './renew-link.ts';
import { approveActContent, approveActionContent, doActionContent, type Conditions } from './sign-hold.ts';

export type ProofAsk =
  | { readonly purpose: 'approve_request'; readonly request: RequestId }
  | { readonly purpose: 'activate_grant'; readonly grant: GrantId }
  | {
      readonly purpose: 'invite_principal';
      readonly handle: string;
      readonly name: string;
      readonly groups: readonly string[];
    }
  | {
      readonly purpose: 'change_principal';
      readonly principal: PrincipalId;
      readonly groups: readonly string[];
      readonly state: 'active' | 'suspended';
    }
  | { readonly purpose: 'enrol_authenticator'; readonly principal: PrincipalId }
  | { readonly purpose: 'change_configuration'; readonly plan: PlanId }
  | { readonly purpose: 'add_authenticator' }
  | { readonly purpose: 'remove_authenticator'; readonly authenticator: AuthenticatorId }
  | { readonly purpose: 'reset_authenticators'; readonly principal: PrincipalId; readonly reason: string }
  | { readonly purpose: 'do_action' | 'approve_act'; readonly hold: HoldId }
  | { readonly purpose: 'approve_action'; readonly hold: HoldId; readonly conditions?: Conditions };

export type Offer = {
  readonly id: ProofId;
  readonly object: ProofObject;
  readonly challenge: Uint8Array;
  /** The caller's own passkeys, any of which may sign. */
  readonly authenticators: readonly {
    readonly id: AuthenticatorId;
    readonly credentialId: Uint8Array;
    readonly transports: readonly string[];
  }[];
};

export async function offerProof(ctx: AppContext, caller: Caller, ask: ProofAsk): Promise<Outcome<Offer>> {
  const asked = await contentOf(ctx, caller, ask);
  if (asked.kind === 'refused') return asked;
  let content = asked.value;
  let hold: HoldId | null = null;
  const question = await questionOf(ctx, content);
  if (question !== undefined) {
    const judged = await prepareAct(ctx, ctx.db, caller, question);
    if (judged.kind === 'refused') return judged;
    if (judged.value.kind === 'curable') {
      const held = await offerHeldAct(ctx, caller, { question, ask, content }, judged.value);
      if (held.kind === 'refused') return held;
      ({ hold, content } = held.value);
    }
  }
  const { id, handle } = caller.principal;
  const now = ctx.clock.now();
  const { object } = offer<ProofContent['purpose']>(content, {
    principal: { id, handle },
    policyVersion: ctx.policy.version,
    now,
    random: ctx.random,
  });
  const authenticators = await ctx.db
    .selectFrom('authenticator')
    .select(['id', 'credential_id', 'transports'])
    .where('principal', '=', id)
    .where('revoked_at', 'is', null)
    .execute();
  const expiresAt = parseInstant(object.expiresAt);
  if (expiresAt === undefined) throw new Error(`offer a proof: \`${object.expiresAt}\` is no instant`);
  await ctx.db
    .insertInto('proof')
    .values({
      id: object.id,
      purpose: object.purpose,
      principal: id,
      object: json(object),
      created_at: at(now),
      expires_at: at(expiresAt),
      used_at: null,
      authenticator: null,
      assertion: null,
      hold,
    })
    .execute();
  return done({
    id: object.id,
    object,
    challenge: proofChallenge(object),
    authenticators: authenticators.map((row) => ({
      id: row.id,
      credentialId: row.credential_id,
      transports: row.transports,
    })),
  });
}

/** What an act of administration asks of policy; undefined for what isn't one. */
async function questionOf(ctx: AppContext, content: ProofContent): Promise<ActQuestion | undefined> {
  switch (content.purpose) {
    case 'invite_principal':
    case 'change_principal':
      return { kind: 'administer', what: 'principals' };
    case 'change_configuration':
      return { kind: 'administer', what: 'configuration' };
    case 'enrol_authenticator':
    case 'add_authenticator':
    case 'remove_authenticator':
    case 'reset_authenticators': {
      const of = await findPrincipal(ctx.db, content.subject.id);
      if (of === undefined) throw new Error(`offer a proof: \`${content.subject.id}\` is nobody`);
      const changes = {
        add_authenticator: 'add',
        remove_authenticator: 'remove',
        reset_authenticators: 'reset',
      } as const;
      return {
        kind: 'authenticators',
        of,
        change: content.purpose === 'enrol_authenticator' ? await changeOf(ctx.db, of.id) : changes[content.purpose],
      };
    }
    case 'approve_request':
    case 'activate_grant':
    case 'do_action':
    case 'approve_action':
    case 'approve_act':
      return undefined;
    default:
      return content satisfies never;
  }
}

async function contentOf(ctx: AppContext, caller: Caller, ask: ProofAsk): Promise<Outcome<ProofContent>> {
  const now = ctx.clock.now();
  switch (ask.purpose) {
    case 'approve_request': {
      const request = await readRequest(ctx.db, ask.request);
      const judged = mayDecide(ctx, caller.principal, request, ask.request);
      if (judged.kind === 'refused') return judged;
      const asked = judged.value.request;
      if (asked.state !== 'pending') return refusalOf('already_decided', asked.id);
      if (now >= asked.expiresAt) return refusalOf('expired', asked.id);
      if (asked.approvedBy.includes(caller.principal.id)) return refusalOf('already_approved_by_you', asked.id);
      const requester = await findPrincipal(ctx.db, asked.requester);
      if (requester === undefined) throw new Error(`offer a proof: request \`${asked.id}\` has no requester`);
      const role = ctx.policy.configuration?.resources
        .flatMap((resource) => resource.roles)
        .find((candidate) => candidate.name === asked.role);
      if (role === undefined)
        return refused(
          'conflict',
          `approve request \`${asked.id}\`: \`${asked.role}\` is no longer in the configuration`,
        );
      const about = await statementOf(ctx.db, asked.id);
      return done({
        purpose: 'approve_request',
        request: asked.id,
        requester: { id: requester.id, handle: requester.handle },
        role: asked.role,
        resource: resourceOf(asked.role),
        durationSeconds: asked.duration / 1000,
        ...(asked.startsAt === undefined ? {} : { startsAt: formatInstant(asked.startsAt) }),
        permissions: permissionsInWords(role.permissions),
        reason: asked.reason,
        reasonHash: textHash(asked.reason),
        ...(asked.ticket === undefined ? {} : { ticket: asked.ticket }),
        ...(about === undefined ? {} : { statement: about.statement, ...(about.once ? { once: true as const } : {}) }),
        approvalsNeeded: asked.approvalsNeeded,
      });
    }
    case 'activate_grant': {
      const row = await ctx.db.selectFrom('access_grant').selectAll().where('id', '=', ask.grant).executeTakeFirst();
      const grant = row === undefined ? undefined : grantOf(row);
      if (grant === undefined || grant.principal !== caller.principal.id) return notFound('grant', ask.grant);
      const outcome = activate(grant, caller.principal.id, now);
      if (outcome.kind === 'refused') return activationRefusal(outcome.because, grant);
      return done({
        purpose: 'activate_grant',
        grant: grant.id,
        request: grant.request,
        role: grant.role,
        resource: resourceOf(grant.role),
        notBefore: formatInstant(grant.notBefore),
        endsAt: formatInstant(outcome.grant.endsAt),
        activationSeconds: grant.duration / 1000,
      });
    }
    case 'invite_principal': {
      const judged = mayAdminister(ctx, caller, 'principals');
      if (judged.kind === 'refused') return judged;
      const other = await ctx.db
        .selectFrom('principal')
        .select('id')
        .where('handle', '=', ask.handle)
        .executeTakeFirst();
      if (other !== undefined) return taken(ask.handle);
      return done({
        purpose: 'invite_principal',
        // The id is chosen now, so that the passkey signs for this very account.
        subject: { id: newId('principal', { now, random: ctx.random }), handle: ask.handle },
        kind: 'user',
        displayName: ask.name,
        groups: sorted(ask.groups),
      });
    }
    case 'change_principal': {
      const judged = mayAdminister(ctx, caller, 'principals');
      if (judged.kind === 'refused') return judged;
      const subject = await findPrincipal(ctx.db, ask.principal);
      if (subject === undefined) return notFound('person', ask.principal);
      const left = await administratorsLeft(ctx, ctx.db, { ...subject, groups: ask.groups, state: ask.state });
      if (left.kind === 'refused') return left;
      return done({
        purpose: 'change_principal',
        subject: { id: subject.id, handle: subject.handle },
        statusBefore: subject.state === 'suspended' ? 'suspended' : 'active',
        statusAfter: ask.state,
        groupsBefore: sorted(subject.groups),
        groupsAfter: sorted(ask.groups),
      });
    }
    case 'enrol_authenticator': {
      const judged = mayAdminister(ctx, caller, 'authenticators');
      if (judged.kind === 'refused') return judged;
      const subject = await findPrincipal(ctx.db, ask.principal);
      if (subject === undefined) return notFound('person', ask.principal);
      if (subject.id === caller.principal.id)
        return refused('forbidden', 'issue a link for a passkey: somebody else has to do this for you');
      if (subject.state === 'suspended')
        return refused('conflict', `issue a link for a passkey: \`${subject.handle}\` is suspended`);
      return done({
        purpose: 'enrol_authenticator',
        subject: { id: subject.id, handle: subject.handle },
        authenticatorName: 'chosen by its owner',
        link: newId('link', { now, random: ctx.random }),
      });
    }
    case 'change_configuration': {
      const judged = mayAdminister(ctx, caller, 'configuration');
      if (judged.kind === 'refused') return judged;
      const plan = await readPlan(ctx, caller, ask.plan);
      if (plan.kind === 'refused') return plan;
      const { added, changed, removed } = plan.value.changes;
      return done({
        purpose: 'change_configuration',
        plan: ask.plan,
        configurationHash: plan.value.hash,
        added: added.length,
        changed: changed.length,
        removed: removed.length,
        summary: [
          ...added.map((change) => `added ${change.what} ${change.name}`),
          ...changed.map((change) => `changed ${change.what} ${change.name}`),
          ...removed.map((change) => `removed ${change.what} ${change.name}`),
        ],
      });
    }
    case 'add_authenticator': {
      const { id: own, handle } = caller.principal;
      return done({
        purpose: 'add_authenticator',
        subject: { id: own, handle },
        link: newId('link', { now, random: ctx.random }),
        authenticators: (await keysOf(ctx.db, own)).map(({ id }) => id),
      });
    }
    case 'remove_authenticator':
      return await removeContent(ctx, caller, ask.authenticator);
    case 'reset_authenticators':
      return await resetContent(ctx, caller, ask);
    case 'do_action':
      return await doActionContent(ctx, caller, ask.hold);
    case 'approve_action':
      return await approveActionContent(ctx, caller, ask.hold, ask.conditions ?? {});
    case 'approve_act':
      return await approveActContent(ctx, caller, ask.hold);
    default:
      return ask satisfies never;
  }
}

const sorted = (groups: readonly string[]): readonly string[] => [...new Set(groups)].sort();
