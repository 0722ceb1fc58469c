/** The domain's values as the contract shows them: instants as RFC 3339, durations as whole seconds, absent as null. */
import { noticesFor } from '#app/notices.ts';
import { countAuthenticators, rightsOf, type ShownPrincipal } from '#app/read-principals.ts';
import type { AppContext, Caller } from '#app/context.ts';
import type { ShownConfiguration } from '#app/read-configuration.ts';
import type { ShownDenial } from '#app/denials.ts';
import type { ShownCover, ShownHold } from '#app/read-holds.ts';
import type { ShownGrant } from '#app/read-grants.ts';
import type { ShownEntry } from '#app/read-log.ts';
import type { Plan } from '#app/read-plan.ts';
import type { ShownRequest } from '#app/read-requests.ts';
import type { ShownRole } from '#app/read-roles.ts';
import type { ShownSession } from '#app/read-sessions.ts';
import type { NewLink } from '#app/make-link.ts';
import type { Duration, Instant } from '#core/instant.ts';
import { formatInstant } from '#core/instant.ts';
import type { PrincipalRef } from '#core/principal.ts';

const instantOrNull = (instant: Instant | undefined): string | null =>
  instant === undefined ? null : formatInstant(instant);
const wholeSeconds = (duration: Duration): number => Math.round(duration / 1000);
/** Only what the contract names: the domain's value may carry more. */
const ref = ({ id, handle }: PrincipalRef) => ({ id, handle });

export async function presentMe(app: AppContext, caller: Caller) {
  const { principal, session } = caller;
  return {
    principal: ref(principal),
    name: principal.name,
    groups: principal.groups,
    session: {
      kind: session.kind,
      expiresAt: formatInstant(session.expiresAt),
      provenAt: formatInstant(session.provenAt),
    },
    may: rightsOf(app, principal),
    authenticators: await countAuthenticators(app, principal.id),
    notices: (await noticesFor(app, principal.id)).map(({ at, words }) => ({ at: formatInstant(at), words })),
  };
}

export function presentRole(shown: ShownRole) {
  const { role, resource } = shown;
  return {
    role: role.name,
    resource: resource.name,
    kind: resource.kind,
    description: role.description,
    resourceDescription: resource.description,
    labels: resource.labels,
    maxSeconds: wholeSeconds(role.maxDuration),
    permissions: shown.permissions,
    approvers: role.approvers,
    mayRequest: shown.mayRequest,
    pendingRequest: shown.pendingRequest ?? null,
    grant: shown.grant ?? null,
  };
}

export function presentRequest(request: ShownRequest) {
  return {
    id: request.id,
    state: request.state,
    requester: ref(request.requester),
    role: request.role,
    resource: request.resource,
    seconds: wholeSeconds(request.duration),
    reason: request.reason,
    ticket: request.ticket ?? null,
    startsAt: instantOrNull(request.startsAt),
    filedAt: formatInstant(request.filedAt),
    expiresAt: formatInstant(request.expiresAt),
    decidedAt: instantOrNull(request.decidedAt),
    statement: request.statement ?? null,
    approvals: request.approvals.map(({ by, at, proof }) => ({ by: ref(by), at: formatInstant(at), proof })),
    approvalsNeeded: request.approvalsNeeded,
    approverGroups: request.approverGroups,
    denial: request.denial === undefined ? null : { by: ref(request.denial.by), word: request.denial.word },
    grant: request.grant ?? null,
    permissions: request.permissions,
    you: {
      isRequester: request.you.isRequester,
      mayDecide: request.you.mayDecide,
      because: request.you.because ?? null,
    },
  };
}

export function presentGrant(grant: ShownGrant) {
  return {
    id: grant.id,
    state: grant.state,
    request: grant.request,
    principal: ref(grant.principal),
    role: grant.role,
    resource: grant.resource,
    seconds: wholeSeconds(grant.duration),
    reason: grant.reason,
    notBefore: formatInstant(grant.notBefore),
    activateBy: formatInstant(grant.activateBy),
    activatedAt: instantOrNull(grant.activatedAt),
    endsAt: instantOrNull(grant.endsAt),
    endedAt: instantOrNull(grant.endedAt),
    how: grant.how ?? null,
    endedBy: grant.endedBy === undefined ? null : ref(grant.endedBy),
    openSessions: grant.openSessions,
    once: grant.once,
    you: grant.you,
  };
}

