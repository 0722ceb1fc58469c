/** The mock's proofs: canonical objects and challenges are the real ones, signatures are taken on trust. */
import { describeProof, offerProof, type ProofContent } from '#core/proof.ts';
import type { PrincipalRef } from '#core/principal.ts';
import { encodeBase64Url } from '#core/base64.ts';
import { parseRoleName, resourceOf } from '#core/ids.ts';
import { proofChallenge, textHash } from '#log/challenge.ts';
import type { ProofAsk } from '#contract/views.ts';
import { type Handlers, Refusal } from './mock-handlers.ts';
import { grantOf, requestOf, viewGrant, viewRequest } from './mock-access.ts';
import {
  addLink,
  addPerson,
  at,
  id,
  now,
  type Person,
  personOf,
  random,
  record,
  refOf,
  type World,
} from './mock-world.ts';
import { holdContent, signHold } from './mock-holds.ts';
import { signedChallenge } from './mock-people.ts';

const missing = (what: string) => new Refusal('not_found', `find ${what}: there is none`);

export function proofHandlers(world: World, origin: () => string): Pick<Handlers, 'offerProof' | 'useProof'> {
  return {
    offerProof: ({ body }, call) => {
      const { object } = offerProof(
        contentOf(world, body, call.person) as ProofContent & { purpose: 'activate_grant' },
        {
          principal: refOf(call.person) as PrincipalRef,
          policyVersion: 'v7',
          now: now(),
          random,
        },
      );
      const challenge = encodeBase64Url(proofChallenge(object));
      world.offers.set(object.id, { object, challenge, by: call.person.id, used: false });
      return {
        id: object.id,
        object: { ...object },
        words: [...describeProof(object)],
        challenge,
        options: { challenge, rpId: 'localhost', userVerification: 'required', timeout: 60_000 },
        expiresAt: object.expiresAt,
      };
    },
    useProof: ({ params, body }, call) => {
      const offer = world.offers.get(params.id);
      if (offer === undefined || offer.used || offer.by !== call.person.id) throw missing('a proof');
      if (
        signedChallenge(body.assertion) !== offer.challenge ||
        world.passkeys.get(String(body.assertion['id'])) !== offer.by
      )
        throw new Refusal('proof_refused', 'use a proof: the signature is not over what was offered');
      offer.used = true;
      const { object } = offer;
      const purpose = object.purpose;
      switch (purpose) {
        case 'approve_request': {
          const request = requestOf(world, object.request);
          const approvals = [...request.approvals, { by: refOf(call.person), at: at(), proof: object.id }];
          const isEnough = approvals.length >= request.approvalsNeeded;
          const grant = isEnough ? newGrant(world, request) : null;
          const next = {
            ...request,
            approvals,
            state: isEnough ? ('approved' as const) : request.state,
            decidedAt: isEnough ? at() : null,
            grant,
          };
          world.requests.set(request.id, next);
          record(
            world,
            'request.approved',
            `${call.person.handle} approved ${request.requester.handle}’s request for ${request.role}`,
            call.person,
            { request: request.id },
            {},
            { proof: { object } },
          );
          return { purpose, request: viewRequest(next, call.person) };
        }
        case 'activate_grant': {
          const grant = grantOf(world, object.grant);
          const next = { ...grant, state: 'active' as const, activatedAt: at(), endsAt: at(grant.seconds) };
          world.grants.set(grant.id, next);
          record(world, 'grant.activated', `${call.person.handle} activated ${grant.role}`, call.person, {
            grant: grant.id,
          });
          return { purpose, grant: viewGrant(next, call.person) };
        }
        case 'invite_principal': {
          const person = addPerson(world, {
            handle: object.subject.handle,
            name: object.displayName ?? object.subject.handle,
            groups: object.groups,
          });
          record(world, 'principal.invited', `${call.person.handle} invited ${person.handle}`, call.person, {
            principal: person.id,
          });
          return {
            purpose,
            principal: person,
            link: { url: `${origin()}/enrol#${addLink(world, person)}`, expiresAt: at(86_400) },
          };
        }
        case 'change_principal': {
          const person = {
            ...personOf(world, object.subject.id),
            groups: [...object.groupsAfter],
            state: object.statusAfter,
          };
          world.people.set(person.id, person);
          return { purpose, principal: person };
        }
        case 'enrol_authenticator': {
          const person = personOf(world, object.subject.id);
          return {
            purpose,
            principal: person,
            link: { url: `${origin()}/enrol#${addLink(world, person)}`, expiresAt: at(86_400) },
          };
        }
        case 'change_configuration': {
          const plan = world.plans.get(object.plan);
          if (plan === undefined) throw missing('a plan');
          world.plans.set(plan.id, { ...plan, state: 'applied' });
          return { purpose, plan: plan.id, version: 'v8' };
        }
        case 'reset_authenticators':
        case 'add_authenticator':
        case 'remove_authenticator':
        case 'approve_act':
          throw missing('a proof');
        case 'do_action':
          return { purpose, hold: signHold(world, object.hold, purpose, call.person) };
        case 'approve_action':
          return { purpose, hold: signHold(world, object.hold, purpose, call.person) };
        default:
          return purpose satisfies never;
      }
    },
  };
}

