/**
 * A question as Cedar requests, each with exactly the entities it needs: entities cost more than policies, since they are
 * serialised and parsed with every call.
 */
import type { CedarValueJson, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/web';
import type { GrantId, PrincipalId, RoleName } from '#core/ids.ts';
import { formatInstant, type Duration, type Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Resource } from '#core/role.ts';
import type { Need } from '#sql/needs.ts';
import type { Compiled, CompiledRole } from './_compile.ts';
import { formatChannel, formatObjectName } from './_names.ts';
import type { Circumstances, GrantRef, Question, StatementQuestion } from './question.ts';

export type CedarRequest = {
  readonly principal: TypeAndId;
  readonly action: TypeAndId;
  readonly resource: TypeAndId;
  readonly context: Record<string, CedarValueJson>;
  readonly entities: EntityJson[];
};

export type Refusal = { readonly because: string };

/** A question of more than this is refused unasked. */
export const maxNeeds = 500;
export const maxColumns = 2000;
export const maxNameLength = 300;

/** What a role would give is asked before there is a grant. */
const noGrant = 'grt_00000000000000000000000000' as GrantId;

const uid = (type: string, id: string): TypeAndId => ({ type, id });
const reference = (type: string, id: string): CedarValueJson => ({ __entity: { type, id } });
const users = (ids: readonly PrincipalId[]): CedarValueJson[] => ids.map((id) => reference('User', id));
const duration = (ms: Duration): CedarValueJson => ({ __extn: { fn: 'duration', arg: `${Math.floor(ms)}ms` } });
const datetime = (at: Instant): CedarValueJson => ({ __extn: { fn: 'datetime', arg: formatInstant(at) } });

/** Everything but statements is one request. */
export function requestFor(question: Exclude<Question, StatementQuestion>, compiled: Compiled): CedarRequest | Refusal {
  const { principal } = question;
  const context = commonContext(question, compiled);
  const ask = (
    action: string,
    resource: TypeAndId,
    entities: EntityJson[],
    more: Record<string, CedarValueJson> = {},
    live: readonly RoleName[] = [],
  ): CedarRequest => ({
    principal: uid('User', principal.id),
    action: uid('Action', action),
    resource,
    context: { ...context, ...more },
    entities: [userEntity(principal, live), ...entities],
  });
  const known = (name: RoleName): CompiledRole | undefined => compiled.roles.get(name);
  const noRole: Refusal = { because: 'there is no such role' };

  switch (question.action) {
    case 'request_role': {
      const role = known(question.role);
      if (role === undefined) return noRole;
      return ask('request_role', uid('Role', question.role), roleEntities(role), {
        duration: duration(question.duration),
        ...(question.startsAt === undefined ? {} : { starts_at: datetime(question.startsAt) }),
        ...(question.ticket === undefined ? {} : { ticket: question.ticket }),
      });
    }
    case 'approve_request': {
      const { request } = question;
      const role = known(request.role);
      if (role === undefined) return noRole;
      const entity: EntityJson = {
        uid: uid('Request', request.id),
        attrs: {
          requester: reference('User', request.requester),
          acts_for: users(request.actsFor),
          role: reference('Role', request.role),
          duration: duration(request.duration),
        },
        parents: [],
      };
      return ask('approve_request', uid('Request', request.id), [entity, ...roleEntities(role)]);
    }
    case 'activate_grant': {
      const role = known(question.grant.role);
      if (role === undefined) return noRole;
      return ask('activate_grant', uid('Grant', question.grant.id), [
        grantEntity(question.grant),
        ...roleEntities(role),
      ]);
    }
    case 'connect': {
      const role = known(question.grant.role);
      if (role === undefined) return noRole;
      return ask(
        'connect',
        uid('Resource', role.resource.name),
        [grantEntity(question.grant), ...roleEntities(role)],
        { grant: reference('Grant', question.grant.id) },
        [question.grant.role],
      );
    }
    case 'administer':
      return ask('administer', uid('Administration', question.what), [], {
        administrators: question.administrators ?? 1,
      });
    case 'manage_authenticators': {
      const { of, change, authenticators, administrators } = question;
      const entities = of.id === principal.id ? [] : [userEntity(of, [])];
      return ask('manage_authenticators', uid('User', of.id), entities, { change, authenticators, administrators });
    }
    case 'revoke_grant':
      // A grant of a role that is no longer declared must still be revocable, by its owner and administrators.
      return ask('revoke_grant', uid('Grant', question.grant.id), [
        grantEntity(question.grant),
        ...roleOrGone(question.grant.role, known(question.grant.role)),
      ]);
    case 'read_log':
      return ask('read_log', uid('Log', question.scope), []);
    case 'read_session': {
      const { id, principal: owner, role } = question.session;
      const entity: EntityJson = {
        uid: uid('Session', id),
        attrs: { owner: reference('User', owner), role: reference('Role', role) },
        parents: [],
      };
      return ask('read_session', uid('Session', id), [entity, ...roleOrGone(role, known(role))]);
    }
    default:
      return question satisfies never;
  }
}

/** One need of a statement. The session's role is the principal's only one, whatever other grants are live. */
export function requestForNeed(
  question: StatementQuestion,
  role: CompiledRole,
  need: Need,
  compiled: Compiled,
): CedarRequest | Refusal {
  const { resource } = role;
  const { object, action, columns } = need;
  const grant = question.grant ?? { id: noGrant, principal: question.principal.id, role: role.role.name };
  if (
    question.context.functions.length > maxColumns ||
    question.context.functions.some((name) => name.length > maxNameLength)
  )
    return { because: 'the statement calls too many functions, or ones with too long names' };
  if (columns.length > maxColumns || columns.some((name) => name.length > maxNameLength))
    return { because: 'the statement names too many columns, or too long ones' };
  const on = reference('Resource', resource.name);
  const parents = [uid('Resource', resource.name)];
  let entity: EntityJson;
  if (object.kind === 'database') entity = { uid: uid('PG::Database', resource.name), attrs: { on }, parents };
  else if (object.kind === 'any channel')
    entity = { uid: uid('PG::Channel', `${resource.name}/${formatChannel('any')}`), attrs: { on }, parents };
  else if (object.kind === 'channel') {
    if (object.name.length > maxNameLength) return { because: 'the statement names too long a name' };
    const id = `${resource.name}/${formatChannel(object)}`;
    entity = { uid: uid('PG::Channel', id), attrs: { on, name: object.name }, parents };
  } else {
    const { schema, name } = object;
    if (schema.length > maxNameLength || name.length > maxNameLength)
      return { because: 'the statement names too long a name' };
    const type = object.kind === 'table' ? 'PG::Table' : 'PG::Function';
    entity = {
      uid: uid(type, `${resource.name}/${formatObjectName(object)}`),
      attrs: { on, schema, name },
      parents,
    };
  }
  return {
    principal: uid('User', question.principal.id),
    action: uid('PG::Action', action),
    resource: entity.uid as TypeAndId,
    context: {
      ...commonContext(question, compiled),
      columns: [...columns],
      tables: tablesOf(question.needs, resource.name),
      functions: [...question.context.functions],
      class: question.context.statementClass,
      has_where: question.context.hasWhere,
      statement_count: question.context.statementCount,
      ...(question.context.estimatedRows === undefined ? {} : { estimated_rows: question.context.estimatedRows }),
      grant: reference('Grant', grant.id),
    },
    entities: [userEntity(question.principal, [role.role.name]), entity, grantEntity(grant), ...roleEntities(role)],
  };
}

function tablesOf(needs: readonly Need[], resource: string): CedarValueJson[] {
  const ids = new Set(
    needs.flatMap(({ object }) => (object.kind === 'table' ? [`${resource}/${formatObjectName(object)}`] : [])),
  );
  return [...ids].map((id) => reference('PG::Table', id));
}

function commonContext(
  question: Circumstances,
  { isWorkingHour, networksOf }: Compiled,
): Record<string, CedarValueJson> {
  const { now, client, device, signIn, actsFor, cured } = question;
  const ip = client === undefined ? undefined : ipAddress(client.address);
  const age = (of: Duration | undefined) => (of === undefined ? {} : { age: duration(of) });
  return {
    time: datetime(now),
    working_hours: isWorkingHour(now),
    client: {
      ...(ip === undefined ? {} : { address: { __extn: { fn: 'ip', arg: ip } } }),
      networks: ip === undefined ? [] : [...networksOf(ip)],
      tls: client?.tls === true,
    },
    device: { known: device?.known === true, ...age(device?.age) },
    sign_in: { fresh: cured?.freshSignIn === true, method: signIn?.method ?? 'none', ...age(signIn?.age) },
    acts_for: users(actsFor ?? []),
    proof: {
      covers_action: cured?.proof === true,
      ...age(cured?.proofAge),
      ...(cured?.authenticatorAge === undefined ? {} : { authenticator_age: duration(cured.authenticatorAge) }),
    },
    approval: { covers_action: cured?.approval === true, count: cured?.approvals ?? 0 },
    reason: { given: cured?.reason === true },
    activation: { done: cured?.activation === true },
    preview: { confirmed: cured?.preview === true },
  };
}

function userEntity({ id, handle, kind, groups }: Principal, live: readonly RoleName[]): EntityJson {
  return {
    uid: uid('User', id),
    attrs: { handle, kind },
    parents: [...groups.map((group) => uid('Group', group)), ...live.map((role) => uid('Role', role))],
  };
}

function resourceEntity({ name, kind, labels }: Resource): EntityJson {
  return { uid: uid('Resource', name), attrs: { kind }, parents: [], tags: { ...labels } };
}

function roleEntities({ role, resource }: CompiledRole): EntityJson[] {
  const groups = (names: readonly string[]) => names.map((group) => reference('Group', group));
  return [
    {
      uid: uid('Role', role.name),
      attrs: {
        on: reference('Resource', resource.name),
        requesters: groups(role.requesters.groups),
        approvers: groups(role.approvers.groups),
        max_duration: duration(role.maxDuration),
      },
      parents: [],
    },
    resourceEntity(resource),
  ];
}

function roleOrGone(name: RoleName, role: CompiledRole | undefined): EntityJson[] {
  if (role !== undefined) return roleEntities(role);
  return [
    {
      uid: uid('Role', name),
      attrs: {
        on: reference('Resource', ''),
        requesters: [],
        approvers: [],
        max_duration: { __extn: { fn: 'duration', arg: '0ms' } },
      },
      parents: [],
    },
    { uid: uid('Resource', ''), attrs: { kind: 'gone' }, parents: [], tags: {} },
  ];
}

function grantEntity(grant: GrantRef): EntityJson {
  const { id, principal, role, reason = '', ticket, approvals = 0, activatedAt, endsAt } = grant;
  return {
    uid: uid('Grant', id),
    attrs: {
      owner: reference('User', principal),
      role: reference('Role', role),
      reason,
      approvals,
      ...(ticket === undefined ? {} : { ticket }),
      ...(activatedAt === undefined ? {} : { activated_at: datetime(activatedAt) }),
      ...(endsAt === undefined ? {} : { ends_at: datetime(endsAt) }),
    },
    parents: [],
  };
}

/**
 * As Cedar reads it, or undefined for what is no address (a Unix socket): a policy that needs one then finds none. An
 * IPv4 address that came in over IPv6 is judged as the IPv4 address it is; a zone (`%eth0`) is dropped.
 */
function ipAddress(text: string): string | undefined {
  const address = text.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
  if (/^(?:\d{1,3}\.){3}\d{1,3}$/.test(address)) return address;
  return address.includes(':') && /^[0-9a-f:]{2,39}$/i.test(address) ? address : undefined;
}