export function presentHold(hold: ShownHold) {
  const { what, grant, preview } = hold;
  const isStatement = what.kind === 'statement';
  const text = isStatement ? what.text.replaceAll(/\s+/g, ' ').trim() : (what.words[0] ?? what.purpose);
  return {
    id: hold.id,
    subject: what.kind,
    state: hold.state,
    requester: ref(hold.requester),
    actsFor: hold.actsFor.map(ref),
    resource: hold.resource ?? null,
    role: hold.role ?? null,
    grant:
      grant === undefined
        ? null
        : { id: grant.id, reason: grant.reason, ticket: grant.ticket ?? null, endsAt: instantOrNull(grant.endsAt) },
    session: hold.session ?? null,
    title: text.length > 120 ? `${text.slice(0, 119)}…` : text,
    text: isStatement ? what.text : null,
    parameters: isStatement ? what.parameters : [],
    words: isStatement ? [] : what.words,
    needs: isStatement ? what.needs : [],
    tables: isStatement ? what.tables : [],
    inTransaction: isStatement && what.inTransaction,
    preview:
      preview === undefined
        ? null
        : {
            rows: preview.rows,
            tag: preview.tag,
            columns: preview.columns,
            before: preview.before,
            after: preview.after,
          },
    cures: hold.cures.map(({ kind, words, policy, isMet }) => ({ kind, words, policy, done: isMet })),
    covers: isStatement ? what.covers : [],
    signatures: hold.signatures.map((one) => ({
      by: ref(one.by),
      kind: one.kind,
      at: formatInstant(one.at),
      rowsAtMost: one.rowsAtMost ?? null,
      validSeconds: one.validSeconds ?? null,
    })),
    reason: hold.reason ?? null,
    askedBy: hold.askedBy.map((policy) => ({ policy })),
    openedAt: formatInstant(hold.openedAt),
    expiresAt: formatInstant(hold.expiresAt),
    settled:
      hold.settledAt === undefined
        ? null
        : {
            at: formatInstant(hold.settledAt),
            by: hold.settledBy === undefined ? null : ref(hold.settledBy),
            word: hold.word ?? null,
          },
    earlier: hold.earlier.map(({ at, summary }) => ({ at: formatInstant(at), summary })),
    you: { ...hold.you, because: hold.you.because ?? null },
  };
}

export function presentCover(cover: ShownCover) {
  return {
    id: cover.id,
    hold: cover.hold,
    policy: cover.policy,
    kind: cover.kind,
    over: cover.over,
    tables: cover.tables,
    clientAddress: cover.clientAddress,
    createdAt: formatInstant(cover.createdAt),
    expiresAt: formatInstant(cover.expiresAt),
    uses: cover.uses,
    endedAt: instantOrNull(cover.endedAt),
  };
}

export function presentDenial(denial: ShownDenial) {
  return {
    id: denial.id,
    at: formatInstant(denial.at),
    principal: ref(denial.principal),
    session: denial.session,
    grant: denial.grant,
    role: denial.role,
    resource: denial.resource,
    text: denial.text,
    parameters: denial.parameters,
    digest: denial.digest ?? null,
    roles: denial.roles,
  };
}

export function presentSession(session: ShownSession) {
  return {
    id: session.id,
    state: session.state,
    grant: session.grant,
    principal: ref(session.principal),
    role: session.role,
    resource: session.resource,
    openedAt: formatInstant(session.openedAt),
    endedAt: instantOrNull(session.endedAt),
    how: session.how ?? null,
    word: session.word ?? null,
    client: { address: session.client.address, application: session.client.application ?? null },
    statements: session.statements,
  };
}

export function presentEntry(entry: ShownEntry) {
  return {
    index: entry.index ?? null,
    id: entry.id,
    at: formatInstant(entry.at),
    kind: entry.kind,
    actor: typeof entry.actor === 'string' ? entry.actor : ref(entry.actor),
    subject: entry.subject,
    facts: entry.facts,
    content: entry.content ?? null,
    transaction: entry.transaction ?? null,
    summary: entry.summary,
  };
}

export function presentPrincipal(shown: ShownPrincipal) {
  const { principal } = shown;
  return {
    id: principal.id,
    handle: principal.handle,
    name: principal.name,
    kind: principal.kind,
    state: principal.state,
    groups: principal.groups,
    createdAt: formatInstant(shown.createdAt),
    lastSignInAt: instantOrNull(shown.lastSignInAt),
    authenticators: shown.authenticators.map((authenticator) => ({
      id: authenticator.id,
      name: authenticator.name,
      createdAt: formatInstant(authenticator.createdAt),
      lastUsedAt: instantOrNull(authenticator.lastUsedAt),
      revokedAt: instantOrNull(authenticator.revokedAt),
    })),
  };
}

/** INVARIANT 10: the one place where the address of a one-time link leaves, to whoever just made it. */
export function presentLink(link: NewLink) {
  return { url: link.url.reveal(), expiresAt: formatInstant(link.expiresAt) };
}

export function presentPlan(plan: Plan) {
  const { added, changed, removed } = plan.changes;
  return {
    id: plan.id,
    state: plan.state,
    by: ref(plan.by),
    createdAt: formatInstant(plan.createdAt),
    expiresAt: formatInstant(plan.expiresAt),
    configurationHash: plan.hash,
    added,
    changed,
    removed,
  };
}

export function presentConfiguration(configuration: ShownConfiguration) {
  return {
    version: configuration.version,
    hash: configuration.hash,
    appliedAt: instantOrNull(configuration.appliedAt),
    files: configuration.files ?? null,
  };
}

export function presentPage<T, V>(
  page: { readonly items: readonly T[]; readonly next: string | undefined },
  present: (item: T) => V,
): { readonly items: readonly V[]; readonly next: string | null } {
  return { items: page.items.map(present), next: page.next ?? null };
}