function newGrant(world: World, request: ReturnType<typeof requestOf>): string {
  const grant = {
    id: id('grant'),
    state: 'approved' as const,
    request: request.id,
    principal: request.requester,
    role: request.role,
    resource: request.resource,
    seconds: request.seconds,
    reason: request.reason,
    notBefore: request.startsAt ?? at(),
    activateBy: at(86_400),
    activatedAt: null,
    endsAt: null,
    endedAt: null,
    how: null,
    endedBy: null,
    openSessions: 0,
    once: false,
  };
  world.grants.set(grant.id, grant);
  return grant.id;
}

/** What an ask becomes: the object's content, or the refusal of asking for it at all. */
function contentOf(world: World, ask: ProofAsk, by: Person): unknown {
  switch (ask.purpose) {
    case 'approve_request': {
      const request = requestOf(world, ask.request);
      if (request.requester.id === by.id)
        throw new Refusal('own_request', 'approve a request: nobody approves their own');
      if (request.state !== 'pending') throw new Refusal('already_decided', 'approve a request: it is decided');
      return {
        purpose: ask.purpose,
        request: request.id,
        requester: request.requester,
        role: request.role,
        resource: request.resource,
        durationSeconds: request.seconds,
        permissions: request.permissions.flatMap(({ object, actions }) =>
          actions.map(
            ({ action, columns }) => `${action} on ${object}${columns === null ? '' : ` (${columns.join(', ')})`}`,
          ),
        ),
        reason: request.reason,
        reasonHash: textHash(request.reason),
        approvalsNeeded: request.approvalsNeeded,
        ...(request.ticket === null ? {} : { ticket: request.ticket }),
        ...(request.startsAt === null ? {} : { startsAt: request.startsAt }),
      };
    }
    case 'activate_grant': {
      const grant = grantOf(world, ask.grant);
      if (grant.principal.id !== by.id) throw missing('a grant');
      const role = parseRoleName(grant.role);
      return {
        purpose: ask.purpose,
        grant: grant.id,
        request: grant.request,
        role,
        resource: role === undefined ? grant.resource : resourceOf(role),
        notBefore: grant.notBefore,
        endsAt: at(grant.seconds),
        activationSeconds: grant.seconds,
      };
    }
    case 'invite_principal': {
      if (!by.isAdministrator) throw new Refusal('forbidden', 'invite somebody: only administrators do');
      if ([...world.people.values()].some(({ handle }) => handle === ask.handle))
        throw new Refusal('conflict', `invite somebody: the handle \`${ask.handle}\` is taken`);
      return {
        purpose: ask.purpose,
        subject: { id: id('principal'), handle: ask.handle },
        kind: 'user',
        displayName: ask.name,
        groups: ask.groups,
      };
    }
    case 'change_principal': {
      const person = personOf(world, ask.principal);
      return {
        purpose: ask.purpose,
        subject: refOf(person),
        statusBefore: person.state === 'suspended' ? 'suspended' : 'active',
        statusAfter: ask.state,
        groupsBefore: person.groups,
        groupsAfter: ask.groups,
      };
    }
    case 'enrol_authenticator':
      return {
        purpose: ask.purpose,
        subject: refOf(personOf(world, ask.principal)),
        authenticatorName: 'the next passkey',
      };
    case 'change_configuration': {
      const plan = world.plans.get(ask.plan);
      if (plan === undefined) throw missing('a plan');
      return {
        purpose: ask.purpose,
        plan: plan.id,
        configurationHash: plan.configurationHash,
        added: plan.added.length,
        changed: plan.changed.length,
        removed: plan.removed.length,
        summary: [...plan.added, ...plan.changed, ...plan.removed].map(({ what, name }) => `${what} ${name}`),
      };
    }
    case 'add_authenticator':
    case 'remove_authenticator':
    case 'reset_authenticators':
      throw missing('a passkey');
    case 'do_action':
    case 'approve_action':
      return holdContent(world, ask.purpose, ask.hold);
    case 'approve_act':
      throw missing('a hold');
    default:
      return ask satisfies never;
  }
}
